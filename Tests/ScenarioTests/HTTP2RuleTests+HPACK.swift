internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// RFC 7541.
extension Scenarios.HTTP2Rules {
    private static let get = HPACKBlock(HTTP2Client.fields())

    /// One block that can't be read.
    private static func broken(_ name: String, _ block: HPACKBlock) -> HTTP2Row {
        HTTP2Row(name, .connection(.compressionError), .headers(1, block))
    }

    private static func broken(_ name: String, huffman body: [UInt8]) -> HTTP2Row {
        let string = HPACKBlock.string(raw: body, huffman: true)
        return broken(name, get + HPACKBlock([0, 1, UInt8(ascii: "x")] + string))
    }

    /// Bits of a text, filled up with zeros.
    private static func zeroPadded(_ text: String) -> [UInt8] {
        let (whole, rest, count) = HuffmanCode.bits(Array(text.utf8))
        return whole + [UInt8(truncatingIfNeeded: rest << UInt64(8 - count))]
    }

    static let brokenBlocks: [HTTP2Row] = [
        broken("2.3.3: an index beyond the tables", get + .indexed(70)),
        broken("2.3.3: just beyond the static table", get + .indexed(62)),
        broken("2.3.3: a name beyond the tables", get + .literal(nameAt: 70, "a", .indexed)),
        broken("2.3.3: in each form", get + .literal(nameAt: 62, "a", .never)),
        broken("4.2: an update behind a field", HPACKBlock(get.bytes) + .tableSize(0)),
        broken(
            "4.2: between fields", .joined(.indexed(2), .tableSize(0), .indexed(7), .indexed(4))),
        broken("5.1: an integer without an end", get + HPACKBlock([0xFF, 0x80, 0x80])),
        broken(
            "5.1: an integer beyond any",
            get + HPACKBlock(.init(repeating: 0xFF, count: 10) + [0x01])),
        broken("5.2: a string beyond the block", get + HPACKBlock([0x00, 0x7E, 0x61])),
        broken(
            "5.2: padding of more than 7 bits",
            huffman: HuffmanCode.encode(Array("www".utf8)) + [0xFF]),
        broken("5.2: padding of zeros", huffman: zeroPadded("www")),
        broken("5.2: the end symbol within", huffman: [0xFF, 0xFF, 0xFF, 0xFF]),
        broken(
            "5.2: the end symbol behind text",
            huffman: HuffmanCode.encode(Array("aaaaaaaa".utf8)) + [0xFF, 0xFF, 0xFF, 0xFF]),
        broken("6.1: index 0", get + .indexed(0)),
        broken("6.3: an update beyond the setting", .tableSize(4097) + get),
        broken("6.3: far beyond", .tableSize(1 << 30) + get),
    ]

    /// Every form of literal, with indexed names and without, plain and by Huffman.
    static let literals: [HTTP2Row] = HPACKBlock.Form.allCases.flatMap { form in
        [false, true].map { huffman in
            let block = HPACKBlock.joined(
                .indexed(2), .indexed(7), .literal(nameAt: 4, "/", form, huffman: huffman),
                .literal(nameAt: 1, "app.test", form, huffman: huffman),
                .literal("x-a", "b", form, huffman: huffman))
            return HTTP2Row(
                "6.2: literals, \(form), Huffman \(huffman)", .answered(1), .headers(1, block))
        }
    }

    private static let entry = HPACKBlock.literal("x-a", "b", .indexed)
    private static let large = HPACKBlock.literal(
        "x-b", String(repeating: "c", count: 100), .indexed)

    static let tableRows: [HTTP2Row] = [
        .init(
            "4.2, 6.3: updates in front", .answered(3), .headers(1, .tableSize(0) + get),
            .headers(3, .joined(.tableSize(0), .tableSize(4096), get))),
        .init(
            "4.4: what is too large empties the table", .answered(1),
            .headers(1, .joined(.tableSize(64), get, entry, large))),
        .init(
            "4.4: and what was in it is gone", .connection(.compressionError),
            .headers(1, .joined(.tableSize(64), get, entry, large)),
            .headers(3, get + .indexed(62))),
        .init(
            "2.3.2: an entry is there in the next block", .answered(3),
            .headers(1, get + entry), .headers(3, get + .indexed(62))),
        .init(
            "4.4: an entry may be evicted by one that takes its name", .answered(3),
            .headers(1, .joined(.tableSize(64), get, entry)),
            .headers(3, get + .literal(nameAt: 62, String(repeating: "c", count: 20), .indexed))),
        .init(
            "5.1: integers of needless length", .answered(1),
            .headers(1, get + HPACKBlock([0x0F, 0xAB, 0x80, 0x00, 0x01, 0x61]))),
    ]

    @Test("field blocks are read, and broken ones end the connection, as RFC 7541 says")
    func blocks() throws { try Self.check(Self.brokenBlocks + Self.literals + Self.tableRows) }

    /// What nghttp2 1.52 takes more lightly than RFC 9113.
    private static let beyondNghttp2: Set<String> = [
        "4.2: in CONTINUATION", "5.1.1: a number below the last",
        "5.1.1: the same while the last is open", "5.1.1: DATA on a number that was left out",
        "6.9.2: a stream's window over it by SETTINGS",
    ]

    @Test("the rows about frames, streams and blocks hold for nghttpd too")
    func foreign() throws {
        let server = try Nghttpd()
        defer { server.stop() }
        let target = try server.http2()

        let tables: [[HTTP2Row]] = [
            Self.prefaceRows, Self.frameRows, Self.intruderRows, Self.blockRows, Self.stateRows,
            Self.identifierRows, Self.priorityRows, Self.dataRows, Self.headersRows,
            Self.shortRows, Self.settingsRows, Self.windowRows, Self.creditRows,
            Self.brokenBlocks, Self.literals, Self.tableRows, Self.headRows, Self.endRows,
        ]
        let strict = tables.flatMap { $0 }.filter { !Self.beyondNghttp2.contains($0.name) }
        #expect(strict.count == tables.joined().count - Self.beyondNghttp2.count)
        try target.check(strict)
    }

    @Test("the server's own blocks keep within the client's table, whatever it announces when")
    func tables() throws {
        let upstream = try ScriptedUpstream(
            answering: HTTP2Target.content,
            fields: ["X-Long: \(String(repeating: "v", count: 300))"])
        defer { upstream.stop() }
        let edged = try Edged(oneSite(upstream.server))
        defer { edged.stop() }
        let client = try edged.connectHTTP2()
        defer { client.close() }

        // nghttp2's inflater refuses what does not follow from what was acknowledged.
        for size in [4096, 0, 100, 65_536, 0, 4096] as [UInt32] {
            try client.send(.settings([RawFrame.Setting.headerTableSize: size]))
            for _ in 0..<2 {
                let answer = try client.get()
                #expect(answer.text == HTTP2Target.content && answer["x-long"]?.count == 300)
            }
        }
        #expect(client.faults.isEmpty, "\(client.faults)")
    }
}
