import EdgeTesting
import Testing

@testable import EdgePreface

@Suite("ClientHello: what clients send is understood") struct ClientHelloTests {
    @Test(
        "Recorded hellos",
        arguments: [
            (.curl, "www.home.example", ["h2", "http/1.1"], true),
            (.curlTLS12, "www.home.example", ["http/1.1"], false),
            (.openssl, "api.home.example", ["acme-tls/1"], true),
            (.python, "python.home.example", [], true),
        ] as [(RecordedHello, String, [String], Bool)])
    func recorded(
        _ client: RecordedHello, _ name: String, _ protocols: [String], _ supportsTLS13: Bool
    ) {
        let hello = HelloView.whole(client.bytes)

        #expect(hello.outcome == .complete)
        #expect(hello.name == name)
        #expect(hello.protocols == protocols)
        #expect(hello.supportsTLS13 == supportsTLS13)
        #expect(!hello.hasECH)
        #expect(hello.byteCount == client.bytes.count)
    }

    @Test("A browser's hello with post-quantum keys, GREASE and ECH, also over an MTU of 1,280")
    func browser() {
        let bytes = HelloBuilder.browser("Shop.Home.Example").bytes

        let hello = HelloView.whole(bytes)

        #expect(bytes.count > 1700)
        #expect(hello.outcome == .complete)
        #expect(hello.name == "shop.home.example")
        #expect(hello.protocols == ["h2", "http/1.1"])
        #expect(hello.supportsTLS13 && hello.hasECH)
        // 1,280 less IPv6, TCP and its timestamps.
        #expect(HelloView.segments(bytes, of: 1208) == hello)
    }

