internal import EdgeCore
internal import EdgeSystem

/// A proxy that runs, and all that the guardian has of it. Lives until the process has been waited
/// for.
final class ProxyLink {
    /// Its part of the board.
    let bank: Int
    var process: ProxyProcess?
    var channel: ProxyChannel?
    /// How often it broke the protocol.
    var offences = 0
    /// It was told to serve.
    var mayHaveClients = false
    /// What it has ordered of the addresses, and has no answer to.
    var orders: Set<Order> = []
    /// When it is killed: another one serves in its place.
    var endsAt: Instant?

    enum Order { case drain, yield }

    init(bank: Int) { self.bank = bank }
}
