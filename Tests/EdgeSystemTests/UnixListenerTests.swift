import CEdge
import EdgeCore
import EdgeSystem
import Glibc
import Testing

@Suite("Unix listener")
struct UnixListenerTests {
    /// A fresh folder; the tests leave it to /tmp.
    let folder: String

    init() throws {
        var template = Array("/tmp/edged-test-XXXXXX".utf8CString)
        folder = String(cString: try #require(mkdtemp(&template)))
    }

    private func connect(_ path: String) -> OwnedDescriptors? {
        let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return result == 0 ? OwnedDescriptors([fd]) : nil
    }

    @Test("A missing folder is made, the file is 0660 and goes with the listener")
    func lifeCycle() throws {
        let path = folder + "/run/admin.sock"
        var listener: UnixListener? = try UnixListener(path: path, group: nil)
        var status = stat()

        #expect(lstat(path, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o660)
        let none = listener?.accept()?.release()
        #expect(none == nil)
        let client = try #require(connect(path))
        let accepted = listener?.accept()?.release()
        let server = OwnedDescriptors([try #require(accepted)])
        let peer = try UnixSocket.peer(server.borrowed[0])
        #expect(peer.processID == getpid())
        #expect(peer.userID == getuid())
        #expect(peer.groupID == getgid())
        #expect(client.count == 1)

        listener = nil
        #expect(lstat(path, &status) == -1)
    }

    @Test("A socket that somebody answers on is left alone; a left-over one is replaced")
    func stale() throws {
        let path = folder + "/admin.sock"
        let first = try UnixListener(path: path, group: nil)

        let error = #expect(throws: SystemError.self) {
            _ = try UnixListener(path: path, group: nil)
        }
        #expect(error?.code == EADDRINUSE)

        shutdown(first.socket, Int32(SHUT_RDWR))
        _ = try UnixListener(path: path, group: nil)
    }

    @Test("Something else at the path is never removed")
    func notASocket() throws {
        let path = folder + "/admin.sock"
        close(open(path, O_CREAT | O_WRONLY, 0o600))

        let error = #expect(throws: SystemError.self) {
            _ = try UnixListener(path: path, group: nil)
        }

        #expect(error?.code == EEXIST)
        #expect(access(path, F_OK) == 0)
    }

    @Test("An unknown group and a path too long are refused with a hint")
    func refusals() {
        let unknown = #expect(throws: SystemError.self) {
            _ = try UnixListener(path: folder + "/a.sock", group: "no-such-group")
        }
        #expect(unknown?.hint?.contains("groupadd") == true)

        let long = #expect(throws: SystemError.self) {
            _ = try UnixListener(
                path: folder + "/" + String(repeating: "x", count: 100), group: nil)
        }
        #expect(long?.code == ENAMETOOLONG)
    }

    @Test("systemd is told at a path and never waited for")
    func serviceNotify() throws {
        let path = folder + "/notify.sock"
        let receiver = FileDescriptor(owning: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(receiver.raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        let notify = try #require(ServiceNotify(path: path, watchdog: .seconds(10)))
        func next() -> String {
            var bytes = [UInt8](repeating: 0, count: 256)
            let count = recv(receiver.raw, &bytes, bytes.count, Int32(MSG_DONTWAIT))
            return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        }

        notify.ready(status: "serving\nREADY=0")
        #expect(next() == "READY=1\nSTATUS=serving READY=0")
        notify.reloading()
        #expect(next().hasPrefix("RELOADING=1\nMONOTONIC_USEC="))
        notify.stopping(status: "draining")
        #expect(next() == "STOPPING=1\nSTATUS=draining")
        for _ in 0..<10_000 { notify.watchdog() }
        #expect(next() == "WATCHDOG=1")
        #expect(notify.watchdogInterval == .seconds(5))
        #expect(ServiceNotify(path: "relative", watchdog: nil) == nil)
    }

    @Test("A board keeps its numbers over a second mapping and refuses another layout")
    func board() throws {
        let file = try MemoryFile.make(
            name: "board", byteCount: SharedBoard.byteCount(workers: 2))
        let mine = try SharedBoard(descriptor: file.raw, workers: 2, create: true)
        mine.block(1).add(.requests, 3)
        mine.appendLog("a line")

        let theirs = try SharedBoard(descriptor: file.raw, workers: 2, create: false)

        #expect(theirs.block(1).value(.requests) == 3)
        #expect(theirs.lastLogLines(5) == ["a line"])
        #expect(throws: SharedBoard.Failure.wrongLayout) {
            _ = try SharedBoard(descriptor: file.raw, workers: 1, create: false)
        }
        #expect(ftruncate(file.raw, 0) == -1)
    }
}
