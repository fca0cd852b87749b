import CEdge
import EdgeCore
import EdgeSystem
import EdgeTesting
import Glibc
import Testing

@Suite("Listening sockets that were kept")
struct StoredListenersTests {
    static let loopback = SocketAddress(ipv4: 0x7F00_0001, port: 0)

    /// What a manager would hand over of a group: descriptors of its own.
    private func copies(_ group: ListenerGroup) -> [InheritedDescriptors.Named] {
        group.sockets.map { .init(descriptor: dup($0), name: group.storeName) }
    }

    private func connects(_ address: SocketAddress) -> Bool {
        guard let client = try? RawClient(address) else { return false }
        client.close()
        return true
    }

    @Test(
        "Sockets of the same address are used again, the missing ones are bound beside them",
        arguments: ListenerGroupTests.loopback)
    func adopt(_ address: SocketAddress) throws {
        var old: ListenerGroup? = try ListenerGroup(address: address, count: 2)
        let bound = try #require(old?.address)
        try old?.listen()
        let stored = StoredListeners(try copies(#require(old)))
        old = nil
        let client = try RawClient(bound.isUnspecified ? .loopback(bound.port) : bound)
        defer { client.close() }

        let group = try ListenerGroup(address: bound, count: 3, stored: stored)

        #expect(group.adoptedCount == 2)
        #expect(group.sockets.count == 3)
        #expect(!group.isListening)
        try group.listen()
        stored.refuseRest()
        #expect(stored.refusals.isEmpty)
        // Who connected in between waits in one of them.
        #expect(group.sockets.filter { UnixSocket.accept($0) != nil }.count == 1)
        #expect(fcntl(group.sockets[0], F_GETFD) & FD_CLOEXEC != 0)
        group.stopListening()
        #expect(!connects(bound.isUnspecified ? .loopback(bound.port) : bound))
    }

    @Test("More sockets than workers are all kept: closing one would reset who waits in it")
    func surplus() throws {
        let old = try ListenerGroup(address: Self.loopback, count: 4)
        try old.listen()

        let group = try ListenerGroup(
            address: old.address, count: 2, stored: StoredListeners(copies(old)))

        #expect(group.sockets.count == 4)
        #expect(group.adoptedCount == 4)
    }

    /// A descriptor that is none of ours.
    struct Forgery: CustomTestStringConvertible, Sendable {
        let fault: StoredListeners.Fault
        let make: @Sendable (SocketAddress) throws -> Int32
        var testDescription: String { fault.rawValue }

        static let all = [
            Forgery(fault: .notASocket) { _ in open("/dev/null", O_RDONLY) },
            Forgery(fault: .notTCP) { try TestSocket.bindDatagram($0) },
            Forgery(fault: .notTCP) { _ in
                let (one, other) = try Descriptor.socketPair()
                close(other)
                return one
            },
            // Connected, to a listener that is not meant.
            Forgery(fault: .notListening) { _ in
                let listener = FileDescriptor(owning: try TestSocket.listen(on: .loopback()))
                let target = try TestSocket.localAddress(of: listener.raw)
                return try TestSocket.startConnect(to: target)
            },
            // Bound to our address, and no more.
            Forgery(fault: .notListening) { try bare($0, shared: true) },
            Forgery(fault: .notShared) { _ in
                try TestSocket.listen(on: SocketAddress(ipv4: 0x7F00_0002, port: 0))
            },
            // 443 of IPv6 alone is not what `::` means.
            Forgery(fault: .otherFamily) { _ in
                let any = SocketAddress(ipv6High: 0, low: 0, port: 0)
                return try bare(any, shared: true, sixOnly: true, listens: true)
            },
            Forgery(fault: .notConfigured) { _ in
                try bare(StoredListenersTests.loopback, shared: true, listens: true)
            },
        ]

        /// A TCP socket with only some of the settings of ours.
        static func bare(
            _ address: SocketAddress, shared: Bool, sixOnly: Bool = false, listens: Bool = false
        ) throws -> Int32 {
            let fd = socket(
                address.isIPv4 ? AF_INET : AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
            var one: Int32 = 1
            if shared { setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, 4) }
            if sixOnly { setsockopt(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, 4) }
            var storage = sockaddr_storage()
            let result = withUnsafeMutablePointer(to: &storage) { pointer in
                address.write(to: pointer)
                return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(fd, $0, socklen_t(address.kernelByteCount))
                }
            }
            guard result == 0, !listens || listen(fd, 8) == 0 else {
                throw KitError.system("bind \(address)")
            }
            return fd
        }
    }

    @Test(
        "What is not a listener of ours is refused and closed, whatever its name says",
        arguments: Forgery.all)
    func forged(_ forgery: Forgery) throws {
        let group = try ListenerGroup(address: Self.loopback, count: 1)
        let fd = try forgery.make(group.address)

        let stored = StoredListeners([.init(descriptor: fd, name: group.storeName)])
        let again = try ListenerGroup(address: group.address, count: 1, stored: stored)
        stored.refuseRest()

        #expect(again.adoptedCount == 0)
        #expect(stored.refusals == [.init(name: group.storeName, fault: forgery.fault)])
        // The number may be another test's by now; a listener at the other end tells.
        #expect(stored.count == 0)
    }

    @Test("A socket that comes twice is used once")
    func twice() throws {
        let old = try ListenerGroup(address: Self.loopback, count: 1)
        try old.listen()

        let stored = StoredListeners(copies(old) + copies(old))
        let group = try ListenerGroup(address: old.address, count: 1, stored: stored)

        #expect(group.adoptedCount == 1)
        #expect(stored.refusals.map(\.fault) == [.twice])
    }

    @Test("A socket of another network namespace is refused", .enabled(if: geteuid() == 0))
    func otherNamespace() throws {
        let name = "edged-stored-\(getpid())"
        _ = try RunningProcess.run("ip", ["netns", "add", name])
        defer { _ = try? RunningProcess.run("ip", ["netns", "del", name]) }
        let there = try TestSocket.listen(
            on: SocketAddress(ipv4: 0, port: 443), namespace: name)
        var one: Int32 = 1
        setsockopt(there, SOL_SOCKET, SO_REUSEPORT, &one, 4)

        let stored = StoredListeners([.init(descriptor: there, name: "https")])

        #expect(stored.refusals == [.init(name: "https", fault: .otherNamespace)])
    }

    @Test("What nobody takes refuses its clients at once")
    func abandoned() throws {
        let old = try ListenerGroup(address: Self.loopback, count: 2)
        try old.listen()
        var stored: StoredListeners? = StoredListeners(copies(old))
        #expect(stored?.count == 2)
        #expect(connects(old.address))

        stored = nil

        #expect(!connects(old.address))
    }

    @Test("A group that never listened anew refuses its clients when it goes")
    func neverServed() throws {
        let old = try ListenerGroup(address: Self.loopback, count: 2)
        try old.listen()
        var group: ListenerGroup? = try ListenerGroup(
            address: old.address, count: 2, stored: StoredListeners(copies(old)))
        #expect(group?.adoptedCount == 2)

        group = nil

        #expect(!connects(old.address))
    }

    @Test("Names for the manager have no colon")
    func names() throws {
        let four = try ListenerGroup(address: Self.loopback, count: 1)
        let six = try ListenerGroup(
            address: SocketAddress(ipv6High: 0, low: 1, port: 0), count: 1)

        #expect(four.storeName == "tcp,127.0.0.1,\(four.address.port)")
        #expect(six.storeName == "tcp,__1,\(six.address.port)")
    }

    @Test("The three variables are read as sd_listen_fds(3) says, and only if they are ours")
    func variables() {
        func parse(_ pid: String?, _ count: String?, _ names: String?) -> [String] {
            InheritedDescriptors.parse(processID: pid, count: count, names: names, own: 77)
                .map { "\($0.descriptor) \($0.name)" }
        }

        #expect(parse("77", "2", "a:b") == ["3 a", "4 b"])
        #expect(parse("77", "2", ":b") == ["3 ", "4 b"])
        #expect(parse("77", "2", nil) == ["3 unknown", "4 unknown"])
        #expect(parse("77", "2", "a") == ["3 unknown", "4 unknown"])
        for (pid, count) in [
            ("78", "2"), ("", "2"), (nil, "2"), ("77", nil), ("77", "0"), ("77", "-1"),
            ("77", "99999999999999999999"), ("77", "2 "), ("77", "70000"),
        ] { #expect(parse(pid, count, "a:b") == []) }
    }

    @Test("Descriptors that are given are taken once, and closed for programs we start")
    func taken() async {
        await #expect(processExitsWith: .success) {
            // 3 may be the test library's: it is saved, and not needed any more.
            #expect(dup2(open("/dev/null", O_RDONLY), 3) == 3)
            setenv("LISTEN_PID", "\(getpid())", 1)
            setenv("LISTEN_FDS", "1", 1)
            setenv("LISTEN_FDNAMES", "x", 1)

            let first = InheritedDescriptors.take()

            #expect(first == [.init(descriptor: 3, name: "x")])
            #expect(fcntl(3, F_GETFD) == FD_CLOEXEC)
            #expect(getenv("LISTEN_FDS") == nil && getenv("LISTEN_PID") == nil)
            #expect(InheritedDescriptors.take() == [])
        }
    }
}
