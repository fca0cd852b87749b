import EdgeCore
import EdgeSystem
import EdgeVRRP
import Glibc
import Testing

@testable import EdgeConfig
@testable import EdgeGuardian

/// A folder that nobody else may write, and what is put into it.
final class OwnFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/edged-test-XXXXXX".utf8CString)
        path = String(cString: try #require(mkdtemp(&template)))
    }

    @discardableResult
    func write(_ text: String, to name: String, mode: mode_t = 0o700) throws -> String {
        let file = "\(path)/\(name)"
        let fd = open(file, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
        try Descriptor.writeAll(fd, Array(text.utf8))
        close(fd)
        chmod(file, mode)
        return file
    }

    func text(_ name: String) -> String {
        let fd = open("\(path)/\(name)", O_RDONLY)
        guard fd >= 0 else { return "" }
        defer { close(fd) }
        let bytes = (try? Descriptor.readAll(fd, byteCountMax: 65536)) ?? []
        return String(decoding: bytes, as: UTF8.self)
    }
}

@Suite("The operator's program after a change", .serialized)
struct HookRunnerTests {
    private static let call = HookRunner.Call(
        instance: "vip", state: "master", cause: "the master is silent; $(id)")

    /// Turns the loop until the hook is idle; false if that takes more than 10 s.
    private static func finish(_ runner: HookRunner, _ loop: PollLoop) -> Bool {
        let end = Instant.now().advanced(by: .seconds(10))
        while !runner.isIdle {
            guard Instant.now() < end else { return false }
            loop.runOnce(maxWait: .milliseconds(20))
        }
        return true
    }

    @Test("It gets instance, state and cause as they are, and PATH and nothing else")
    func arguments() throws {
        let folder = try OwnFolder()
        let loop = try PollLoop()
        let runner = HookRunner(loop: loop)
        setenv("NOTIFY_SOCKET", "/run/x", 1)
        defer { unsetenv("NOTIFY_SOCKET") }
        runner.program = try folder.write(
            """
            #!/bin/sh
            printf '%s|' "$@" > \(folder.path)/arguments
            tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 > \(folder.path)/environment
            ls /proc/$$/fd | sort -n | tr '\\n' ' ' > \(folder.path)/descriptors
            """, to: "hook")

        runner.run(Self.call)

        #expect(Self.finish(runner, loop))
        #expect(folder.text("arguments") == "vip|master|the master is silent; $(id)|")
        #expect(folder.text("environment") == "PATH\n")
        // Of the shell: its script, opened by itself.
        #expect(folder.text("descriptors").hasPrefix("0 1 2 "))
    }

    @Test("One runs at a time, in the order of the changes; of many the oldest is dropped")
    func order() throws {
        let folder = try OwnFolder()
        let loop = try PollLoop()
        let runner = HookRunner(loop: loop)
        runner.program = try folder.write(
            "#!/bin/sh\necho $2 >> \(folder.path)/states\n", to: "hook")

        for number in 0..<HookRunner.waitingMax + 3 {
            runner.run(.init(instance: "vip", state: "s\(number)", cause: ""))
        }

        #expect(runner.waiting.count == HookRunner.waitingMax)
        #expect(Self.finish(runner, loop))
        let states = folder.text("states").split(separator: "\n")
        #expect(states.first == "s0")
        #expect(states.dropFirst().first == "s3")
        #expect(states.last == "s\(HookRunner.waitingMax + 2)")
        #expect(states.count == HookRunner.waitingMax + 1)
    }

    @Test("One that takes too long is ended with all that it has started")
    func late() throws {
        let folder = try OwnFolder()
        let loop = try PollLoop()
        let runner = HookRunner(loop: loop, deadline: .milliseconds(200))
        runner.program = try folder.write(
            "#!/bin/sh\nsleep 60 &\necho $! > \(folder.path)/child\nwait\n", to: "hook")
        let begun = Instant.now()

        runner.run(Self.call)

        #expect(Self.finish(runner, loop))
        #expect(Instant.now().nanoseconds(since: begun) < 5_000_000_000)
        let child = Int32(folder.text("child").split(separator: "\n").first ?? "") ?? 0
        #expect(child > 0)
        // A zombie may be left to whoever adopts it.
        #expect(eventually { Self.state(of: child) != "S" })
    }

    @Test("One that has left its group is ended all the same")
    func leftGroup() throws {
        let folder = try OwnFolder()
        let loop = try PollLoop()
        let runner = HookRunner(loop: loop, deadline: .milliseconds(500))
        runner.program = try folder.write(
            """
            #!/usr/bin/env python3
            import os, time
            os.setpgid(0, os.getpgid(os.getppid()))
            open("\(folder.path)/left", "w").write("1")
            time.sleep(60)
            """, to: "hook")

        runner.run(Self.call)

        #expect(Self.finish(runner, loop))
        #expect(folder.text("left") == "1")
    }

    private static func state(of process: Int32) -> String {
        let fd = open("/proc/\(process)/stat", O_RDONLY)
        guard fd >= 0 else { return "gone" }
        defer { close(fd) }
        let bytes = (try? Descriptor.readAll(fd, byteCountMax: 4096)) ?? []
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        return words.count > 2 ? String(words[2]) : ""
    }

    private func eventually(_ condition: () -> Bool) -> Bool {
        let end = Instant.now().advanced(by: .seconds(5))
        while !condition() {
            guard Instant.now() < end else { return false }
            sched_yield()
        }
        return true
    }

