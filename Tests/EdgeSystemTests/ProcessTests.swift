import CEdge
import EdgeCore
import EdgeSystem
import Foundation
import Glibc
import Synchronization
import Testing

@Suite("Process", .serialized)
struct ProcessTests {
    @Test("Rights are given up for good", .enabled(if: geteuid() == 0))
    func drop() async {
        await #expect(processExitsWith: .success) {
            #expect(Privileges.canChangeUser)
            try Privileges.drop(user: "nobody", group: "nogroup")

            #expect(geteuid() != 0 && getuid() != 0 && getegid() != 0)
            #expect(!Privileges.canChangeUser)
            #expect(ce_setresuid(0) == -1)
            #expect(ce_setresgid(0) == -1)
            #expect(open("/etc/shadow", O_RDONLY) == -1)
            #expect(noNewPrivileges() == 1)
        }
    }

    @Test("An unknown user is refused with a hint")
    func unknownUser() {
        let error = #expect(throws: SystemError.self) {
            try Privileges.drop(user: "no-such-user", group: nil)
        }
        #expect(error?.hint?.contains("useradd") == true)
    }

    @Test("An abort prints the stack and is still an abort")
    func crashReport() async throws {
        let result = await #expect(
            processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
        ) {
            CrashReport.install()
            kill(getpid(), SIGABRT)
            sleep(5)
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.contains("stopped by signal 6, its stack:\n"))
        #expect(text.split(separator: "\n").filter { $0.contains("[0x") }.count >= 1)
    }

    @Test("A thread's stack for signals goes with the thread")
    func signalStack() throws {
        let ended = DispatchSemaphore(value: 0)
        let places = Mutex<[UInt]>([])
        for _ in 0..<64 {
            try BackgroundThread.start {
                var stack = stack_t()
                sigaltstack(nil, &stack)
                let place =
                    stack.ss_flags & Int32(SS_DISABLE) == 0
                    ? UInt(bitPattern: stack.ss_sp) : 0
                places.withLock { $0.append(place) }
                ended.signal()
            }
            ended.wait()
        }

        let seen = places.withLock { $0 }
        #expect(seen.count == 64 && !seen.contains(0))
        // What one has given back the next ones use; none of it would be used twice else.
        #expect(Set(seen).count < 32)
    }

    @Test("Signals arrive on the loop, and SIGPIPE is none")
    func signals() async {
        await #expect(processExitsWith: .success) {
            let loop = try PollLoop()
            var heard: [DaemonSignal] = []
            let source = try SignalSource(loop: loop) { heard.append($0) }
            for number in [SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGPIPE] {
                pthread_kill(pthread_self(), number)
            }
            for _ in 0..<3 { loop.runOnce(maxWait: .milliseconds(10)) }
            #expect(Set(heard) == [.hangUp, .user1, .user2, .terminate, .interrupt])
            withExtendedLifetime(source) {}
        }
    }

    @Test("The descriptor limit is raised to the hard one")
    func descriptorLimit() {
        let limit = Privileges.raiseDescriptorLimit()
        #expect(limit >= 1024)
        #expect(Privileges.raiseDescriptorLimit() == limit)
    }
}

/// PR_GET_NO_NEW_PRIVS.
private func noNewPrivileges() -> Int32 { ce_prctl(39, 0, 0) }
