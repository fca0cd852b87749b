import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Network events", .serialized) struct NetworkWatchTests {
    private final class Ear {
        var watch: NetworkWatch?
        var events: [NetworkEvent] = []

        init(_ loop: PollLoop) throws {
            watch = try NetworkWatch(loop: loop) { [weak self] in self?.events.append($0) }
        }
    }

    private struct Stage {
        let network: VirtualNetwork
        let host: VirtualHost
        let thread: LoopThread<Ear>

        init() throws {
            network = try VirtualNetwork()
            host = try network.addHost("node")
            thread = try LoopThread(in: host.namespace) { try Ear($0) }
        }

        func end() {
            thread.stop()
            network.tearDown()
        }

        func hears(_ isIt: @escaping @Sendable (NetworkEvent) -> Bool) -> Bool {
            eventually { thread.sync { $0.events.contains(where: isIt) } }
        }

        /// As the event that told of it last.
        func link(_ name: String) -> NetworkLink? {
            thread.sync { ear in
                for case .link(let link) in ear.events.reversed() where link.interface.name == name
                {
                    return link
                }
                return nil
            }
        }
    }

    @Test("an interface that is made, set up, named anew and deleted is told of each time")
    func links() throws {
        let stage = try Stage()
        defer { stage.end() }

        try stage.host.ip("link add one type veth peer name two")
        #expect(eventually { stage.link("one") != nil })
        let made = try #require(stage.link("one"))
        #expect(made.interface.kind == "veth" && !made.isEnabled && !made.isUsable)
        #expect(made.hardwareAddress.count == 6 && made.hasNeighbours && !made.isLoopback)
        try stage.host.ip("link set two up")
        try stage.host.ip("link set one up")
        #expect(eventually { stage.link("one")?.isUsable == true })
        try stage.host.ip("link set two down")
        #expect(eventually { stage.link("one").map { $0.isEnabled && !$0.hasCarrier } == true })
        try stage.host.ip("link set one down")
        try stage.host.ip("link set one name three")
        #expect(eventually { stage.link("three")?.interface.index == made.interface.index })
        try stage.host.ip("link delete three")

        let index = made.interface.index
        #expect(stage.hears { $0 == .linkGone(index: index) })
    }

    @Test("an interface that leaves a bridge is not gone")
    func bridge() throws {
        let stage = try Stage()
        defer { stage.end() }
        try stage.host.ip("link add one type veth peer name two")
        try stage.host.ip("link add hub type bridge")
        try stage.host.ip("link set one master hub")
        try stage.host.ip("link set one nomaster")
        try stage.host.ip("link add last type bridge")

        #expect(eventually { stage.link("last") != nil })
        let index = try #require(stage.link("one")?.interface.index)
        #expect(!stage.thread.sync { $0.events.contains(.linkGone(index: index)) })
    }

    @Test("addresses that come and go are told with prefix, flags and who put them there")
    func addresses() throws {
        let stage = try Stage()
        defer { stage.end() }
        try stage.host.ip("link add one type bridge")
        try stage.host.ip("link set one up")
        try stage.host.ip("address add 10.9.0.1/24 dev one")
        try stage.host.ip("address add fd09::1/64 dev one nodad")
        let four = try #require(SocketAddress(address: "10.9.0.1", port: 0))
        let six = try #require(SocketAddress(address: "fd09::1", port: 0))

        for (address, bits) in [(four, 24), (six, 64)] {
            #expect(
                stage.hears {
                    if case .address(let told) = $0 {
                        told.address == address && told.prefixLength == bits && told.origin == 0
                    } else {
                        false
                    }
                })
        }
        try stage.host.ip("address flush dev one")
        for address in [four, six] {
            #expect(
                stage.hears {
                    if case .addressGone(let told) = $0 { told.address == address } else { false }
                })
        }
    }

    @Test("what the kernel refuses comes with its number, its words and what it was done to")
    func refusal() throws {
        let stage = try Stage()
        defer { stage.end() }
        try inNamespace(stage.host.namespace) {
            let socket = try NetlinkSocket()
            let nowhere = InterfaceAddress(
                index: 4711, address: SocketAddress(ipv4: 0x0A09_0001, port: 0), prefixLength: 24)

            #expect(try !nowhere.remove(socket))
            do throws(SystemError) {
                try nowhere.add(socket)
                Issue.record("an address was put on an interface that does not exist")
            } catch {
                #expect(error.code == ENODEV && error.call == "RTM_NEWADDR")
                #expect(error.subject == "10.9.0.1/24 on interface 4711")
            }
            let wide = InterfaceAddress(
                index: 1, address: SocketAddress(ipv4: 0x0A09_0001, port: 0), prefixLength: 33)
            do throws(SystemError) {
                try wide.add(socket)
                Issue.record("a prefix of 33 bits was taken")
            } catch {
                #expect(error.code == EINVAL && error.hint?.isEmpty == false)
            }
            // The socket is as good as before.
            #expect(try NetworkLink.readAll(socket).map(\.interface.name) == ["lo"])
        }
    }
}

