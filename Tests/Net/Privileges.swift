internal import CEdge
internal import EdgeTesting
internal import Foundation

/// What building networks needs, and a way to be without it.
package enum Privileges {
    /// A sentence that says what is missing and what to do; nil when nothing is.
    package static func missing() -> String? {
        let status = (try? String(contentsOfFile: "/proc/thread-self/status", encoding: .utf8))
        return missing(status: status ?? "")
    }

    /// The same for the text of `/proc/PID/status`.
    package static func missing(status: String) -> String? {
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let text = line?.dropFirst(7).trimmingCharacters(in: .whitespaces) ?? ""
        let held = UInt64(text, radix: 16) ?? 0
        let wanted: [(name: String, bit: UInt64)] = [
            ("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21),
        ]
        let absent = wanted.filter { held >> $0.bit & 1 == 0 }.map(\.name)
        guard !absent.isEmpty else { return nil }
        return "virtual networks need root: \(absent.joined(separator: " and ")) missing. "
            + "Run these tests as root (sudo make test), or leave them out by name: they are "
            + "not skipped, because a skipped network test looks like a passed one."
    }

    /// Runs `body` on a thread of its own that has given up all capabilities.
    package static func without<Result: Sendable>(
        _ body: @escaping @Sendable () -> Result
    ) -> Result? {
        let done = DispatchSemaphore(value: 0)
        let slot = Slot<Result>()
        Thread.detachNewThread {
            // capset(2) by its system call changes the calling thread only; version 3, self.
            var header: (UInt32, Int32) = (0x2008_0522, 0)
            let none: (UInt64, UInt64, UInt64) = (0, 0, 0)
            let isBare = withUnsafeBytes(of: none) { ce_capset(&header, $0.baseAddress) } == 0
            if isBare { slot.value = body() }
            done.signal()
        }
        done.wait()
        return slot.value
    }

    private final class Slot<Value>: @unchecked Sendable {
        // Sendable: written before the semaphore is signalled, read after it was waited for.
        var value: Value?
    }
}
