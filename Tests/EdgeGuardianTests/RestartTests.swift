import CEdge
import EdgeCore
import EdgeGuardian
import EdgeSystem
import Glibc
import Testing

/// The manager's half of a notify socket: keeps what it is given until it is asked for it.
final class KeepingManager {
    let folder: String
    let notify: ServiceNotify
    private let receiver: FileDescriptor
    private var kept: [InheritedDescriptors.Named] = []
    private(set) var removed: [String] = []

    init(storeMax: Int = 16) throws {
        var template = Array("/tmp/edged-test-XXXXXX".utf8CString)
        folder = String(cString: try #require(mkdtemp(&template)))
        let path = folder + "/notify"
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let fd = socket(AF_UNIX, kind, 0)
        receiver = FileDescriptor(owning: fd)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
        notify = try #require(ServiceNotify(path: path, watchdog: nil, storeMax: storeMax))
    }

    deinit { for item in kept { close(item.descriptor) } }

    /// Reads what it was sent; how many descriptors it keeps then.
    func read() throws -> Int {
        while case .message(let bytes, let descriptors) = try DescriptorPassing.receive(
            receiver.raw, byteCountMax: 512)
        {
            let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            let name = lines.first { $0.hasPrefix("FDNAME=") }.map { String($0.dropFirst(7)) } ?? ""
            if lines.contains("FDSTORE=1") {
                kept += descriptors.take().map { .init(descriptor: $0, name: name) }
            }
            if lines.contains("FDSTOREREMOVE=1") {
                removed.append(name)
                for item in kept where item.name == name { close(item.descriptor) }
                kept.removeAll { $0.name == name }
            }
        }
        return kept.count
    }

    /// What the next guardian is started with; a copy of its own.
    func given() -> StoredListeners {
        StoredListeners(kept.map { .init(descriptor: dup($0.descriptor), name: $0.name) })
    }
}

@Suite("Guardian whose sockets are kept", .serialized)
struct RestartTests {
    /// Serves, and has given its sockets to the manager.
    private func served(
        _ manager: KeepingManager, mode: String = "good", _ address: SocketAddress? = nil,
        workers: Int = 2
    ) throws -> GuardianRig {
        let rig = try GuardianRig(
            mode: mode, address: address ?? SocketAddress(ipv4: 0x7F00_0001, port: 0),
            workers: workers, stored: manager.given(), manager: manager.notify)
        #expect(rig.turn { rig.isServing })
        return rig
    }

    private func end(_ rig: GuardianRig) {
        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })
    }

    @Test("Who connects while no guardian runs is served by the next one's proxy")
    func restart() throws {
        let manager = try KeepingManager()
        var rig: GuardianRig? = try served(manager)
        let first = try #require(rig)
        #expect(try manager.read() == 2)
        let address = first.address

        end(first)
        rig = nil
        let clients = (0..<20).map { _ in first.connect() }
        #expect(clients.allSatisfy { $0 >= 0 })
        let next = try served(manager, address)

        let answers = clients.map { next.answer($0) }
        #expect(answers.allSatisfy { $0 == next.service.proxyProcessID })
        #expect(next.service.property.groups[0].adoptedCount == 2)
        #expect(manager.removed.isEmpty)
        end(next)
        #expect(next.connect() >= 0)
    }

    @Test("Without a manager that keeps sockets, or with a small one, clients are refused")
    func notKept() throws {
        for storeMax in [0, 1] {
            let manager = try KeepingManager(storeMax: storeMax)
            let rig = try served(manager)
            #expect(try manager.read() == 0)

            end(rig)

            #expect(rig.connect() == -ECONNREFUSED)
            let log = rig.service.property.board.lastLogLines(100)
            #expect(log.contains { $0.contains("FileDescriptorStoreMax") } == (storeMax > 0))
        }
    }

    @Test("More workers get sockets of their own, fewer serve those that are there")
    func workers() throws {
        let manager = try KeepingManager()
        let two = try served(manager)
        end(two)
        #expect(try manager.read() == 2)

        let three = try served(manager, two.address, workers: 3)
        #expect(three.service.property.groups[0].sockets.count == 3)
        end(three)
        // The manager has two of them twice; systemd would not.
        #expect(try manager.read() == 5)
        let one = try served(manager, two.address, workers: 1)

        #expect(one.service.property.groups[0].sockets.count == 3)
        let answers = (0..<30).map { _ in one.answer(one.connect()) }
        #expect(answers.allSatisfy { $0 == one.service.proxyProcessID })
    }

    @Test("A proxy that cannot start lets clients go, and the manager its sockets")
    func givesUp() throws {
        let manager = try KeepingManager()
        let first = try served(manager)
        #expect(try manager.read() == 2)
        end(first)

        let next = try GuardianRig(
            mode: "fail", address: first.address, stored: manager.given(),
            manager: manager.notify)
        #expect(next.connect() >= 0)
        #expect(next.turn { next.service.exitCode != nil })

        #expect(next.service.exitCode == 78)
        #expect(next.connect() == -ECONNREFUSED)
        #expect(try manager.read() == 0)
    }

    @Test("A configuration that is refused lets clients go at once")
    func refusedConfiguration() throws {
        let manager = try KeepingManager()
        let first = try served(manager)
        #expect(try manager.read() == 2)
        end(first)
        #expect(first.connect() >= 0)

        first.source.refusal = ConfigurationRefusal(["edged.yaml:1:1: empty"])
        let guardian = Guardian(
            options: GuardianOptions(configPath: "edged.yaml", takesSignals: false),
            source: first.source)
        #expect(throws: Guardian.StartFailure.self) {
            _ = try guardian.start(stored: manager.given(), manager: manager.notify)
        }

        #expect(first.connect() == -ECONNREFUSED)
    }

    @Test("Sockets of an address that is not configured any more end, and the log says so")
    func otherAddress() throws {
        let manager = try KeepingManager()
        let first = try served(manager)
        #expect(try manager.read() == 2)
        end(first)

        let next = try served(manager)

        #expect(first.connect() == -ECONNREFUSED)
        #expect(next.service.property.groups[0].adoptedCount == 0)
        #expect(try manager.read() == 2)
        let name = first.service.property.groups[0].storeName
        #expect(manager.removed == [name])
        let log = next.service.property.board.lastLogLines(100)
        #expect(log.contains { $0.contains("\(name): no listener has its address") })
    }

    @Test("A manager that is busy gets the sockets later")
    func busy() throws {
        let manager = try KeepingManager()
        for _ in 0..<10_000 { manager.notify.watchdog() }
        let rig = try served(manager)
        #expect(try manager.read() == 0)

        #expect(try rig.turn { try manager.read() == 2 })

        end(rig)
        #expect(rig.connect() >= 0)
    }
}
