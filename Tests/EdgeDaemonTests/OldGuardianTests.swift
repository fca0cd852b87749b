import CEdge
import EdgeConfig
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

/// The proxy of this program under a guardian of another one: what is said is written here as
/// bytes, as version 1 of the protocol has it, and made by nothing that may change with it.
@Suite("A proxy under an older guardian") struct OldGuardianTests {
    private static func message(_ kind: UInt16, _ fields: UInt64...) -> [UInt8] {
        var bytes: [UInt8] = [1, 0, UInt8(kind & 0xFF), UInt8(kind >> 8), 0, 0, 0, 0]
        for index in 0..<7 {
            let field = index < fields.count ? fields[index] : 0
            bytes += (0..<8).map { UInt8(truncatingIfNeeded: field >> (8 * UInt64($0))) }
        }
        return bytes
    }

    /// What the proxy says next: the message's kind; nil: nothing in 10 s, or its end.
    private static func next(_ channel: Int32) throws -> UInt16? {
        var waiting = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, 10_000) == 1,
            case .message(let bytes, _) = try DescriptorPassing.receive(
                channel, byteCountMax: 64)
        else { return nil }
        guard bytes.count == 64, bytes[0] == 1, bytes[1] == 0 else { return nil }
        return UInt16(bytes[2]) | UInt16(bytes[3]) << 8
    }

    @Test("Version 1 of the protocol, byte by byte: it serves, stops and ends")
    func versionOne() throws {
        let folder = try TemporaryDirectory("old-guardian")
        let path = try folder.write(
            "edged.yaml",
            """
            version: 1
            workers: 1
            listeners: [{ name: web, address: 127.0.0.1, port: 80, protocol: http }]
            sites: [{ hosts: app.test, redirect: { to: "https://elsewhere.test/" } }]
            """)
        let configuration = try Configuration.read(path: path).bundle.sealed()
        let board = try MemoryFile.make(
            name: "board", byteCount: SharedBoard.byteCount(workers: 1))
        _ = try SharedBoard(descriptor: board.raw, workers: 1, create: true)
        let tickets = try MemoryFile.make(name: "tickets", byteCount: TicketMemory.byteCount)
        let group = try ListenerGroup(address: .loopback(0), count: 1)
        let (ours, theirs) = try Descriptor.socketPair()
        let ends = OwnedDescriptors([ours, theirs, configuration])
        let pid = try Self.spawn(theirs)
        defer {
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }

        func send(_ bytes: [UInt8], _ descriptors: [Int32] = []) throws {
            #expect(
                try DescriptorPassing.send(ours, bytes: bytes, descriptors: descriptors) == .sent)
        }
        try send(Self.message(1, 1, 1, 1, 0), [configuration, board.raw, tickets.raw])
        try send(Self.message(2, 0, 0, 0, 1), group.sockets)
        try send(Self.message(3))
        #expect(try Self.next(ours) == 65, "prepared")
        try group.listen()
        try send(Self.message(4))
        #expect(try Self.next(ours) == 66, "serving")

        let client = try RawClient(group.address)
        #expect(try client.get("/", host: "app.test").status == 302)
        client.close()

        try send(Self.message(9, 2000))
        #expect(try Self.next(ours) == 71, "drained")
        #expect(try Self.next(ours) == 72, "finished")
        _ = ends
    }

    private static func spawn(_ channel: Int32) throws -> pid_t {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let own = String(
            decoding: buffer.prefix(max(count, 0)).map(UInt8.init(bitPattern:)), as: UTF8.self)
        let candidates = [CommandLine.arguments[0], own].map {
            ($0 as NSString).deletingLastPathComponent + "/edged"
        }
        let found = candidates.first { access($0, X_OK) == 0 }
        let path = try #require(found)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, channel, 3)
        let words = [strdup("edged"), strdup("--proxy"), nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, path, &actions, nil, words, environ)
        guard code == 0 else { throw SystemError("posix_spawn", code: code, subject: path) }
        return pid
    }
}
