internal import EdgeCore
internal import EdgeTesting
internal import Testing

@testable internal import EdgePair

@Suite("Pair: messages") struct PairMessageTests {
    private static func items(_ bytes: [UInt8]) throws -> [PairFrames.Item] {
        var frames = PairFrames()
        frames.append(bytes)
        var items: [PairFrames.Item] = []
        while let item = try frames.next() { items.append(item) }
        return items
    }

    @Test("A message is what its bytes say", arguments: Sample.messages)
    func roundTrip(message: PairMessage) throws {
        let bytes = message.encoded

        #expect(try Self.items(bytes) == [.message(message, byteCount: bytes.count)])
        #expect(bytes.count <= PairMessage.headBytes + PairMessage.bodyBytesMax)
    }

    @Test("Every kind has a sample")
    func kinds() {
        #expect(Set(Sample.messages.map(\.kind)) == Set(PairMessage.Kind.allCases))
    }

    @Test("A stream cut anywhere gives the same messages")
    func pieces() throws {
        let stream = Sample.messages.flatMap(\.encoded)
        for size in [1, 2, 7, 8, 9, 61, 1000] {
            var frames = PairFrames()
            var messages: [PairMessage] = []
            var at = 0
            while at < stream.count {
                let end = min(at + size, stream.count)
                frames.append(stream[at..<end])
                at = end
                while case .message(let message, _)? = try frames.next() {
                    messages.append(message)
                }
            }
            #expect(messages.count == Sample.messages.count)
            #expect(messages.elementsEqual(Sample.messages), "pieces of \(size) bytes")
        }
    }

