internal import Foundation
internal import Testing

/// What `deploy/` has for systemd, judged by systemd's own tools.
@Suite("Deployment", .serialized) struct DeploymentTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("deploy")
        .path

    private static func run(_ command: String) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", command + " 2>&1"]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    /// A folder of our own, removed afterwards.
    private static func withFolder(_ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "edged-deploy-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body(path)
    }

    private static func unit() throws -> String {
        try String(contentsOfFile: folder + "/edged.service", encoding: .utf8)
    }

    private static func values(_ key: String) throws -> [String] {
        try unit().components(separatedBy: "\n").filter { $0.hasPrefix(key + "=") }
            .flatMap { $0.dropFirst(key.count + 1).split(separator: " ") }.map { String($0) }
    }

    @Test("The unit has no key that systemd does not know")
    func verify() throws {
        try Self.withFolder { folder in
            // The programs and pages that it names are not installed here.
            let text = try Self.unit()
                .replacingOccurrences(of: "/usr/local/sbin/edged", with: "/bin/true")
                .replacingOccurrences(of: "/usr/local/bin/edgectl", with: "/bin/true")
                .components(separatedBy: "\n").filter { !$0.hasPrefix("Documentation=") }
                .joined(separator: "\n")
            try text.write(
                toFile: folder + "/edged.service", atomically: true, encoding: .utf8)

            let (status, output) = try Self.run("systemd-analyze verify \(folder)/edged.service")

            #expect(status == 0 && output.isEmpty, "\(output)")
        }
    }

    @Test("The unit's exposure is at most 3.6 of 10")
    func security() throws {
        let (status, output) = try Self.run(
            "systemd-analyze security --offline=yes --threshold=36 --no-pager "
                + Self.folder + "/edged.service")

        let last = output.split(separator: "\n").last ?? ""
        #expect(status == 0, "\(last)")
        #expect(last.contains("exposure level"))
    }

    /// Found with strace: a start, TLS requests, reloads, a killed proxy, rotation, a stop; and the
    /// calls that watch folders, and ask whether the clock is right.
    static let calls = [
        "accept4", "access", "arch_prctl", "bind", "brk", "capget", "capset", "clone3", "close",
        "close_range", "connect", "dup2", "epoll_create1", "epoll_ctl", "epoll_pwait2",
        "eventfd2", "execve", "exit", "exit_group", "fcntl", "fstatfs", "fsync", "ftruncate",
        "inotify_init1", "inotify_add_watch",
        "futex", "getdents64", "geteuid", "getpeername", "getpid", "getpriority", "getrandom",
        "getsockname",
        "getsockopt", "gettid", "io_uring_enter", "io_uring_register", "io_uring_setup", "ioctl",
        "listen", "lseek", "madvise", "memfd_create", "mkdir", "mlockall", "mmap",
        "mprotect", "munmap",
        "newfstatat", "openat", "pidfd_open", "prctl", "pread64", "prlimit64", "read", "readlink",
        "recvfrom", "recvmsg", "rename", "rseq", "rt_sigaction", "rt_sigprocmask",
        "sched_getaffinity", "sched_setscheduler", "sendmsg", "sendto", "set_robust_list",
        "set_tid_address",
        "setgroups", "setpgid", "setpriority", "setresgid", "setresuid", "setsockopt", "shutdown",
        "sigaltstack",
        "signalfd4", "socket", "socketpair", "sysinfo", "umask", "unlink", "wait4", "write",
        "clock_adjtime",
    ]

    @Test("Every call that edged makes is allowed by the unit")
    func filter() throws {
        let filter = try Self.values("SystemCallFilter")
        #expect(filter.allSatisfy { !$0.hasPrefix("~") })
        let sets = filter.filter { $0.hasPrefix("@") }
        var allowed = Set(filter).subtracting(sets)
        var left = sets
        var seen: Set<String> = []
        while let set = left.popLast() {
            guard seen.insert(set).inserted else { continue }
            let (status, output) = try Self.run("systemd-analyze syscall-filter \(set)")
            #expect(status == 0, "\(output)")
            for line in output.split(separator: "\n").dropFirst() {
                let word = line.trimmingCharacters(in: .whitespaces)
                if word.hasPrefix("@") { left.append(word) } else { allowed.insert(word) }
            }
        }

        #expect(Self.calls.filter { !allowed.contains($0) } == [])
        #expect(!allowed.contains("mount") && !allowed.contains("ptrace"))
        for call in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
            #expect(filter.contains(call), "\(call) has to be named")
        }
    }

    @Test("Users and folders are made as the unit and the configuration need them")
    func accounts() throws {
        try Self.withFolder { root in
            for (kind, name) in [("sysusers", "sysusers.d"), ("tmpfiles", "tmpfiles.d")] {
                try FileManager.default.createDirectory(
                    atPath: "\(root)/usr/lib/\(name)", withIntermediateDirectories: true)
                try FileManager.default.copyItem(
                    atPath: "\(Self.folder)/edged.\(kind)",
                    toPath: "\(root)/usr/lib/\(name)/edged.conf")
            }
            try FileManager.default.createDirectory(
                atPath: root + "/etc", withIntermediateDirectories: true)

            let (made, users) = try Self.run("systemd-sysusers --root=\(root) edged.conf")
            #expect(made == 0, "\(users)")
            let accounts = try String(contentsOfFile: root + "/etc/passwd", encoding: .utf8)
            let groups = try String(contentsOfFile: root + "/etc/group", encoding: .utf8)
            #expect(accounts.contains("edged:x:") && accounts.contains("/usr/sbin/nologin"))
            #expect(groups.contains("edged-admin:x:"))
            // `adm` is the distribution's.
            try (groups + "adm:x:4:\n").write(
                toFile: root + "/etc/group", atomically: true, encoding: .utf8)
            let (laid, folders) = try Self.run(
                "systemd-tmpfiles --root=\(root) --create edged.conf")
            #expect(laid == 0, "\(folders)")
            for (path, mode) in [
                ("etc/edged/certs", "750"), ("var/lib/edged", "750"), ("var/log/edged", "750"),
            ] {
                #expect(try Self.run("stat -c %a \(root)/\(path)").output == mode + "\n")
            }
        }
        let writable = try Self.values("ReadWritePaths")
        #expect(writable == ["-/var/log/edged", "-/var/lib/edged"])
    }

    @Test("The log's rotation and the kernel's settings are read by their programs")
    func others() throws {
        let settings = try String(contentsOfFile: Self.folder + "/edged.sysctl", encoding: .utf8)
        let lines = settings.components(separatedBy: "\n").filter {
            !$0.isEmpty && !$0.hasPrefix("#")
        }
        #expect(lines.count >= 3)
        for line in lines {
            let words = line.components(separatedBy: " = ")
            // Behind a dash: not every kernel has it.
            #expect(words.count == 2, "\(line)")
            guard !line.hasPrefix("-") else { continue }
            let path = words[0].replacingOccurrences(of: ".", with: "/")
            #expect(FileManager.default.fileExists(atPath: "/proc/sys/" + path), "\(line)")
        }
        let rotation = try String(contentsOfFile: Self.folder + "/edged.logrotate", encoding: .utf8)
        #expect(rotation.contains("--signal=USR1") && rotation.contains("nocreate"))
    }

    @Test("edged(8) has every option, signal and exit code that edged --help has")
    func manual() throws {
        let root = Self.folder + "/.."
        let source = try String(
            contentsOfFile: root + "/Sources/EdgeDaemon/EdgedCommand.swift", encoding: .utf8)
        let usage = source.components(separatedBy: "usage = \"\"\"").dropFirst().first?
            .components(separatedBy: "\"\"\"").first
        let page = try String(contentsOfFile: Self.folder + "/man/edged.8", encoding: .utf8)
            .replacingOccurrences(of: "\\-", with: "-")

        let help = try #require(usage)
        let words = help.split { !$0.isLetter && !$0.isNumber && $0 != "-" }.map { String($0) }
        let options = Set(words.filter { $0.hasPrefix("-") && $0.count > 1 })
        #expect(options.count > 8)
        for option in options { #expect(page.contains(option), "\(option)") }
        let signals = ["HUP", "TERM", "INT", "USR1", "USR2"].filter { words.contains($0) }
        for name in signals { #expect(page.contains(".B \(name)\n"), "\(name)") }
        let codes =
            help.components(separatedBy: "exit codes:").last?
            .split { !$0.isNumber }.map { String($0) } ?? []
        #expect(codes.count >= 6)
        for code in codes { #expect(page.contains(".B \(code)\n"), "\(code)") }
    }
}
