internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// A server that answers every request with something wrong, one connection at a time and as fast
/// as it can: the n-th answer follows from the seed. Sendable: `served` is guarded by `lock`, the
/// rest is constant.
final class HostileUpstream: @unchecked Sendable {
    let address: SocketAddress
    private let listener: Int32
    private let seed: UInt64
    private let lock = NSLock()
    private var served = 0
    private var isStopped = false

    init(seed: UInt64) throws {
        listener = try TestSocket.listen(on: .loopback())
        address = try TestSocket.localAddress(of: listener)
        self.seed = seed
        Thread.detachNewThread { [self] in run() }
    }

    var server: String { "\"\(address)\"" }

    /// Answers given so far.
    var count: Int { lock.withLock { served } }

    /// Ends the thread, which keeps this object alive.
    func stop() { lock.withLock { isStopped = true } }

    private func run() {
        defer { close(listener) }
        while !lock.withLock({ isStopped }) {
            guard waits(listener, 20) else { continue }
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else { continue }
            answer(descriptor)
            close(descriptor)
        }
    }

    private func waits(_ descriptor: Int32, _ milliseconds: Int32) -> Bool {
        var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&one, 1, milliseconds) > 0
    }

    private func answer(_ descriptor: Int32) {
        let number = lock.withLock {
            served += 1
            return served
        }
        var random = SeededRandom(seed: seed &+ UInt64(number))
        // Sometimes before it was asked, sometimes instead of reading.
        if !random.chance(1, of: 8) {
            guard waits(descriptor, 500) else { return }
            var block = [UInt8](repeating: 0, count: 16 << 10)
            guard recv(descriptor, &block, block.count, 0) > 0 else { return }
        }
        let answer = Mutation.mutate(Mutation.answers[number % Mutation.answers.count], &random)
        _ = answer.withUnsafeBytes {
            send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        if random.chance(1, of: 4) { TestSocket.setResetOnClose(descriptor) }
    }
}

/// Damage to messages, the same for the same seed.
enum Mutation {
    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    static let requests = [
        "GET /a?b=c HTTP/1.1\r\nHost: app.test\r\nAccept: */*\r\nX-A: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
            + "5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HEAD http://app.test:80/ HTTP/1.1\r\nHost: app.test\r\nExpect: 100-continue\r\n\r\n",
        "GET /1 HTTP/1.1\r\nHost: app.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ].map(bytes)

    static let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        "HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nbytes",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\n",
    ].map(bytes)

    private static let tokens = [
        "\r\n", "\n", "\r", "\0", " ", ":", ",", "0", "#", "\r\n ", "\r\n\r\n", "\u{FF}",
        "Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n", "Host: b\r\n", "HTTP/1.1 ",
        "Connection: Host, close\r\n", "ffffffffffffffff\r\n", "HTTP/1.1 100 Continue\r\n\r\n",
    ].map(bytes)

    /// Changes some bytes, cuts, doubles or inserts a piece.
    static func mutate(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var result = bytes
        for _ in 0..<Int.random(in: 1...4, using: &random) where !result.isEmpty {
            let at = Int.random(in: 0..<result.count, using: &random)
            let end = min(at + Int.random(in: 1...8, using: &random), result.count)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: result[at] = UInt8(truncatingIfNeeded: random.next())
            case 1: result[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 2: result.removeSubrange(at..<end)
            case 3: result.insert(contentsOf: result[at..<end], at: at)
            case 4:
                let token = tokens[Int.random(in: 0..<tokens.count, using: &random)]
                result.insert(contentsOf: token, at: at)
            default: result.removeSubrange(at...)
            }
        }
        return result
    }

    /// What a client sends as its first words, whole.
    static func recordHello(
        _ versions: ClosedRange<TLSVersion> = .v12 ... .v13
    ) throws -> [UInt8] {
        let listener = try ScriptedUpstream([.readHead])
        defer { listener.stop() }
        _ = try? RawClient(
            listener.address,
            tls: ClientTLS(serverName: "app.test", alpn: ["http/1.1"], versions: versions),
            within: .milliseconds(100))
        _ = listener.wait { !($0.first?.received ?? []).isEmpty }
        return listener.connections.first?.received ?? []
    }
}
