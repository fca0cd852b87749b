import EdgeCore
import EdgeDNS
import Testing

@Suite("What is remembered of names") struct NameRecordsTests {
    private static func address(_ text: String) -> SocketAddress {
        SocketAddress(address: text, port: 0) ?? SocketAddress(ipv4: 0, port: 0)
    }

    private static let sample: NameRecords = {
        var records = NameRecords()
        records.names["a.example"] = .init(
            addresses: [address("192.0.2.1"), address("192.0.2.9"), address("2001:db8::1")],
            seconds: 1_764_000_000)
        records.names["b.example"] = .init(addresses: [address("192.0.2.2")], seconds: -5)
        records.services["_x._tcp.example"] = .init(
            records: [
                ServiceRecord(priority: 1, weight: 0, port: 443, target: "a.example"),
                ServiceRecord(priority: 2, weight: 7, port: 8443, target: "b.example"),
            ], seconds: .max)
        return records
    }()

    @Test("names and services come back as they were")
    func roundTrip() throws {
        #expect(try NameRecords(decoding: Self.sample.encode()) == Self.sample)
        #expect(try NameRecords(decoding: NameRecords().encode()).isEmpty)
    }

    @Test("bytes cut off anywhere are refused")
    func cut() {
        let bytes = Self.sample.encode()
        for count in 0..<bytes.count {
            #expect(throws: NameRecords.Failure.self) {
                try NameRecords(decoding: Array(bytes.prefix(count)))
            }
        }
        #expect(throws: NameRecords.Failure.surplusBytes) {
            try NameRecords(decoding: bytes + [0])
        }
    }

    private static func name(_ name: [UInt8], _ addresses: [UInt8]) -> [UInt8] {
        [0, 0, 0, 1, UInt8(name.count)] + name + [0, 0, 0, 0, 0, 0, 0, 0] + addresses
            + [0, 0, 0, 0]
    }

    static let hostile: [(String, [UInt8], NameRecords.Failure)] = [
        ("an endless number of names", [255, 255, 255, 255], .endsEarly),
        ("an empty name", name([], [1, 4, 1, 2, 3, 4]), .badName),
        ("a name with a zero", name([97, 0], [1, 4, 1, 2, 3, 4]), .badName),
        ("a name that is no text", name([0xFF], [1, 4, 1, 2, 3, 4]), .badName),
        ("no address", name([97], [0]), .badAddresses),
        ("another family", name([97], [1, 5, 1, 2, 3, 4]), .badAddresses),
        ("an address of nobody", name([97], [1, 4, 0, 0, 0, 0]), .badAddresses),
        (
            "the same address twice", name([97], [2, 4, 1, 2, 3, 4, 4, 1, 2, 3, 4]),
            .badAddresses
        ),
        (
            "addresses in another order", name([97], [2, 4, 2, 2, 2, 2, 4, 1, 1, 1, 1]),
            .badAddresses
        ),
    ]

    @Test("what encoding never makes is refused", arguments: hostile)
    func refused(_ what: String, _ bytes: [UInt8], _ failure: NameRecords.Failure) {
        #expect(throws: failure, "\(what)") { try NameRecords(decoding: bytes) }
    }

    @Test("what does not fit is left out, that confirmed longest ago first")
    func bounded() throws {
        var records = NameRecords()
        for index in 0..<100 {
            records.names["n\(index).example"] = .init(
                addresses: [Self.address("192.0.2.1")], seconds: Int64(index))
        }

        let bytes = records.encode(byteCountMax: 1000)

        let kept = try NameRecords(decoding: bytes)
        #expect(bytes.count <= 1000 && kept.names.count > 20)
        #expect(records.encode(byteCountMax: 0) == NameRecords().encode())
        #expect(kept.names["n99.example"] != nil && kept.names["n0.example"] == nil)
    }
}

@Suite("The hosts file") struct HostsTableTests {
    @Test("entries are found by every name, whatever its case; other lines are passed over")
    func entries() {
        let text = """
            # 192.0.2.9 commented
            192.0.2.1\ta.example A  # b.example
            2001:db8::1 a.example
            192.0.2.300 bad.example
            words only
            192.0.2.2 a.EXAMPLE\r
            """
        let table = HostsTable(Array(text.utf8))

        let answer = table.answer(for: "A.example")
        #expect(
            answer?.addresses.map(\.addressText) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"])
        #expect(table.answer(for: "a")?.ipv6 == .empty)
        #expect(table.answer(for: "b.example") == nil)
        #expect(table.answer(for: "bad.example") == nil)
        #expect(table.answer(for: "only") == nil)
    }
}
