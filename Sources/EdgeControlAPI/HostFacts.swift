internal import Glibc

/// What a host says of itself in /proc; nil: it does not say.
package struct HostFacts: Sendable, Equatable {
    /// `kernel.io_uring_disabled`; kernels before 6.6 have none, and allow it.
    package var ringDisabled: Int64?
    /// `net.ipv4.tcp_migrate_req`.
    package var migratesRequests: Int64?
    /// `net.core.somaxconn`.
    package var acceptQueueMax: Int64?
    /// False: nobody keeps the clock right (TIME_ERROR, adjtimex(2)).
    package var isClockSynchronised: Bool?
    /// Descriptors that the daemon may have open.
    package var descriptorsMax: Int64?

    package init() {}

    /// - Parameters:
    ///   - process: the daemon's; nil: not known.
    ///   - root: where /proc is; another for tests.
    package init(process: Int64?, root: String = "/proc") {
        ringDisabled = Self.number(root + "/sys/kernel/io_uring_disabled")
        migratesRequests = Self.number(root + "/sys/net/ipv4/tcp_migrate_req")
        acceptQueueMax = Self.number(root + "/sys/net/core/somaxconn")
        descriptorsMax = process.flatMap { Self.descriptors(root + "/\($0)/limits") }
        isClockSynchronised = Self.clockState
    }

    /// adjtimex(2) is not in the module Glibc; asked with `modes` 0 it changes nothing, and what it
    /// returns is all that is looked at.
    private static var clockState: Bool? {
        typealias Call = @convention(c) (UnsafeMutableRawPointer) -> Int32
        guard let symbol = dlsym(nil, "adjtimex") else { return nil }
        let call = unsafeBitCast(symbol, to: Call.self)
        // struct timex has 208 bytes.
        var clock = [UInt64](repeating: 0, count: 64)
        let state = clock.withUnsafeMutableBytes { buffer in buffer.baseAddress.map { call($0) } }
        guard let state, state >= 0 else { return nil }
        let timeError: Int32 = 5
        return state != timeError
    }

    private static func number(_ path: String) -> Int64? {
        text(path).flatMap { text in Int64(text.prefix { $0 != "\n" }) }
    }

    /// The soft limit of `Max open files`.
    private static func descriptors(_ path: String) -> Int64? {
        let line = text(path)?.split(separator: "\n").first { $0.hasPrefix("Max open files") }
        return line?.dropFirst(14).split(separator: " ").first.flatMap { Int64($0) }
    }

    private static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

extension HostFacts {
    /// Fewer are not enough for the connections of a busy node.
    private static let descriptorsLeast: Int64 = 8192
    private static let acceptQueueLeast: Int64 = 1024

    /// What they mean for the daemon.
    package var checks: [DoctorCheck] { [ring, clock, migration, acceptQueue, descriptors] }

    private var ring: DoctorCheck {
        switch ringDisabled {
        case nil, 0: DoctorCheck("io_uring", .fine, "allowed")
        case 1:
            DoctorCheck(
                "io_uring", .warning, "only for the group of kernel.io_uring_group",
                remedy: "sysctl kernel.io_uring_disabled=0, or put the proxy's user in the group")
        default:
            DoctorCheck(
                "io_uring", .problem, "switched off: edged does not start again",
                remedy: "sysctl kernel.io_uring_disabled=0")
        }
    }

    private var clock: DoctorCheck {
        switch isClockSynchronised {
        case nil: DoctorCheck("clock", .unknown, "the kernel does not say")
        case true: DoctorCheck("clock", .fine, "synchronised")
        case false:
            DoctorCheck(
                "clock", .warning, "not synchronised: certificates are judged by it",
                remedy: "start chrony or systemd-timesyncd")
        }
    }

    private var migration: DoctorCheck {
        switch migratesRequests {
        case nil: DoctorCheck("tcp_migrate_req", .unknown, "the kernel has none")
        case 0:
            DoctorCheck(
                "tcp_migrate_req", .warning,
                "off: connections that wait at a listener which closes are reset",
                remedy: "sysctl net.ipv4.tcp_migrate_req=1 (deploy/edged.sysctl)")
        default: DoctorCheck("tcp_migrate_req", .fine, "on")
        }
    }

    private var acceptQueue: DoctorCheck {
        guard let queue = acceptQueueMax else {
            return DoctorCheck("somaxconn", .unknown, "the kernel does not say")
        }
        guard queue >= Self.acceptQueueLeast else {
            return DoctorCheck(
                "somaxconn", .warning, "\(queue) connections may wait to be accepted",
                remedy: "sysctl net.core.somaxconn=4096 (deploy/edged.sysctl)")
        }
        return DoctorCheck("somaxconn", .fine, "\(queue) connections may wait to be accepted")
    }

    private var descriptors: DoctorCheck {
        guard let limit = descriptorsMax else {
            return DoctorCheck(
                "descriptors", .unknown, "the daemon's limit cannot be read",
                remedy: "ask as root or as the daemon's user")
        }
        guard limit >= Self.descriptorsLeast else {
            return DoctorCheck(
                "descriptors", .warning, "\(limit) allowed: two are needed per connection",
                remedy: "LimitNOFILE= in the unit, or ulimit -n")
        }
        return DoctorCheck("descriptors", .fine, "\(limit) allowed")
    }
}
