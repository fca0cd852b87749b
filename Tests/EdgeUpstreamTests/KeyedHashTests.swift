import EdgeCore
import Testing

@testable import EdgeUpstream

@Suite("Keyed hash") struct KeyedHashTests {
    private static let reference = KeyedHash(
        key0: 0x0706_0504_0302_0100, key1: 0x0F0E_0D0C_0B0A_0908)

    @Test(
        "Is SipHash-2-4 as its authors have it",
        arguments: [
            (0, 0x726F_DB47_DD0E_0E31 as UInt64), (1, 0x74F8_39C5_93DC_67FD),
            (8, 0x93F5_F579_9A93_2462), (15, 0xA129_CA61_49BE_45E5),
        ])
    func vectors(count: Int, expected: UInt64) {
        let bytes = (0..<UInt8(count)).map { $0 }

        #expect(Self.reference.hash(bytes.span) == expected)
        bytes.withUnsafeBytes { #expect(Self.reference.hash($0) == expected) }
    }

    @Test("A client's port makes no difference, a member's does")
    func ports() {
        let hash = KeyedHash(seed: 1)
        let address = SocketAddress(ipv4: 0x0A00_0001, port: 80)
        let other = address.with(port: 81)

        #expect(hash.hash(client: address) == hash.hash(client: other))
        #expect(hash.hash(member: address) != hash.hash(member: other))
        #expect(hash.hash(member: address.with(port: 0)) != hash.hash(client: address))
    }

    @Test("Another seed is another hash")
    func seeds() {
        let address = SocketAddress(ipv4: 0x0A00_0001, port: 80)

        #expect(
            KeyedHash(seed: 1).hash(client: address) != KeyedHash(seed: 2).hash(client: address))
    }
}