    @Test("A hello in records and segments of any size is the same hello")
    func reassembly() {
        let messages =
            RecordedHello.allCases.map { Array($0.bytes.dropFirst(5)) }
            + [HelloBuilder.browser("a.example").message, HelloBuilder().message]
        for message in messages {
            var wanted = HelloView.whole(HelloBuilder.records(message, of: 1 << 14))
            #expect(wanted.outcome == .complete)
            for size in [1, 2, 3, 4, 5, 7, 64, 100, 1000] {
                let bytes = HelloBuilder.records(message, of: size)
                wanted.byteCount = bytes.count
                #expect(HelloView.whole(bytes) == wanted, "records of \(size)")
                for segment in [1, 2, 5, 6, 1208] {
                    #expect(
                        HelloView.segments(bytes, of: segment) == wanted,
                        "records of \(size) in segments of \(segment)")
                }
            }
        }
    }

    @Test("A hello that is cut anywhere is incomplete, and what follows it changes nothing")
    func truncations() {
        for bytes in RecordedHello.allCases.map(\.bytes) + [HelloBuilder.browser("b.example").bytes]
        {
            for count in 0..<bytes.count {
                let hello = HelloView.whole(Array(bytes.prefix(count)))
                #expect(hello.outcome == .incomplete, "cut at \(count)")
                #expect(hello.byteCount == 0)
            }
            #expect(HelloView.whole(bytes + [0x14, 3, 3, 0, 1, 1]) == HelloView.whole(bytes))
        }
    }

    @Test("Bytes that have been seen are not looked at again before the hello is complete")
    func linear() {
        var builder = HelloBuilder()
        builder.extensions?.append((21, [UInt8](repeating: 0, count: 15_000)))
        let bytes = HelloBuilder.records(builder.message, of: 4000)
        var hello = ClientHello()
        var seen: [UInt8] = []

        for byte in bytes.dropLast() {
            seen.append(byte)
            let outcome = ClientHello.read(seen.span, into: &hello)
            #expect(outcome == .incomplete)
            // Headers of records are kept until they are whole.
            let behind = seen.count - Int(hello.progress.position)
            #expect(behind < 5)
            if behind == 0 { seen[seen.count - 1] = 0xFF }
        }

        #expect(ClientHello.read(bytes.span, into: &hello) == .complete)
        #expect(HelloView(.complete, hello) == HelloView.whole(bytes))
    }

    @Test("One value serves many connections: each keeps its progress only")
    func shared() {
        let first = HelloBuilder.records(HelloBuilder.browser("first.example").message, of: 90)
        let second = HelloBuilder.records(HelloBuilder().message, of: 11)
        var progress = [ClientHello.Progress(), ClientHello.Progress()]
        var views: [HelloView] = []
        var hello = ClientHello()

        for count in 1...max(first.count, second.count) {
            for (index, bytes) in [first, second].enumerated() where count <= bytes.count {
                hello.progress = progress[index]
                let outcome = ClientHello.read(
                    bytes.span.extracting(0..<count), into: &hello)
                progress[index] = hello.progress
                if outcome != .incomplete { views.append(HelloView(outcome, hello)) }
            }
        }

        #expect(
            views.sorted { $0.byteCount > $1.byteCount } == [
                HelloView.whole(first), HelloView.whole(second),
            ])
    }

    @Test("A hello without extensions, as TLS 1.2 allows, names nobody and offers nothing")
    func withoutExtensions() {
        var builder = HelloBuilder()
        builder.extensions = nil
        let hello = HelloView.whole(builder.bytes)

        #expect(hello.outcome == .complete)
        #expect(hello.name == "" && hello.protocols == [] && !hello.supportsTLS13)
        builder.extensions = []
        #expect(HelloView.whole(builder.bytes).outcome == .complete)
    }

    @Test(
        "Names are in lower case, without a trailing dot; an address is a name",
        arguments: [
            ("WWW.Home.Example", "www.home.example"), ("a", "a"), ("a.b.", "a.b"),
            ("192.0.2.1", "192.0.2.1"), ("_x-1.example", "_x-1.example"),
            ("xn--bcher-kva", "xn--bcher-kva"),
            (String(repeating: "n", count: 255), String(repeating: "n", count: 255)),
        ])
    func names(_ said: String, _ name: String) {
        var builder = HelloBuilder()
        builder.extensions = [HelloBuilder.serverName(said)]
        let hello = HelloView.whole(builder.bytes)

        #expect(hello.outcome == .complete)
        #expect(hello.name == name)
    }

    @Test("Of a long list of protocols, those that fit are known")
    func manyProtocols() {
        var builder = HelloBuilder()
        let names = (0..<40).map { "protocol-\($0)" }
        let list = names.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        let longest = String(repeating: "x", count: 255)
        builder.extensions = [
            (16, HelloBuilder.block([255] + Array(longest.utf8) + [2] + Array("h2".utf8)))
        ]
        var hello = ClientHello()

        #expect(ClientHello.read(builder.bytes.span, into: &hello) == .complete)
        #expect(hello.offers(longest.utf8.span) && !hello.offers("h2".utf8.span))

        builder.extensions = [(16, HelloBuilder.block(list + [2] + Array("h2".utf8)))]
        #expect(ClientHello.read(builder.bytes.span, into: &hello) == .complete)
        #expect(hello.offers("protocol-0".utf8.span) && hello.offers("protocol-9".utf8.span))
        #expect(!hello.offers("protocol-39".utf8.span) && !hello.offers(longest.utf8.span))
        #expect(!hello.offers("protocol".utf8.span) && !hello.offers("protocol-00".utf8.span))
    }

    @Test("Thousands of extensions are taken")
    func manyExtensions() {
        var builder = HelloBuilder()
        builder.extensions?.append(contentsOf: (1000..<5000).map { ($0, []) })
        let hello = HelloView.whole(builder.bytes)

        #expect(hello.outcome == .complete)
        #expect(hello.name == "www.home.example")
    }

    @Test(
        "The versions decide, not the record's or the message's own",
        arguments: [0x0301, 0x0303, 0x0304, 0x03FF, 0x0400] as [UInt16])
    func versions(version: UInt16) {
        var builder = HelloBuilder()
        builder.version = version
        var bytes = builder.bytes
        bytes[2] = UInt8(version & 255)

        #expect(HelloView.whole(bytes).outcome == .complete)
        #expect(HelloView.whole(bytes).supportsTLS13)
        builder.extensions = [HelloBuilder.versions(0x0303, 0x7A7A, 0x7F1C)]
        #expect(!HelloView.whole(builder.bytes).supportsTLS13)
    }

    @Test("Hellos with bytes changed, cut and added end the same in any segments")
    func mutations() {
        var random = SeededRandom(seed: 22)
        let seeds =
            RecordedHello.allCases.map(\.bytes)
            + [
                HelloBuilder.browser("shop.example").bytes,
                HelloBuilder.records(HelloBuilder().message, of: 9),
            ]
        var complete = 0
        for _ in 0..<2_000 {
            let bytes = mutated(seeds.randomElement(using: &random) ?? [], &random)
            let whole = HelloView.whole(bytes)
            for size in [1, 13] {
                #expect(HelloView.segments(bytes, of: size) == whole, "\(random)")
            }
            guard whole.outcome == .complete else {
                #expect(whole.byteCount == 0 && whole.name == "", "\(random)")
                continue
            }
            complete += 1
            #expect(whole.byteCount <= bytes.count, "\(random)")
            #expect(HelloView.whole(Array(bytes.prefix(whole.byteCount))) == whole, "\(random)")
            #expect(
                HelloView.whole(Array(bytes.prefix(whole.byteCount - 1))).outcome == .incomplete,
                "\(random)")
        }
        #expect(complete > 200 && complete < 1900, "\(complete) complete, \(random)")
    }
}

/// A few bytes changed, cut out or added; lengths more often than others, because they are small.
func mutated(_ bytes: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<8, using: &random) {
        case 0, 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes[index] &+= 1
        case 3: bytes[index] &-= 1
        case 4: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 5: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
        case 6: bytes.remove(at: index)
        default:
            guard random.chance(1, of: 4) else { continue }
            bytes.removeSubrange(index...)
        }
    }
    return bytes
}
