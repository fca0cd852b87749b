import EdgeTesting
import Testing

@testable import EdgeSystem

@Suite("Network interfaces") struct NetworkInterfaceTests {
    @Test("The loopback interface is there, once, and has no parent")
    func loopback() throws {
        let found = try NetworkInterface.readAll().filter { $0.name == "lo" }

        #expect(found.count == 1)
        #expect(found.first?.index == 1 && found.first?.parent == 0)
    }

    /// One RTM_NEWLINK with the attributes.
    private static func message(_ attributes: [(UInt16, [UInt8])], index: Int32 = 7) -> [UInt8] {
        var body = [UInt8](repeating: 0, count: 16)
        withUnsafeBytes(of: index) { body.replaceSubrange(4..<8, with: $0) }
        for (type, value) in attributes {
            withUnsafeBytes(of: UInt16(4 + value.count)) { body += $0 }
            withUnsafeBytes(of: type) { body += $0 }
            body += value + [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
        }
        var header: [UInt8] = []
        withUnsafeBytes(of: UInt32(16 + body.count)) { header += $0 }
        withUnsafeBytes(of: UInt16(16)) { header += $0 }
        return header + [UInt8](repeating: 0, count: 10) + body
    }

    private static func read(_ bytes: [UInt8]) -> [NetworkInterface] {
        var result: [NetworkInterface] = []
        NetlinkReader.forEachMessage(bytes.span) { header, body in
            if let link = NetworkLink(message: body) { result.append(link.interface) }
            return true
        }
        return result
    }

    @Test("A macvlan tells its parent; one in another namespace does not")
    func parents() {
        let name = (UInt16(3), Array("vrrp.1".utf8) + [0])
        let link = (UInt16(5), withUnsafeBytes(of: Int32(4)) { Array($0) })
        // IFLA_LINKINFO with the flag for nested attributes.
        let info = (UInt16(18 | 0x8000), [12, 0, 1, 0] + Array("macvlan".utf8) + [0])
        let elsewhere = (UInt16(37), [UInt8](repeating: 0, count: 4))

        #expect(
            Self.read(Self.message([name, link, info]))
                == [NetworkInterface(index: 7, name: "vrrp.1", parent: 4, kind: "macvlan")])
        #expect(
            Self.read(Self.message([name, link, elsewhere]))
                == [NetworkInterface(index: 7, name: "vrrp.1")])
    }

    @Test("Damaged messages are read to where they make sense, and never beyond their end")
    func damage() {
        let whole = Self.message([
            (3, Array("eth0".utf8) + [0]), (18, [12, 0, 1, 0] + Array("macvlan".utf8) + [0]),
        ])
        for count in 0..<whole.count { _ = Self.read(Array(whole.prefix(count))) }
        var random = SeededRandom(seed: 5)
        for _ in 0..<2_000 {
            var bytes = whole + whole
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] =
                    UInt8.random(in: 0...255, using: &random)
            }
            _ = Self.read(bytes)
        }
        #expect(Self.read(whole).map(\.name) == ["eth0"])
    }
}
