/// The link's times and bounds.
package struct PairTiming: Sendable, Equatable {
    /// Between two attempts to connect: the first span, doubled up to the second, minus up to half
    /// by chance.
    package var retryMin: Duration = .milliseconds(100)
    package var retryMax: Duration = .seconds(10)
    /// A link that has held for so long is followed by `retryMin` again.
    package var stable: Duration = .seconds(10)
    /// When no version is spoken by both: only an upgrade helps.
    package var retryUnfit: Duration = .seconds(60)
    /// From the TLS handshake's end to the peer's hello.
    package var greeting: Duration = .seconds(5)
    /// Between two pings.
    package var heartbeat: Duration = .seconds(1)
    /// Without a word from the peer for so long, the link is lost.
    package var silence: Duration = .seconds(5)
    /// What a peer may send in `window`; more is a peer gone mad.
    package var window: Duration = .seconds(10)
    package var bytesMax = 8 << 20
    package var messagesMax = 4_000

    package init() {}
}
