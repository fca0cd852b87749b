import EdgeCore
import EdgeSystem
import Testing

@testable import EdgeFailover

@Suite("Address plan") struct AddressPlanTests {
    private static func address(
        _ text: String, _ prefixLength: UInt8 = 24, on index: Int32 = 2, origin: UInt8 = 0,
        flags: InterfaceAddress.Flags = []
    ) -> InterfaceAddress {
        InterfaceAddress(
            index: index, address: SocketAddress(address: text, port: 0)!,
            prefixLength: prefixLength, flags: flags, origin: origin)
    }

    private let own = address("10.0.0.1")
    private let four = address("10.0.0.9", origin: AddressPlan.mark)
    private let six = address("fd00::9", 64, origin: AddressPlan.mark)

    @Test("what is wanted and there stays, what is missing is put on")
    func missing() {
        let steps = AddressPlan.steps(
            wanted: [four, six], governed: [four, six], present: [own, four])

        #expect(steps == [.add(six)])
    }

    @Test("what is ours to hold and not held is taken off, whoever put it there")
    func notHeld() {
        let byHand = Self.address("10.0.0.9", 32)

        let steps = AddressPlan.steps(
            wanted: [], governed: [four, six], present: [own, byHand, six])

        #expect(steps == [.remove(byHand, .notHeld), .remove(six, .notHeld)])
    }

    @Test("what bears our mark and is of no configuration was left behind, on any interface")
    func leftBehind() {
        let old = Self.address("10.9.9.9", on: 7, origin: AddressPlan.mark)

        let steps = AddressPlan.steps(wanted: [four], governed: [four], present: [own, old, four])

        #expect(steps == [.remove(old, .leftBehind)])
    }

    @Test("an address of ours on another interface that somebody else put there is theirs")
    func elsewhere() {
        let theirs = Self.address("10.0.0.9", 32, on: 1)

        #expect(
            AddressPlan.steps(wanted: [], governed: [four], present: [own, theirs]).isEmpty)
    }

    @Test("one that the kernel found a duplicate of is put on anew")
    func duplicate() {
        let broken = Self.address("fd00::9", 64, flags: [.duplicate, .tentative])

        let steps = AddressPlan.steps(wanted: [six], governed: [six], present: [broken])

        #expect(steps == [.remove(broken, .unusable), .add(six)])
    }

    @Test("IPv4 with another prefix is put on beside it, IPv6 is left as it is")
    func prefixes() {
        let host = Self.address("10.0.0.9", 32)
        let narrow = Self.address("fd00::9", 128)

        let steps = AddressPlan.steps(
            wanted: [four, six], governed: [four, six], present: [host, narrow])

        #expect(steps == [.add(four)])
    }

    @Test("IPv6 is usable at once and no source for new connections; IPv4 is an ordinary address")
    func flags() {
        let four = AddressPlan.virtual(
            SocketAddress(address: "10.0.0.9", port: 0)!, prefixLength: 24, on: 2)
        let six = AddressPlan.virtual(
            SocketAddress(address: "fd00::9", port: 0)!, prefixLength: 64, on: 2, hasRoute: false)

        #expect(four.flags == [] && four.origin == AddressPlan.mark)
        #expect(six.flags == [.noDuplicateDetection, .deprecated, .noPrefixRoute])
    }
}
