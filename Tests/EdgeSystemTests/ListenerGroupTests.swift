import CEdge
import EdgeCore
import EdgeSystem
import Glibc
import Testing

@Suite("Listener group")
struct ListenerGroupTests {
    static let loopback = [
        SocketAddress(ipv4: 0x7F00_0001, port: 0),
        SocketAddress(ipv6High: 0, low: 1, port: 0),
        SocketAddress(ipv6High: 0, low: 0, port: 0),
    ]

    /// A blocking connect: 0 or the errno, and the socket, closed with its owner.
    private func connect(_ group: ListenerGroup) -> (Int32, OwnedDescriptors) {
        var target = group.address
        if target.high == 0, target.low == 0 { target.low = 1 }
        let fd = socket(target.isIPv4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        var storage = sockaddr_storage()
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            target.write(to: pointer)
            return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(target.kernelByteCount))
            }
        }
        return (result == 0 ? 0 : errno, OwnedDescriptors([fd]))
    }

    @Test("Bound refuses, listening accepts, stopped refuses, and so on again", arguments: loopback)
    func stopAndListenAgain(_ address: SocketAddress) throws {
        let group = try ListenerGroup(address: address, count: 4)
        #expect(group.address.port != 0)
        #expect(connect(group).0 == ECONNREFUSED)

        for _ in 0..<5 {
            try group.listen()
            for _ in 0..<16 { #expect(connect(group).0 == 0) }
            group.stopListening()
            for _ in 0..<16 { #expect(connect(group).0 == ECONNREFUSED) }
        }
    }

    @Test(
        "A closed door lets nobody begin; what is queued stays, and the address has another beside it",
        arguments: loopback)
    func door(_ address: SocketAddress) throws {
        let group = try ListenerGroup(address: address, count: 2)
        try group.listen()
        let queued = (0..<8).map { _ in connect(group) }
        #expect(queued.allSatisfy { $0.0 == 0 })

        try group.closeDoor()
        var target = group.address
        if target.high == 0, target.low == 0 { target.low = 1 }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let late = OwnedDescriptors([socket(target.isIPv4 ? AF_INET : AF_INET6, kind, 0)])
        var storage = sockaddr_storage()
        withUnsafeMutablePointer(to: &storage) { pointer in
            target.write(to: pointer)
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = Glibc.connect(late.borrowed[0], $0, socklen_t(target.kernelByteCount))
            }
        }
        var waiting = pollfd(fd: late.borrowed[0], events: Int16(POLLOUT), revents: 0)
        #expect(poll(&waiting, 1, 100) == 0, "neither accepted nor refused")
        var taken = 0
        for socket in group.sockets { while UnixSocket.accept(socket) != nil { taken += 1 } }
        #expect(taken == 8)

        let other = try ListenerGroup(address: group.address, count: 2)
        try other.listen()
        group.stopListening()
        for _ in 0..<8 { #expect(connect(other).0 == 0) }
    }

    @Test("A door that was closed lets everybody in again when it is opened")
    func openDoor() throws {
        let group = try ListenerGroup(
            address: SocketAddress(ipv4: 0x7F00_0001, port: 0), count: 2)
        try group.listen()

        try group.closeDoor()
        group.openDoor()
        // Once more: there is nothing to take off.
        group.openDoor()

        for _ in 0..<8 { #expect(connect(group).0 == 0) }
    }

    @Test("An address that the machine does not have can be listened on, if it may come")
    func absent() throws {
        for text in ["192.0.2.13", "2001:db8::13"] {
            let address = try #require(SocketAddress(address: text, port: 0))

            let group = try ListenerGroup(address: address, count: 2, isAbsent: true)
            try group.listen()

            #expect(group.address.addressText == text && group.address.port != 0)
            #expect(throws: SystemError.self) { try ListenerGroup(address: address, count: 1) }
        }
    }

    @Test("Every socket of a group gets connections, also after a stop")
    func allShare() throws {
        let group = try ListenerGroup(address: Self.loopback[0], count: 4)
        try group.listen()
        group.stopListening()
        try group.listen()

        let clients = (0..<200).map { _ in connect(group).1 }

        let shares = group.sockets.map { socket in
            var count = 0
            while UnixSocket.accept(socket) != nil { count += 1 }
            return count
        }
        #expect(shares.reduce(0, +) == clients.count)
        #expect(shares.allSatisfy { $0 > 10 })
    }

    @Test("What waits in the backlog when listening stops is reset")
    func backlogReset() throws {
        let group = try ListenerGroup(address: Self.loopback[0], count: 1)
        try group.listen()
        let (result, client) = connect(group)
        #expect(result == 0)

        group.stopListening()

        var byte: UInt8 = 0
        #expect(read(client.borrowed[0], &byte, 1) == -1)
        #expect(errno == ECONNRESET)
    }

    @Test("A stopped group keeps its address from others without SO_REUSEPORT")
    func keepsAddress() throws {
        let group = try ListenerGroup(address: Self.loopback[0], count: 2)
        try group.listen()
        group.stopListening()
        let other = FileDescriptor(owning: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
        var storage = sockaddr_storage()

        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            group.address.write(to: pointer)
            return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(other.raw, $0, socklen_t(group.address.kernelByteCount))
            }
        }

        #expect(result == -1)
        #expect(errno == EADDRINUSE)
    }

    @Test("An address that is not ours is named in the error")
    func notOurs() {
        let address = SocketAddress(ipv4: 0xC000_0201, port: 4443)

        let error = #expect(throws: SystemError.self) {
            _ = try ListenerGroup(address: address, count: 2)
        }

        #expect(error?.code == EADDRNOTAVAIL)
        #expect(error?.description.hasPrefix("bind 192.0.2.1:4443: EADDRNOTAVAIL (") == true)
    }

    @Test("A port somebody else has is refused with a hint")
    func inUse() throws {
        let other = FileDescriptor(owning: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
        listen(other.raw, 1)
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &name) {
            _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(other.raw, $0, &length)
            }
        }
        let address = Self.loopback[0].with(port: UInt16(bigEndian: name.sin_port))

        let error = #expect(throws: SystemError.self) {
            _ = try ListenerGroup(address: address, count: 1)
        }

        #expect(error?.code == EADDRINUSE)
        #expect(error?.hint?.contains("ss -ltnp") == true)
    }
}
