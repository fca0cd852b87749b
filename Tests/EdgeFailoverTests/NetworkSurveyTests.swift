import CEdge
import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Network survey", .serialized) struct NetworkSurveyTests {
    private final class Hand {
        let survey: NetworkSurvey
        var found: [NetworkSurvey.Findings] = []

        init(_ loop: PollLoop) {
            survey = NetworkSurvey(loop: loop)
            survey.handler = { [weak self] in
                if case .success(let found) = $0 { self?.found.append(found) }
            }
        }
    }

    @Test("a list that changed while the kernel made it is made again")
    func interrupted() throws {
        var ends: [Int32] = [0, 0]
        let kind = Int32(SOCK_SEQPACKET.rawValue)
        #expect(socketpair(AF_UNIX, kind, 0, &ends) == 0)
        let kernel = FileDescriptor(owning: ends[1])
        let socket = NetlinkSocket(adopting: FileDescriptor(owning: ends[0]))
        /// The answer to request `sequence`: one address and the end.
        func answer(_ sequence: UInt32, _ last: UInt8, isInterrupted: Bool) {
            let index = withUnsafeBytes(of: Int32(2)) { Array($0) }
            var address = NetlinkMessage(
                type: UInt16(RTM_NEWADDR), flags: isInterrupted ? 0x12 : 0x2,
                fixed: [2, 24, 0, 0] + index)
            address.append(2, [10, 77, 0, last])
            var end = NetlinkMessage(type: UInt16(NLMSG_DONE), flags: 0x2, fixed: [0, 0, 0, 0])
            address.sequence = sequence
            end.sequence = sequence
            let bytes = address.bytes + end.bytes
            #expect(send(kernel.raw, bytes, bytes.count, 0) == bytes.count)
        }
        answer(1, 1, isInterrupted: true)
        answer(2, 2, isInterrupted: false)

        let read = try InterfaceAddress.readAll(socket)

        #expect(read.map(\.address.addressText) == ["10.77.0.2"])
    }

    @Test("a list that the kernel could not finish is an error, not a shorter list")
    func unfinished() throws {
        var ends: [Int32] = [0, 0]
        let kind = Int32(SOCK_SEQPACKET.rawValue)
        #expect(socketpair(AF_UNIX, kind, 0, &ends) == 0)
        let kernel = FileDescriptor(owning: ends[1])
        let socket = NetlinkSocket(adopting: FileDescriptor(owning: ends[0]))
        for (sequence, code) in [(1, ENOMEM), (2, ENODEV)] as [(UInt32, Int32)] {
            var end = NetlinkMessage(
                type: UInt16(NLMSG_DONE), flags: 0x2,
                fixed: withUnsafeBytes(of: -code) { Array($0) })
            end.sequence = sequence
            #expect(send(kernel.raw, end.bytes, end.bytes.count, 0) == end.bytes.count)
        }

        let error = #expect(throws: SystemError.self) { try InterfaceAddress.readAll(socket) }
        #expect(error?.code == ENOMEM)
        // There is no such interface.
        #expect(try InterfaceAddress.readAll(socket, of: 7).isEmpty)
    }

    @Test("a socket for events has room for a storm of them")
    func room() throws {
        let socket = try NetlinkSocket(groups: .links)
        var size: Int32 = 0
        var count = socklen_t(4)

        #expect(getsockopt(socket.descriptor, SOL_SOCKET, SO_RCVBUF, &size, &count) == 0)
        #expect(size >= 4 << 20)
    }

    @Test("fifty that ask at once are one reading, and the next is a while later")
    func coalesced() throws {
        let wire = try Wire()
        defer { wire.network.tearDown() }
        let thread = try LoopThread(in: wire.left.namespace) { Hand($0) }
        defer { thread.stop() }

        let start = ContinuousClock.now
        thread.sync { hand in for _ in 0..<50 { hand.survey.request() } }
        #expect(eventually { thread.sync { $0.found.count } == 1 })
        thread.sync { hand in for _ in 0..<50 { hand.survey.request() } }
        #expect(eventually { thread.sync { $0.found.count } == 2 })

        #expect(ContinuousClock.now - start >= NetworkSurvey.spacing)
        #expect(thread.sync { $0.survey.count } == 2)
        let found = try #require(thread.sync { $0.found.last })
        #expect(found.links[wire.leftIndex]?.interface.name == "eth0")
        #expect(found.addresses.contains { $0.address.addressText == "10.77.0.1" })
    }

    @Test("what is told while it reads is newer than what it reads")
    func newer() throws {
        func link(_ index: Int32, flags: UInt32) -> NetworkLink {
            NetworkLink(
                interface: NetworkInterface(index: index, name: "eth\(index)"), flags: flags,
                hardwareAddress: [])
        }
        func address(_ index: Int32, _ last: UInt32) -> InterfaceAddress {
            InterfaceAddress(
                index: index, address: SocketAddress(ipv4: 0x0A4D_0000 | last, port: 0),
                prefixLength: 24)
        }
        var found = NetworkSurvey.Findings(
            links: [1: link(1, flags: 1), 2: link(2, flags: 1)],
            addresses: [address(1, 1), address(2, 2), address(2, 3)])

        for event in [
            .link(link(1, flags: 0)), .addressGone(address(1, 1)), .address(address(1, 4)),
            .address(address(1, 4)), .linkGone(index: 2), .overflow,
        ] as [NetworkEvent] {
            found.apply(event)
        }

        #expect(found.links == [1: link(1, flags: 0)])
        #expect(found.addresses == [address(1, 4)])
    }
}
