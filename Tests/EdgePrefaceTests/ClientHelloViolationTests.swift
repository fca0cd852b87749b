import EdgeTesting
import Testing

@testable import EdgePreface

@Suite("ClientHello: what is none is refused") struct ClientHelloViolationTests {
    @Test(
        "A connection that cannot become a hello is refused at its first wrong byte",
        arguments: [
            ([0x47], .notTLS), ([0x15], .notTLS), ([0x80], .notTLS), ([0x00], .notTLS),
            // SSLv2's hello.
            ([0x80], .notTLS), ([22, 2], .notTLS), ([22, 4], .notTLS), ([22, 0xFE], .notTLS),
            ([22, 3, 1, 0, 0], .emptyRecord), ([22, 3, 1, 0x41], .recordTooLarge),
            ([22, 3, 1, 0x40, 1], .recordTooLarge), ([22, 3, 1, 0xFF], .recordTooLarge),
            ([22, 3, 3, 0, 5, 2], .notClientHello), ([22, 3, 3, 0, 5, 0], .notClientHello),
            ([22, 3, 3, 0, 200, 1, 1], .tooLong), ([22, 3, 3, 0, 200, 1, 0, 0x40], .tooLong),
            ([22, 3, 3, 0, 200, 1, 0, 0x3F, 0xFD], .tooLong),
            ([22, 3, 3, 0, 5, 1, 0, 0, 0], .surplusBytes),
            ([22, 3, 3, 0, 2, 1, 0, 21], .interrupted), ([22, 3, 3, 0, 1, 1, 23], .interrupted),
            ([22, 3, 3, 0, 1, 1, 22, 2], .notTLS),
            ([22, 3, 3, 0, 1, 1, 22, 3, 3, 0, 0], .emptyRecord),
            ([22, 3, 3, 0, 4, 1, 0, 0, 9, 22, 3, 3, 0, 10], .surplusBytes),
        ] as [([UInt8], ClientHelloViolation)])
    func early(_ bytes: [UInt8], _ violation: ClientHelloViolation) {
        #expect(HelloView.whole(bytes).outcome == .malformed(violation))
        #expect(HelloView.whole(Array(bytes.dropLast())).outcome == .incomplete)
        #expect(HelloView.segments(bytes + [1, 2, 3], of: 1).outcome == .malformed(violation))
    }

    @Test("A message of 16 KiB is taken, one of a byte more is not")
    func messageLimit() {
        var builder = HelloBuilder()
        let count = ClientHello.messageByteCountMax - builder.message.count - 4
        builder.extensions?.append((21, [UInt8](repeating: 0, count: count)))
        #expect(builder.message.count == 16384)
        #expect(HelloView.whole(builder.bytes).outcome == .complete)
        #expect(
            HelloView.whole(HelloBuilder.records(builder.message, of: 21)).outcome == .complete)