@Suite("Netlink messages") struct NetlinkMessageTests {
    @Test("lengths count what is inside, every attribute begins at a multiple of four")
    func lengths() {
        var message = NetlinkMessage(type: 16, flags: 0x600, fixed: [1, 2, 3, 4])
        message.append(3, "abc")
        message.nest(18) {
            $0.append(1, "macvlan")
            $0.nest(2) { $0.append(1, 1 as UInt32) }
        }
        message.append(9, [7])
        message.sequence = 77

        var seen: [(UInt16, Int)] = []
        var inner: [UInt16] = []
        NetlinkReader.forEachMessage(message.bytes.span) { header, body in
            #expect(header.type == 16 && header.flags == 0x601 && header.sequence == 77)
            NetlinkReader.forEachAttribute(body.extracting(4...)) { type, value in
                seen.append((type, value.count))
                guard type == 18 else { return }
                NetlinkReader.forEachAttribute(value) { type, _ in inner.append(type) }
            }
            return true
        }
        #expect(seen.map(\.0) == [3, 18, 9] && seen.map(\.1) == [4, 24, 1])
        #expect(inner == [1, 2])
        #expect(message.bytes.count % 4 == 0)
    }

    @Test("an answer's code and words are read; a damaged one is a refusal")
    func verdict() {
        func words(_ code: Int32, _ text: String?) -> [UInt8] {
            var bytes = withUnsafeBytes(of: -code) { Array($0) }
            bytes += [UInt8](repeating: 0, count: 16)
            if let text {
                bytes += withUnsafeBytes(of: UInt16(5 + text.utf8.count)) { Array($0) } + [1, 0]
                bytes += Array(text.utf8) + [0]
            }
            return bytes
        }

        #expect(NetlinkReader.verdict(words(0, nil).span) == (0, nil))
        #expect(NetlinkReader.verdict(words(EPERM, "no way").span) == (EPERM, "no way"))
        #expect(NetlinkReader.verdict([1, 2].span).code == EINVAL)
        for count in 0..<30 {
            _ = NetlinkReader.verdict(Array(words(EPERM, "no way").prefix(count)).span)
        }
    }

    @Test("damaged events are told of as far as they make sense, or not at all")
    func damage() {
        var random = SeededRandom(seed: 8)
        let whole = InterfaceAddressBytes.message
        for type in [UInt16(16), 17, 20, 21, 24] {
            for count in 0...whole.count {
                _ = NetworkEvent(type: type, Array(whole.prefix(count)).span)
            }
            for _ in 0..<2000 {
                var bytes = whole
                for _ in 0..<3 {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] =
                        UInt8.random(in: 0...255, using: &random)
                }
                _ = NetworkEvent(type: type, bytes.span)
            }
        }
        guard case .address(let told)? = NetworkEvent(type: 20, whole.span) else {
            Issue.record("a whole event was not understood")
            return
        }
        #expect(told.address.addressText == "10.77.0.9" && told.origin == AddressPlan.mark)
    }
}

/// An `ifaddrmsg` of 10.77.0.9/24 with our mark.
private enum InterfaceAddressBytes {
    static var message: [UInt8] {
        let index = withUnsafeBytes(of: Int32(2)) { Array($0) }
        return [2, 24, 0x80, 0] + index + [8, 0, 1, 0, 10, 77, 0, 9, 8, 0, 2, 0, 10, 77, 0, 9]
            + [5, 0, 11, 0, AddressPlan.mark, 0, 0, 0]
    }
}
