internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS

/// What the connections of one checker share: the loop, contexts that are made when first needed,
/// and memory for one round of input.
final class CheckTools {
    let loop: PollLoop
    /// A round of input from a socket.
    let input: UnsafeMutableRawBufferPointer
    /// What one TLS record holds at most (RFC 8446 §5.1).
    let plaintext: UnsafeMutableRawBufferPointer
    private var madeEngine: TLSEngine?
    private var madeDesk: HTTP2Desk?
    private let seed: UInt64

    init(loop: PollLoop, seed: UInt64) {
        self.loop = loop
        self.seed = seed
        input = .allocate(byteCount: 16 << 10, alignment: 64)
        plaintext = .allocate(byteCount: 16 << 10, alignment: 64)
    }

    deinit {
        input.deallocate()
        plaintext.deallocate()
    }

    func engine() throws(TLSFailure) -> TLSEngine {
        if let madeEngine { return madeEngine }
        let engine = try TLSEngine()
        madeEngine = engine
        return engine
    }

    /// - Returns: nil without memory.
    func desk() -> HTTP2Desk? {
        if madeDesk == nil { madeDesk = HTTP2Desk(seed: seed) }
        return madeDesk
    }

    func keepClients(_ kept: [CheckTLS]) {
        madeEngine?.keepClients(kept.map { ($0.trust, $0.identity) })
    }
}