        builder.sessionID.removeLast()
        builder.extensions?[3].contents += [0, 0]
        let bytes = HelloBuilder.records(builder.message, of: 1 << 14)
        #expect(HelloView.whole(Array(bytes.prefix(9))).outcome == .malformed(.tooLong))
    }

    @Test("Records and message together take 20 KiB at most")
    func byteLimit() {
        var builder = HelloBuilder()
        builder.extensions?.append((21, [UInt8](repeating: 0, count: 3000)))
        let bytes = HelloBuilder.records(builder.message, of: 1)
        #expect(builder.message.count < 3413)
        #expect(HelloView.whole(bytes).outcome == .complete)

        builder.extensions?[3].contents += [UInt8](repeating: 0, count: 400)
        let long = HelloBuilder.records(builder.message, of: 1)
        #expect(long.count > ClientHello.byteCountMax)
        let whole = HelloView.whole(long)
        #expect(whole.outcome == .malformed(.tooLong))
        // The record that would reach beyond is refused with its header.
        let place = 3413 * 6 + 5
        #expect(HelloView.whole(Array(long.prefix(place - 1))).outcome == .incomplete)
        #expect(HelloView.whole(Array(long.prefix(place))).outcome == .malformed(.tooLong))
    }

    private func outcome(_ change: (inout HelloBuilder) -> Void) -> ClientHelloOutcome {
        var builder = HelloBuilder()
        change(&builder)
        let whole = HelloView.whole(builder.bytes)
        #expect(HelloView.segments(builder.bytes, of: 1) == whole)
        return whole.outcome
    }

    @Test("Fields that RFC 8446 bounds are bounded")
    func fields() {
        #expect(outcome { $0.sessionID = [] } == .complete)
        #expect(outcome { $0.sessionID += [1] } == .malformed(.badLength))
        #expect(outcome { $0.suites = [] } == .malformed(.badLength))
        #expect(outcome { $0.compressions = [] } == .malformed(.badLength))
        #expect(outcome { $0.compressions = [1, 0] } == .complete)
        #expect(outcome { $0.version = 0x0200 } == .malformed(.unsupportedVersion))
        #expect(outcome { $0.version = 0x0002 } == .malformed(.unsupportedVersion))
        #expect(outcome { $0.version = 0x0300 } == .complete)
    }

    @Test(
        "Two extensions of a type are refused, of GREASE as well", arguments: [0, 43, 21, 0x3A3A])
    func duplicates(type: UInt16) {
        let twice: HelloBuilder.Extension =
            type == 0
            ? HelloBuilder.serverName("a.example")
            : type == 43 ? HelloBuilder.versions(0x0304) : (type, [])
        #expect(outcome { $0.extensions = [twice] } == .complete)
        #expect(
            outcome { $0.extensions = [twice, (9, []), twice] } == .malformed(.duplicateExtension))
    }

    @Test(
        "A server name that no host can have is refused",
        arguments: [
            "", ".", ".a", "a..b", "a..", "a b", "a\0b", "bücher.example", "2001:db8::1", "a/b",
            "[::1]", "*.example", "a\n", "a,b", "user@host", "a:443", "a%20",
        ])
    func names(name: String) {
        #expect(
            outcome { $0.extensions = [HelloBuilder.serverName(name)] }
                == .malformed(.badServerName))
    }

    @Test(
        "A list of server names is exactly one host name",
        arguments: [
            // Another type; two names; two types; nothing; a length too long, too short.
            [0, 4, 1, 0, 1, 97], [0, 8, 0, 0, 1, 97, 0, 0, 1, 98],
            [0, 8, 0, 0, 1, 97, 1, 0, 1, 98],
            [0, 5, 0, 0, 1, 97], [0, 3, 0, 0, 1, 97], [0, 4, 0, 0, 2, 97],
            [0, 4, 0, 0, 0, 97],
            [0, 5, 0, 1, 0] + [97, 98],
        ] as [[UInt8]])
    func nameLists(contents: [UInt8]) {
        #expect(outcome { $0.extensions = [(0, contents)] } == .malformed(.badServerName))
    }

    @Test("A name of 256 bytes is refused")
    func longName() {
        let name = String(repeating: "a", count: 256)
        #expect(
            outcome { $0.extensions = [HelloBuilder.serverName(name)] }
                == .malformed(.badServerName))
    }

    @Test(
        "Lists of protocols and versions are whole",
        arguments: [
            (16, [0, 0], .badProtocols), (16, [0, 1, 0], .badProtocols),
            (16, [0, 3, 2, 97], .badProtocols), (16, [0, 3, 2, 97, 98, 0], .badProtocols),
            (16, [0, 4, 2, 97, 98, 0], .badProtocols), (16, [0, 3, 3, 97, 98], .badProtocols),
            (16, [0, 2, 2, 97, 98], .badProtocols), (16, [], .truncated), (16, [0], .truncated),
            (43, [], .truncated), (43, [0], .badLength), (43, [1, 3], .badLength),
            (43, [3, 3, 4, 3], .badLength), (43, [2, 3, 4, 3], .badLength),
            (43, [4, 3, 4], .badLength), (0, [0, 0], .truncated),
            (0, [0, 1, 0], .truncated), (0, [], .truncated),
            (0, [0], .truncated),
        ] as [(UInt16, [UInt8], ClientHelloViolation)])
    func lists(_ type: UInt16, _ contents: [UInt8], _ violation: ClientHelloViolation) {
        #expect(outcome { $0.extensions = [(type, contents)] } == .malformed(violation))
    }

    @Test("Any length inside the message that is one off is refused")
    func lengths() {
        // Session identifier, suites, compressions, extensions, and the three extensions' own.
        let bytes = HelloBuilder().bytes
        let places = [43, 77, 84, 87, 91]
        for place in places {
            for step in [1, 255] as [UInt8] {
                var changed = bytes
                changed[place] &+= step
                guard case .malformed(let violation) = HelloView.whole(changed).outcome else {
                    Issue.record("byte \(place) by \(step) is taken")
                    continue
                }
                #expect(violation.alert != nil)
                #expect(HelloView.segments(changed, of: 1).outcome == .malformed(violation))
            }
        }
    }

    @Test("Every violation has its word, and who speaks TLS an alert")
    func labels() {
        let all = ClientHelloViolation.allCases
        #expect(Set(all.map(\.label)).count == all.count)
        #expect(ClientHelloViolation.notTLS.label == "not_tls")
        #expect(all.filter { $0.alert == nil } == [.notTLS])
    }
}
