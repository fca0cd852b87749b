internal import CEdge
internal import EdgeCore
internal import Glibc

/// Tells systemd how the service is (sd_notify(3)). Without NOTIFY_SOCKET every call does nothing.
/// Sending never waits and failing is not an error: the service matters more than its supervisor.
package final class ServiceNotify {
    private let socket: Int32
    private let path: String
    /// How often `watchdog` must be called at least; nil: systemd does not watch.
    package let watchdogInterval: Duration?
    /// How many descriptors the manager keeps for us over a restart. FDSTORE says it: systemd sets
    /// it from 254 on, for older ones the unit file does (FileDescriptorStoreMax=). 0: none.
    package let storeMax: Int

    /// Nil if nobody is to be told.
    package convenience init?() {
        guard let path = getenv("NOTIFY_SOCKET").map({ String(cString: $0) }) else { return nil }
        let watched = getenv("WATCHDOG_PID").map { Int32(String(cString: $0)) == getpid() } ?? true
        let microseconds = getenv("WATCHDOG_USEC").flatMap { UInt64(String(cString: $0)) }
        self.init(
            path: path,
            watchdog: watched ? microseconds.map { .init(nanoseconds: $0 &* 1000) } : nil,
            storeMax: getenv("FDSTORE").flatMap { Int(String(cString: $0)) } ?? 0)
    }

    /// - Parameter path: absolute, or `@name` in the abstract namespace; else nil.
    package init?(path: String, watchdog: Duration?, storeMax: Int = 0) {
        guard path.hasPrefix("/") || path.hasPrefix("@"), path.utf8.count < 108 else { return nil }
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        socket = Glibc.socket(AF_UNIX, kind, 0)
        guard socket >= 0 else { return nil }
        self.path = path
        // Half of what is asked for, so that one late turn does not kill the service.
        watchdogInterval = watchdog.map { $0 / 2 }
        self.storeMax = max(storeMax, 0)
    }

    deinit { Glibc.close(socket) }

    package func ready(status: String) { send("READY=1\nSTATUS=\(singleLine(status))") }

    /// A reload begins; `ready` ends it.
    package func reloading() {
        send("RELOADING=1\nMONOTONIC_USEC=\(Instant.now().nanoseconds / 1000)")
    }

    package func stopping(status: String) { send("STOPPING=1\nSTATUS=\(singleLine(status))") }
    package func status(_ text: String) { send("STATUS=\(singleLine(text))") }
    package func watchdog() { send("WATCHDOG=1") }

    // MARK: - Descriptors kept over a restart

    /// Gives the manager descriptors to keep, and to give back at the next start. It keeps each
    /// file once, however often it is given, and forgets a socket that has been shut by itself.
    ///
    /// - Parameters:
    ///   - descriptors: at most `DescriptorPassing.descriptorsMax`; they stay the caller's.
    ///   - name: printable ASCII without a colon.
    /// - Returns: `.wouldBlock` if the manager has not read what it was sent before; `.closed` if
    ///   it cannot be reached.
    package func store(_ descriptors: [Int32], name: String) -> DescriptorPassing.Sent {
        do throws(SystemError) {
            return try DescriptorPassing.send(
                socket, bytes: Array("FDSTORE=1\nFDNAME=\(name)".utf8),
                descriptors: descriptors, to: path)
        } catch {
            // Nobody lives there any more, or it is not for us to write to.
            return .closed
        }
    }

    /// Everything the manager keeps under this name is closed.
    package func forget(_ name: String) {
        guard name.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else { return }
        send("FDSTOREREMOVE=1\nFDNAME=\(name)")
    }

    private func singleLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }

    private func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = UnixSocket.withAddress(path) {
            sendto(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT), $0, $1)
        }
    }
}
