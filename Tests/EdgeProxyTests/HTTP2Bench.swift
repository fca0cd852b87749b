import EdgeCore
import EdgeHTTP2
import EdgeTesting
import EdgeUpstream
import Testing

@testable import EdgeProxy

/// The far end of a scripted connection that speaks HTTP/2: a client behind the worker's plain
/// listener, for which the handshake has chosen h2, or the server at the end of a connect.
final class WirePeer {
    let bench: Bench
    let descriptor: Int32
    let peer: SessionPeer

    /// A client.
    convenience init(
        clientOf bench: Bench, window: UInt32 = 65536, from address: SocketAddress? = nil
    ) throws {
        var limits = WirePeer.wide
        limits.streamWindow = window
        limits.connectionWindow = max(1 << 20, 3 * window)
        let descriptor = bench.client(from: address)
        let slot = try #require(bench.slot(of: descriptor))
        bench.worker.startClientHTTP2(slot)
        try self.init(bench, descriptor, SessionPeer(isServer: false, limits))
        exchange()
    }

    /// The server at the end of the newest connection to an upstream.
    convenience init(
        upstreamOf bench: Bench, streams: UInt32 = 100, window: UInt32 = 65536
    ) throws {
        var limits = WirePeer.wide
        limits.streams = streams
        limits.streamWindow = window
        try self.init(bench, bench.upstream, SessionPeer(isServer: true, limits))
        exchange()
    }

    init(_ bench: Bench, _ descriptor: Int32, _ peer: SessionPeer) {
        self.bench = bench
        self.descriptor = descriptor
        self.peer = peer
    }

    /// Nothing that the worker does is a flood.
    static let wide = HTTP2Limits(
        streams: 1000, resets: 1_000_000, pings: 1_000_000, settings: 1_000_000,
        windowUpdates: 1_000_000, emptyData: 1_000_000)

    subscript(id: Int32) -> SessionPeer.Stream { peer[id] }

    /// Takes what the worker has sent and sends what there is to say, once.
    ///
    /// - Returns: something was moved.
    @discardableResult
    func step() -> Bool {
        peer.now = bench.now
        let input = bench.ring.takeBytes(to: descriptor)
        peer.feed(input)
        let output = peer.take()
        bench.ring.receives(descriptor, output)
        return !input.isEmpty || !output.isEmpty
    }

    /// Until nothing moves.
    func exchange() { WirePeer.exchange([self]) }

    static func exchange(_ peers: [WirePeer]) {
        guard let bench = peers.first?.bench else { return }
        for _ in 0..<1000 {
            var moved = false
            for peer in peers where peer.step() { moved = true }
            bench.settle()
            if !moved, peers.allSatisfy({ bench.ring.sent(to: $0.descriptor).isEmpty }) { return }
        }
        Issue.record("it never ends")
    }

    @discardableResult
    func get(_ path: String = "/", _ more: [(String, String)] = []) -> Int32 {
        let id = peer.request(SessionPeer.fields("GET", path, more))
        exchange()
        return id
    }

    /// Begins a request with content.
    func post(_ path: String = "/", _ more: [(String, String)] = []) -> Int32 {
        let id = peer.request(SessionPeer.fields("POST", path, more), hasContent: true)
        exchange()
        return id
    }

    var isClosed: Bool { bench.ring.isClosed(descriptor) }

    /// The code of the reset or GOAWAY that ended the stream.
    func closing(_ id: Int32) -> HTTP2Code? {
        peer[id].closedWith.flatMap { HTTP2Code(rawValue: $0) }
    }
}

extension Bench {
    /// A worker whose upstream speaks HTTP/2 over plaintext.
    static func multiplexing(_ change: (inout Options) -> Void = { _ in }) throws -> Bench {
        var options = Options()
        options.version = .http2
        options.connectionsMax = 64
        change(&options)
        return try Bench(options)
    }

    /// The slot of an open connection.
    func slot(of descriptor: Int32) -> Int? {
        let upstreams = (0..<worker.upstreamSlots.touched).map { worker.upstreamBase + $0 }
        return (Array(0..<worker.downstreamSlots.touched) + upstreams).first {
            worker.channels[$0].pointee.phase != .free
                && worker.channels[$0].pointee.descriptor == descriptor
        }
    }

    func link(_ peer: WirePeer) -> HTTP2Link? {
        slot(of: peer.descriptor).map { worker.links[$0].pointee }
    }

    // MARK: - Books

