internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

/// The smallest resolver: one question, one answer or none.
private func ask(
    _ server: StandInDNS, _ name: String, type: UInt16 = 1, within span: Duration = .seconds(2)
) throws -> DNSAnswer? {
    let descriptor = try TestSocket.bindDatagram(.loopback())
    defer { close(descriptor) }
    let query = encodeDNSQuery(id: 0x4711, name: name, type: type)
    let sent = server.address.port.bigEndian
    var target = sockaddr_in()
    target.sin_family = sa_family_t(AF_INET)
    target.sin_port = sent
    target.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let count = withUnsafeBytes(of: &target) {
        sendto(
            descriptor, query, query.count, 0,
            $0.baseAddress!.assumingMemoryBound(to: sockaddr.self),
            socklen_t(MemoryLayout<sockaddr_in>.size))
    }
    guard count == query.count else { throw KitError.system("sendto") }
    var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&one, 1, Int32(span.seconds * 1000)) > 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let got = recv(descriptor, &bytes, bytes.count, 0)
    guard got > 0 else { return nil }
    return DNSAnswer(Array(bytes[..<got]))
}

@Suite("Stand-in DNS server")
struct StandInDNSTests {
    private let server: StandInDNS

    init() throws {
        server = try StandInDNS(records: [
            "worker.home.example": [
                .address("192.0.2.1"), .address("192.0.2.2"), .address("2001:db8::1"),
            ],
            "alias.home.example": [.canonicalName("worker.home.example")],
            "_https._tcp.home.example": [.service(port: 443, target: "worker.home.example")],
        ])
    }

    @Test("answers what it knows, by type, with its TTL")
    func normal() throws {
        defer { server.stop() }
        server.ttl = 7

        let four = try #require(try ask(server, "Worker.home.example"))
        let six = try #require(try ask(server, "worker.home.example", type: 28))
        let service = try #require(try ask(server, "_https._tcp.home.example", type: 33))

        #expect(four.addresses == ["192.0.2.1", "192.0.2.2"])
        #expect(four.records.allSatisfy { $0.ttl == 7 })
        #expect(six.addresses == ["2001:db8::1"])
        #expect(service.records.map { Array($0.data[..<6]) } == [[0, 0, 0, 0, 1, 0xBB]])
        #expect(try ask(server, "alias.home.example")?.addresses == four.addresses)
        #expect(try ask(server, "other.example")?.code == 3)
    }

    @Test(
        "is ill in the ways asked for",
        arguments: [
            (StandInDNS.Mode.serverFailure, UInt8(2)), (.refused, 5), (.nameErrorForAll, 3),
            (.empty, 0),
        ])
    func codes(mode: StandInDNS.Mode, code: UInt8) throws {
        defer { server.stop() }
        server.mode = mode

        let answer = try #require(try ask(server, "worker.home.example"))

        #expect(answer.code == code)
        #expect(answer.records.isEmpty)
    }

    @Test("silent, slow and one address for every name")
    func odd() throws {
        defer { server.stop() }

        server.mode = .silent
        #expect(try ask(server, "worker.home.example", within: .milliseconds(100)) == nil)
        server.mode = .slow(.milliseconds(150))
        let begin = Instant.now()
        #expect(try ask(server, "worker.home.example")?.addresses.count == 2)
        #expect(Instant.now().nanoseconds(since: begin) >= 150_000_000)
        server.mode = .oneAddress("198.51.100.1")

        #expect(try ask(server, "anything.at.all")?.addresses == ["198.51.100.1"])
    }

    @Test("records change while it runs, and every question is logged")
    func live() throws {
        defer { server.stop() }

        server.set("worker.home.example", addresses: ["192.0.2.9"])
        let moved = try ask(server, "worker.home.example")
        server.set("worker.home.example", nil)
        let gone = try ask(server, "worker.home.example")

        #expect(moved?.addresses == ["192.0.2.9"])
        #expect(gone?.code == 3)
        #expect(server.log.map(\.name) == ["worker.home.example", "worker.home.example"])
        #expect(server.log.allSatisfy { $0.type == 1 && !$0.overTCP })
    }

    @Test("what does not fit is truncated and comes whole over TCP")
    func tcp() throws {
        defer { server.stop() }
        server.set("many.example", addresses: (1...60).map { "192.0.2.\($0)" })

        let short = try #require(try ask(server, "many.example"))
        let client = try RawClient(server.address)
        let query = encodeDNSQuery(id: 1, name: "many.example", type: 1)
        try client.send(bytes: [0, UInt8(query.count)] + query)
        var bytes: [UInt8] = []
        while bytes.count < 2 || bytes.count < 2 + Int(bytes[0]) << 8 + Int(bytes[1]) {
            guard case .bytes(let more) = client.read() else { break }
            bytes += more
        }

        #expect(short.isTruncated)
        #expect(DNSAnswer(Array(bytes.dropFirst(2)))?.addresses.count == 60)
        #expect(server.log.last?.overTCP == true)
    }
}