    @Test(
        "One that others could have changed is not run",
        arguments: [0o722, 0o720, 0o777] as [mode_t])
    func writable(mode: mode_t) throws {
        let folder = try OwnFolder()
        let loop = try PollLoop()
        let runner = HookRunner(loop: loop)
        runner.program = try folder.write(
            "#!/bin/sh\ntouch \(folder.path)/ran\n", to: "hook", mode: mode)

        runner.run(Self.call)

        #expect(runner.isIdle)
        #expect(access(folder.path + "/ran", F_OK) != 0)
    }

    @Test("Nor is one in a folder that others may write, one that is missing, or one that is none")
    func places() throws {
        let folder = try OwnFolder()
        let hook = try folder.write("#!/bin/sh\n", to: "hook")
        #expect(OwnerOnlyFile.problem(ofProgram: hook) == nil)

        chmod(folder.path, 0o777)
        #expect(
            OwnerOnlyFile.problem(ofProgram: hook)
                == "\(folder.path): others may write it (chmod go-w)")
        chmod(folder.path, 0o700)
        #expect(OwnerOnlyFile.problem(ofProgram: hook + "x")?.contains("No such file") == true)
        #expect(OwnerOnlyFile.problem(ofProgram: folder.path) == "\(folder.path): it is not a file")
        #expect(OwnerOnlyFile.problem(ofProgram: "hook") == "hook: it is no absolute path")
        chmod(hook, 0o600)
        #expect(
            OwnerOnlyFile.problem(ofProgram: hook) == "\(hook): it cannot be run (chmod 755)")
    }

    @Test("Nor is one that a link leads to in a folder that others may write, nor by such a link")
    func links() throws {
        let (ours, theirs) = (try OwnFolder(), try OwnFolder())
        let hook = try ours.write("#!/bin/sh\n", to: "hook")
        let other = try theirs.write("#!/bin/sh\n", to: "hook")
        symlink("hook", ours.path + "/near")
        symlink(other, ours.path + "/far")
        symlink(theirs.path, ours.path + "/folder")
        symlink(hook, theirs.path + "/back")
        symlink(theirs.path + "/back", ours.path + "/thrice")
        let all = ["near", "far", "folder/hook", "thrice"].map { "\(ours.path)/\($0)" }
        for path in all { #expect(OwnerOnlyFile.problem(ofProgram: path) == nil) }

        chmod(theirs.path, 0o777)

        #expect(OwnerOnlyFile.problem(ofProgram: all[0]) == nil)
        for path in all.dropFirst() {
            let problem = OwnerOnlyFile.problem(ofProgram: path)
            #expect(problem?.contains("others may write it") == true, "\(path)")
        }
        symlink("loop", ours.path + "/loop")
        #expect(OwnerOnlyFile.problem(ofProgram: ours.path + "/loop") != nil)
    }
}

@Suite("Failover's secret")
struct FailoverSecretTests {
    private static func secret(_ path: String) -> Result<[UInt8]?, ConfigurationRefusal> {
        do throws(ConfigurationRefusal) {
            return .success(
                try OwnerOnlyFile.secret(
                    of: .init(
                        settings: FailoverSettings(nodeName: "a", instances: []), secret: path)))
        } catch { return .failure(error) }
    }

    @Test("It is what the file has, without the newline at its end")
    func read() throws {
        let folder = try OwnFolder()
        let path = try folder.write("0123456789abcdef\n", to: "key", mode: 0o600)

        #expect(try Self.secret(path).get() == Array("0123456789abcdef".utf8))
    }

    @Test("One that is believed besides has its own file, and is looked at as well")
    func accepted() throws {
        let folder = try OwnFolder()
        let own = try folder.write("0123456789abcdef\n", to: "key", mode: 0o600)
        let next = try folder.write("fedcba9876543210\n", to: "next", mode: 0o600)
        let settings = FailoverSettings(nodeName: "a", instances: [])
        var failover = Configuration.Failover(
            settings: settings, secret: own, acceptedSecret: next)

        #expect(try OwnerOnlyFile.acceptedSecret(of: failover) == Array("fedcba9876543210".utf8))
        #expect(OwnerOnlyFile.problems(of: failover).isEmpty)
        chmod(next, 0o644)
        #expect(
            OwnerOnlyFile.problems(of: failover)
                == ["failover.accepted_secret: \(next): others may read it (chmod 600)"])
        failover = .init(settings: settings, secret: own)
        #expect(try OwnerOnlyFile.acceptedSecret(of: failover) == nil)
    }

    @Test("One that others may read, that is too short, or that is missing is refused with a hint")
    func refused() throws {
        let folder = try OwnFolder()
        let readable = try folder.write("0123456789abcdef", to: "a", mode: 0o640)
        let short = try folder.write("0123456789abcde\n", to: "b", mode: 0o600)
        let long = try folder.write(String(repeating: "x", count: 1025), to: "c", mode: 0o400)

        for (path, why) in [
            (readable, "others may read it (chmod 600)"),
            (short, "it has 15 bytes, not 16 to 1024 (openssl rand -hex 32)"),
            (long, "it has 1025 bytes, not 16 to 1024 (openssl rand -hex 32)"),
            (folder.path + "/d", "No such file or directory"),
            (folder.path, "it is not a file"),
        ] {
            #expect(
                Self.secret(path)
                    == .failure(ConfigurationRefusal(["failover.secret: \(path): \(why)"])))
        }
    }
}