    /// Streams are linked both ways, counted, and what they keep is known to their connection.
    func checkStreams(_ faults: inout [String], _ exchanges: inout Int) {
        var streams = 0
        var connections = 0
        let upstreams = (0..<worker.upstreamSlots.touched).map { worker.upstreamBase + $0 }
        for slot in Array(0..<worker.downstreamSlots.touched) + upstreams {
            let channel = worker.channels[slot].pointee
            guard channel.phase != .free, channel.http2 != nil else { continue }
            if channel.phase != .established { faults.append("slot \(slot): a session too many") }
            if slot < worker.upstreamBase { connections += 1 }
            streams += checkLink(slot, &faults, &exchanges)
        }
        let used = worker.clientStreamSlots.used + worker.upstreamStreamSlots.used
        if streams != used { faults.append("\(used) streams, \(streams) linked") }
        if count(Counter.http2Streams) != UInt64(used) { faults.append("http2Streams") }
        if count(Counter.http2Connections) != UInt64(connections) {
            faults.append("http2Connections")
        }
        if !worker.http2Retired.isEmpty { faults.append("sessions not freed") }
        if !worker.http2Begun.isEmpty { faults.append("requests begun and not sent") }
        checkShared(&faults)
    }

    /// - Returns: how many streams the connection has.
    private func checkLink(
        _ connection: Int, _ faults: inout [String], _ exchanges: inout Int
    ) -> Int {
        let link = worker.links[connection].pointee
        var count = 0
        var kept = 0
        var stashed = 0
        var previous: Int32 = -1
        var next = link.first
        while next >= 0, count <= Int(link.streamCount) {
            let stream = worker.stream(Int(next)).pointee
            let channel = worker.channels[Int(next)].pointee
            if stream.previous != previous || stream.connection != Int32(connection) {
                faults.append("stream \(next) is linked wrongly")
            }
            if channel.phase != .established || !channel.inFlight.isEmpty
                || !channel.flags.contains(.isStream)
            {
                faults.append("stream \(next) is none")
            }
            kept += channel.output.byteCount + channel.stash.byteCount
            stashed += channel.stash.byteCount
            let isClient = Int(next) < worker.upstreamBase
            let exchange =
                isClient
                ? worker.downstreams[Int(next)].pointee.exchange
                : worker.upstream(Int(next)).pointee.exchange
            if exchange >= 0 {
                let state = worker.exchanges[Int(exchange)].pointee
                if state.phase == .free
                    || !(isClient ? [state.downstream] : [state.upstream, state.elder])
                        .contains(next)
                {
                    faults.append("stream \(next) names an exchange that is not its own")
                }
                if isClient { exchanges += 1 }
            } else if isClient, stream.flags.isDisjoint(with: [.wasReset, .ends]) {
                faults.append("stream \(next) waits for nobody")
            }
            count += 1
            previous = next
            next = stream.next
        }
        if count != Int(link.streamCount) {
            faults.append("slot \(connection): \(link.streamCount) streams, \(count) linked")
        }
        if kept != link.bytesKept {
            faults.append("slot \(connection): \(link.bytesKept) bytes kept, it has \(kept)")
        }
        if stashed != link.bytesStashed {
            faults.append("slot \(connection): \(link.bytesStashed) bytes came, not \(stashed)")
        }
        if link.withheld > 0, link.bytesStashed <= options.http2.memoryMax / 2 {
            faults.append("slot \(connection): window withheld")
        }
        return count
    }

    /// Connections that can be shared are, and nobody waits for one that nobody makes.
    private func checkShared(_ faults: inout [String]) {
        for case let pool? in worker.pools {
            for slot in pool.http2 {
                let channel = worker.channels[Int(slot)].pointee
                if channel.http2 == nil || channel.phase != .established
                    || worker.upstream(Int(slot)).pointee.pool != pool.id
                {
                    faults.append("pool \(pool.id) shares \(slot), which is no connection")
                }
            }
            var connecting: UInt64 = 0
            for index in 0..<worker.upstreamSlots.touched {
                let upstream = worker.upstreams[index].pointee
                let phase = worker.channels[worker.upstreamBase + index].pointee.phase
                guard phase == .connecting || phase == .handshaking, upstream.isShared,
                    upstream.pool == pool.id
                else { continue }
                connecting |= MemberTable.bit(Int(upstream.member))
            }
            if (pool.http2Connecting | pool.http2Late) & ~connecting != 0 {
                faults.append("pool \(pool.id) waits for a connection that nobody makes")
            }
        }
    }
}

/// Compares contents without printing them.
func expectSame(
    _ content: [UInt8], _ expected: [UInt8], _ what: String = "",
    location: SourceLocation = #_sourceLocation
) {
    guard content != expected else { return }
    let common = zip(content, expected).prefix { $0 == $1 }.count
    Issue.record(
        "\(what) \(content.count) bytes of \(expected.count), the same up to \(common)",
        sourceLocation: location)
}
