internal import EdgeCore
internal import EdgeNet
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// Descriptors, disks and readers that have run out: each is a defined behaviour, and service
    /// goes on.
    @Suite("Resources at their limits")
    struct Limits {}
}

extension Scenarios.Limits {
    /// A file system of few bytes that only the daemon sees: in a mount namespace of its own.
    private struct SmallDisk {
        let folder: TemporaryDirectory
        let mountPoint: String

        init(kibibytes: Int, options: String = "rw") throws {
            folder = try TemporaryDirectory("disk", othersMayEnter: true)
            mountPoint = try folder.makeDirectory("small", mode: 0o777)
            wrapper = [
                "unshare", "--mount", "--propagation", "private", "sh", "-c",
                "mount -t tmpfs -o size=\(kibibytes)k,mode=777,\(options) tmpfs \(mountPoint)"
                    + " && exec \"$0\" \"$@\"",
            ]
        }

        let wrapper: [String]

        /// A file on it, as everybody else finds it.
        func path(_ name: String, _ edged: Edged) -> String {
            "/proc/\(edged.process.pid)/root\(mountPoint)/\(name)"
        }

        func text(_ name: String, _ edged: Edged) -> String {
            (try? String(contentsOfFile: path(name, edged), encoding: .utf8)) ?? ""
        }

        /// Takes all the room that is left.
        func fill(_ edged: Edged) throws {
            let file = open(path("filler", edged), O_WRONLY | O_CREAT | O_APPEND, 0o600)
            guard file >= 0 else { throw KitError.system("filler") }
            defer { close(file) }
            let block = [UInt8](repeating: 0, count: 1024)
            while write(file, block, block.count) > 0 {}
        }

        func clear(_ edged: Edged) { unlink(path("filler", edged)) }

        func remount(_ options: String, _ edged: Edged) throws {
            let (exit, _, errors) = try RunningProcess.run(
                "nsenter",
                [
                    "--mount", "--target", "\(edged.process.pid)", "mount", "-o",
                    "remount,\(options)", mountPoint,
                ])
            guard exit == .code(0) else { throw KitError("remount: \(errors)") }
        }
    }

    /// Sets how many descriptors a process may have; its hard limit stays. As the process's user,
    /// who may do that without any right.
    private func limitDescriptors(_ pid: Int32, _ count: Int) throws {
        let words = ["--pid", "\(pid)", "--nofile=\(count):"]
        let user = geteuid() == 0 ? ProcessOptions(user: Edged.user) : ProcessOptions()
        let process = try RunningProcess("prlimit", words, user)
        guard process.waitForExit() == .code(0) else {
            throw KitError("prlimit: \(process.standardError)")
        }
    }

    @Test("without descriptors those that are connected are served, and the others wait in line")
    func descriptors() throws {
        let upstream = try Nginx()
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        let pid = try edged.proxyPID()
        let kept = try (0..<8).map { _ in try edged.connect() }
        defer { for client in kept { client.close() } }
        for client in kept { _ = try client.get("/echo", host: "app.test") }
        let count = try #require(ProcessFigures(of: pid)).descriptorCount

        // No number above those in use is given out any more.
        try limitDescriptors(pid, count + 2)
        let waiting = try (0..<12).map { _ in try edged.connect() }
        defer { for client in waiting { client.close() } }
        for client in waiting { try client.send("GET /echo HTTP/1.1\r\nHost: app.test\r\n\r\n") }
        for _ in 0..<20 {
            for client in kept {
                #expect(try client.get("/echo", host: "app.test").status == 200)
            }
        }
        let served = waiting.count { $0.read(within: .milliseconds(10)) != .timeout }
        #expect(served <= 4, "they wait")
        #expect(waiting.allSatisfy { $0.ending == nil }, "and nobody is sent away")
        try limitDescriptors(pid, 4096)

        for client in waiting {
            #expect(try client.readResponse(within: .seconds(3)).status == 200)
        }
        #expect(try edged.failures("descriptor_limit") >= 1)
        #expect(try edged.proxyPID() == pid)
        #expect(try edged.edgectl("status").code == 0)
    }