    @Test("A body that is cut off, or goes on, is a violation; a hello may go on")
    func exact() throws {
        for message in Sample.messages {
            let body = message.encoded.dropFirst(PairMessage.headBytes)
            if message.kind != .names {
                for count in 0..<body.count {
                    #expect(throws: PairViolation.body(message.kind)) {
                        _ = try PairMessage(message.kind, body: body.prefix(count))
                    }
                }
            }
            let more = body + [0]
            switch message.kind {
            case .hello: #expect(try PairMessage(.hello, body: more) == message)
            case .names: break
            default:
                #expect(throws: PairViolation.body(message.kind)) {
                    _ = try PairMessage(message.kind, body: more)
                }
            }
        }
    }

    @Test("A type that is not known is passed over, and what follows is understood")
    func unknown() throws {
        let stream: [UInt8] =
            [0x7F, 0xFF, 0, 0, 0, 0, 0, 2, 9, 9] + PairMessage.ping(number: 1).encoded

        #expect(
            try Self.items(stream) == [
                .unknown(0x7FFF, byteCount: 10), .message(.ping(number: 1), byteCount: 16),
            ])
    }

    @Test("A body longer than the bound is refused before it has come")
    func long() {
        #expect(throws: PairViolation.tooLong(65_537)) {
            _ = try Self.items([0, 5, 0, 0, 0, 1, 0, 1])
        }
        #expect(throws: PairViolation.reserved) { _ = try Self.items([0, 2, 0, 1, 0, 0, 0, 8]) }
    }

    @Test("What is too long for its place is cut at a character, lists at their bound")
    func bounds() throws {
        let long = String(repeating: "ü", count: 200)
        let member = PairMember(upstream: long, address: SocketAddress(ipv4: 1, port: 1))
        let bytes = PairMessage.troubled(Array(repeating: member, count: 500)).encoded

        guard case .message(.troubled(let members), _)? = try Self.items(bytes).first else {
            Issue.record("no members")
            return
        }
        #expect(members.count == PairMessage.membersMax)
        #expect(members[0].upstream == String(repeating: "ü", count: 126))
        #expect(bytes.count <= PairMessage.headBytes + PairMessage.bodyBytesMax)
    }

    @Test("The largest list of fingerprints fits")
    func largest() {
        let label = PairFingerprints.Label(
            name: String(repeating: "a", count: 300), fingerprint: .max)
        var prints = Sample.prints
        prints.labels = Array(repeating: label, count: 1000)
        let bytes = PairMessage.fingerprints(prints).encoded

        #expect(bytes.count <= PairMessage.headBytes + PairMessage.bodyBytesMax)
        #expect(throws: Never.self) { _ = try Self.items(bytes) }
    }

    @Test(
        "Values that nobody sends are refused",
        arguments: [
            (PairMessage.Kind.hello, [UInt8](repeating: 0, count: 38)),
            (.farewell, [99]), (.order, [0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0]),
            (.order, [0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0]),
            (.order, [0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1]),
            (.ticketKeys, [0, 5]), (.troubled, [0, 1, 0, 5, 0, 0, 0, 0, 0, 0]),
            (.orderResult, [0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0]),
            (.costs, numbers(1, 1) + [0, 0]), (.costs, numbers(1, 1) + [0x07, 0xD1]),
            (.costs, numbers(0, 1) + [0, 1] + numbers(1, 1, 1) + [0, 0, 0, 1]),
            (.costs, numbers(1, 0) + [0, 1] + numbers(1, 1, 1) + [0, 0, 0, 1]),
            (.costs, numbers(1, 1) + [0, 1] + numbers(1, 1, 1) + [0, 0, 0, 0]),
            (.debts, [0, 0]), (.debts, [0x07, 0xD1]), (.debts, [0, 1] + numbers(1, 1, 1, 0)),
            (.debts, [0, 1] + numbers(1, 1, 1, PairMessage.debtMax + 1)),
            (.textKey, numbers(1, 1)),
            (.bans, [0, 0, 0]), (.bans, [2] + one), (.bans, [0, 0, 201]),
            // More bits than there are, a port, and for too long.
            (.bans, [0] + one(bits: 33)), (.bans, [0] + one(port: 1)),
            (.bans, [0] + one(remaining: PairMessage.banMax + 1)),
            (.refusals, [0, 65]), (.refusals, [0, 0, 0, 129]),
        ])
    func values(kind: PairMessage.Kind, body: [UInt8]) {
        #expect(throws: PairViolation.body(kind)) { _ = try PairMessage(kind, body: body[...]) }
    }

    /// One ban, as in a message.
    private static func one(
        bits: UInt8 = 32, port: UInt8 = 0, remaining: UInt32 = 1
    ) -> [UInt8] {
        [0, 1, 4, 192, 0, 2, 1, 0, port, bits, 0, 0, 0, 0, 0]
            + withUnsafeBytes(of: remaining.bigEndian) { Array($0) }
    }

    private static var one: [UInt8] { one() }

    @Test("The largest lists of bans and of refusals fit")
    func lists() {
        let name = String(repeating: "a", count: 300)
        let client = SocketAddress(ipv6High: .max, low: 0, port: 0)
        let ban = PairBan(client: client, bits: 64, policy: name, age: 1, remaining: 1)
        let row = PairRefusals.Row(
            client: client, bits: 64, policy: name, isShadow: false, count: 1, surplus: 1,
            firstAge: 1, lastAge: 1)
        let policy = PairRefusals.Policy(name: name, admitted: 1, refused: 1, shadow: 1, bans: 1)
        let messages: [PairMessage] = [
            .bans(PairBans(isList: true, bans: Array(repeating: ban, count: 500))),
            .refusals(
                PairRefusals(
                    policies: Array(repeating: policy, count: 500),
                    rows: Array(repeating: row, count: 500))),
        ]
        for message in messages {
            #expect(message.encoded.count <= PairMessage.headBytes + PairMessage.bodyBytesMax)
            #expect(throws: Never.self) { _ = try Self.items(message.encoded) }
        }
    }

    private static func numbers(_ values: UInt64...) -> [UInt8] {
        values.flatMap { value in withUnsafeBytes(of: value.bigEndian) { Array($0) } }
    }

    @Test("The largest batch of costs, and of debts, fits; what is more is left out")
    func batches() throws {
        let cost = PairCost(identity: .max, high: .max, low: .max, cost: .max)
        let debt = PairDebt(identity: 1, high: 1, low: 1, nanoseconds: PairMessage.debtMax)
        for more in [0, 1] {
            let count = PairMessage.costsMax + more
            let costs = PairMessage.costs(
                PairCosts(
                    incarnation: 1, number: 1, entries: Array(repeating: cost, count: count)))
            let debts = PairMessage.debts(Array(repeating: debt, count: count))
            for bytes in [costs.encoded, debts.encoded] {
                #expect(bytes.count <= PairMessage.headBytes + PairMessage.bodyBytesMax)
                guard case .message(let message, _)? = try Self.items(bytes).first else {
                    Issue.record("no message")
                    continue
                }
                switch message {
                case .costs(let costs): #expect(costs.entries.count == PairMessage.costsMax)
                case .debts(let debts): #expect(debts.count == PairMessage.costsMax)
                default: Issue.record("\(message.kind)")
                }
            }
        }
    }

    @Test("Random bytes are refused or are what encoding makes")
    func random() {
        seeded(200) { random in
            for _ in 0..<50 {
                let kind = PairMessage.Kind.allCases.randomElement(using: &random) ?? .ping
                let body = (0..<Int(random.next() % 90)).map { _ in
                    UInt8(truncatingIfNeeded: random.next() % 5)
                }
                guard let message = try? PairMessage(kind, body: body[...]) else { continue }
                let again = Array(message.encoded.dropFirst(PairMessage.headBytes))
                #expect(again.elementsEqual(body.prefix(again.count)))
                #expect(kind == .hello || again.count == body.count)
            }
        }
    }
}
