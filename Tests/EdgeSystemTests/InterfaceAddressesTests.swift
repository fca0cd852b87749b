import EdgeCore
import EdgeSystem
import Testing

@Suite("The machine's own addresses") struct InterfaceAddressesTests {
    @Test("each is there once, without port, and no loopback address is")
    func read() throws {
        let addresses = try InterfaceAddresses.read()

        #expect(Set(addresses).count == addresses.count)
        #expect(addresses.allSatisfy { $0.port == 0 && !$0.isLoopback })
    }
}
