/// One thing that reads bytes from outside, with what must hold for every input. `make fuzz` feeds
/// it with libFuzzer, the unit tests with its corpus; both call `run`.
package enum FuzzTarget: String, CaseIterable, Sendable {
    /// HTTP/1 request heads, and what is forwarded of them.
    case request
    /// HTTP/1 response heads, and what is forwarded of them.
    case response
    /// Chunked bodies, and what is forwarded of them.
    case chunked
    /// PROXY protocol headers of both versions.
    case proxyHeader
    /// What is read of a ClientHello before anybody serves it.
    case clientHello
    /// A TLS server session: what a client may send before and after its handshake.
    case hello
    /// An HTTP/2 session: what a client may send, or an upstream.
    case http2
    /// A configuration with what it includes.
    case configuration
    /// The guardian's descriptor messages and the sealed configuration.
    case guardian
    /// What is remembered of DNS: the state file, its content, and the hosts file.
    case names
    /// What the other node of a pair sends.
    case pair
    /// Advertisements of routers, and what guardians say of themselves.
    case failover

    /// - Throws: the rule that the input broke. Our own traps are findings too.
    package func run(_ input: [UInt8]) throws(Finding) {
        let input = FuzzInput(input)
        switch self {
        case .request: try RequestTarget.run(input)
        case .response: try ResponseTarget.run(input)
        case .chunked: try ChunkedTarget.run(input)
        case .proxyHeader: try ProxyHeaderTarget.run(input)
        case .clientHello: try ClientHelloTarget.run(input)
        case .hello: try HelloTarget.run(input)
        case .http2: try HTTP2Target.run(input)
        case .configuration: try ConfigurationTarget.run(input)
        case .guardian: try GuardianTarget.run(input)
        case .names: try NamesTarget.run(input)
        case .pair: try PairTarget.run(input)
        case .failover: try FailoverTarget.run(input)
        }
    }
}

/// A rule that an input broke, as a sentence.
package struct Finding: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// Throws unless the rule holds.
func hold(_ condition: Bool, _ rule: @autoclosure () -> String) throws(Finding) {
    if !condition { throw Finding(rule()) }
}

/// An input taken apart: two bytes that choose a variant, and the bytes under test.
struct FuzzInput {
    /// Which limits and which circumstances.
    let variant: UInt8
    /// Into which pieces the bytes are cut, besides being read whole.
    let cut: UInt8
    let bytes: [UInt8]

    init(_ all: [UInt8]) {
        variant = all.first ?? 0
        cut = all.count > 1 ? all[1] : 0
        bytes = Array(all.dropFirst(2))
    }

    /// True if bit `index` of the variant is set.
    func has(_ index: UInt8) -> Bool { variant >> index & 1 == 1 }

    /// The ends of the pieces, the last of which is the end of the bytes.
    var pieceEnds: [Int] {
        var state = UInt64(cut) &+ 1
        var ends: [Int] = []
        var end = 0
        while end < bytes.count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            // Mostly a few bytes, sometimes more.
            let size = Int(state >> 33 & 7) + (state >> 40 & 7 == 0 ? 100 : 0) + 1
            end = min(end + size, bytes.count)
            ends.append(end)
        }
        return ends
    }
}
