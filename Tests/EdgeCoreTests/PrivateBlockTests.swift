import EdgeCore
import Testing

@Suite("Private addresses") struct PrivateBlockTests {
    @Test(
        "the first and last address of each block are in it",
        arguments: [
            ("127.0.0.1", .loopback), ("127.255.255.255", .loopback), ("::1", .loopback),
            ("169.254.0.0", .linkLocal), ("169.254.255.255", .linkLocal),
            ("fe80::", .linkLocal), ("febf:ffff::1", .linkLocal),
            ("10.0.0.0", .privateUse), ("10.255.255.255", .privateUse),
            ("172.16.0.0", .privateUse), ("172.31.255.255", .privateUse),
            ("192.168.0.0", .privateUse), ("192.168.255.255", .privateUse),
            ("100.64.0.0", .shared), ("100.127.255.255", .shared),
            ("fc00::", .uniqueLocal), ("fdff:ffff::1", .uniqueLocal),
            ("::ffff:10.0.0.1", .privateUse),
        ] as [(String, PrivateBlock)])
    func inside(text: String, block: PrivateBlock) throws {
        #expect(try #require(SocketAddress(address: text, port: 0)).privateBlock == block)
    }

    @Test(
        "their neighbours are not",
        arguments: [
            "126.255.255.255", "128.0.0.0", "::2", "169.253.255.255", "169.255.0.0",
            "fe7f:ffff::1", "fec0::1", "9.255.255.255", "11.0.0.0", "172.15.255.255",
            "172.32.0.0", "192.167.255.255", "192.169.0.0", "100.63.255.255", "100.128.0.0",
            "fbff:ffff::1", "fe00::1", "203.0.113.10", "2001:db8::10",
        ])
    func outside(text: String) throws {
        #expect(try #require(SocketAddress(address: text, port: 0)).privateBlock == nil)
    }
}