    @Test("a full disk costs lines of the access log, which are counted, and nothing else")
    func fullLogDisk() throws {
        let upstream = try Nginx()
        let disk = try SmallDisk(kibibytes: 64)
        var options = Edged.Options()
        options.workers = 1
        options.wrapper = disk.wrapper
        let edged = try Edged(
            oneSite(
                upstream.server,
                more: "access_log: { path: \(disk.mountPoint)/access.log, buffer: 64KiB }"),
            options)
        defer { edged.stop() }
        #expect(try edged.get("/echo?before").status == 200)
        #expect(
            eventually {
                disk.text("access.log", edged).contains("\"path\":\"/echo\"")
            })

        try disk.fill(edged)
        let client = try edged.connect()
        defer { client.close() }
        for _ in 0..<300 { #expect(try client.get("/echo", host: "app.test").status == 200) }
        let isCounted = eventually {
            ((try? edged.metric("edged_access_log_dropped_total")) ?? 0) > 100
        }
        #expect(isCounted)
        #expect(eventually { edged.log.contains("access log: lines are lost") })
        #expect(edged.log.contains("ENOSPC"))
        disk.clear(edged)
        let isBack = eventually {
            _ = try? client.get("/after", host: "app.test")
            return disk.text("access.log", edged).contains("\"path\":\"/after\"")
        }

        #expect(isBack, "lines go on as soon as there is room")
        let lines = disk.text("access.log", edged).split(separator: "\n")
        #expect(lines.contains { $0.contains("\"kind\":\"dropped\"") }, "and say what is missing")
        let cut = lines.filter {
            (try? JSONSerialization.jsonObject(with: Data($0.utf8))) == nil
        }
        #expect(cut.count <= 1, "one line at most was cut by the end of the disk")
    }

    @Test("a reader of standard output that has stopped costs lines of the access log, no request")
    func stoppedLogReader() throws {
        let upstream = try Nginx()
        let folder = try TemporaryDirectory("pipe", othersMayEnter: true)
        let pipe = folder.file("stdout")
        #expect(mkfifo(pipe, 0o600) == 0)
        let reader = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        var options = Edged.Options()
        options.workers = 1
        options.wrapper = ["sh", "-c", "exec \"$0\" \"$@\" >\(pipe)"]
        let edged = try Edged(
            oneSite(upstream.server, more: "access_log: { path: stdout, buffer: 64KiB }"), options)
        defer { edged.stop() }
        let client = try edged.connect()
        defer { client.close() }

        for _ in 0..<1_200 { #expect(try client.get("/echo", host: "app.test").status == 200) }

        #expect(try edged.metric("edged_access_log_dropped_total") > 100)
        try edged.reload()
        #expect(try client.get("/echo", host: "app.test").status == 200)
    }

    /// A name, so that there is something to remember.
    private func named(_ dns: StandInDNS, _ port: UInt16, _ state: String) -> String {
        oneSite(
            "\"app.lab.test:\(port)\"",
            more: "state: \(state)\n"
                + "resolvers: { lab: { servers: [\"\(dns.address)\"], domains: [lab.test] } }")
    }

    enum Fault: CaseIterable { case readOnly, full }

    @Test(
        "a state folder that takes nothing is said once, and costs nothing",
        arguments: Fault.allCases)
    func stateAtStart(fault: Fault) throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        let dns = try StandInDNS(records: ["app.lab.test": [.address("127.0.0.1")]])
        defer {
            upstream.stop()
            dns.stop()
        }
        // A tmpfs of one page has room for names of files, and for nothing in them.
        let disk = try SmallDisk(
            kibibytes: fault == .full ? 4 : 64, options: fault == .full ? "rw" : "ro")
        var options = Edged.Options()
        options.wrapper = disk.wrapper
        if fault == .full {
            options.wrapper[options.wrapper.count - 1] = disk.wrapper[disk.wrapper.count - 1]
                .replacing(
                    " && exec",
                    with: " && head -c 4096 /dev/zero > "
                        + "\(disk.mountPoint)/filler; exec")
        }
        let edged = try Edged(named(dns, upstream.port, disk.mountPoint), options)
        defer { edged.stop() }

        #expect(try eventually { try edged.get().text == "ok" })
        let isTold = eventually {
            edged.log.contains("dns: addresses are not remembered")
        }
        #expect(isTold)
        #expect(edged.log.contains(fault == .full ? "ENOSPC" : "EROFS"))
        dns.set("app.lab.test", addresses: ["127.0.0.1", "127.0.0.9"])
        pass(.milliseconds(1500))

        let words = "dns: addresses are not remembered"
        #expect(edged.log.components(separatedBy: words).count == 2, "one line")
        #expect(try edged.edgectl("status").output.contains(words), "status shows it")
        #expect(try edged.get().text == "ok")
        try edged.reload()
        #expect(try edged.get().text == "ok")
    }

    @Test("a state folder that becomes read-only is used again when it can be written to")
    func stateWhileRunning() throws {
        let upstream = try ScriptedUpstream(answering: "ok")
        let dns = try StandInDNS(records: ["app.lab.test": [.address("127.0.0.1")]])
        dns.ttl = 1
        defer {
            upstream.stop()
            dns.stop()
        }
        let disk = try SmallDisk(kibibytes: 64)
        var options = Edged.Options()
        options.wrapper = disk.wrapper
        let edged = try Edged(named(dns, upstream.port, disk.mountPoint), options)
        defer { edged.stop() }
        #expect(try eventually { try edged.get().text == "ok" })
        let isKept = eventually {
            access(disk.path("names", edged), F_OK) == 0
        }
        #expect(isKept)

        try disk.remount("ro", edged)
        let pid = try edged.proxyPID()
        kill(pid, SIGKILL)
        _ = try edged.waitForProxy(otherThan: pid)

        #expect(try eventually { try edged.get().text == "ok" })
        #expect(try edged.edgectl("status").code == 0)
        try disk.remount("rw", edged)
        #expect(try edged.get().text == "ok")
    }

    @Test("a daemon log that nobody reads stops neither guardian nor proxy")
    func unreadLog() throws {
        let upstream = try Nginx()
        let folder = try TemporaryDirectory("pipe", othersMayEnter: true)
        let pipe = folder.file("stderr")
        #expect(mkfifo(pipe, 0o600) == 0)
        let reader = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        var options = Edged.Options()
        options.waitsForServing = false
        options.wrapper = ["sh", "-c", "exec \"$0\" \"$@\" 2>\(pipe)"]
        let edged = try Edged(oneSite(upstream.server), options)
        defer { edged.stop() }
        #expect(eventually(within: .seconds(10)) { (try? edged.get("/echo").status) == 200 })
        // F_SETPIPE_SZ: a page.
        #expect(fcntl(reader, 1031, 4096) >= 4096)

        for _ in 0..<40 { #expect(try edged.edgectl("reload").code == 0) }
        #expect(try edged.get("/echo").status == 200)
        let text = try edged.edgectl("status", "--json").output
        let status = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        let pid = try #require(status?["pid"] as? Int)
        kill(Int32(pid), SIGKILL)
        let isBack = eventually { (try? edged.get("/echo").status) == 200 }

        #expect(isBack, "the guardian has replaced it")
        #expect(try edged.edgectl("reload").code == 0)
        // Whoever reads at last learns that lines are missing.
        var block = [UInt8](repeating: 0, count: 1 << 16)
        _ = read(reader, &block, block.count)
        #expect(try edged.edgectl("reload").code == 0)
        let isTold = eventually {
            let count = read(reader, &block, block.count)
            let text = String(decoding: block.prefix(max(count, 0)), as: UTF8.self)
            return text.contains("lines before this one were lost")
        }
        #expect(isTold)
    }
}
