internal import Foundation

/// What the kernel says about a process, for tests of leaks and cost. nil when it is gone.
package struct ProcessFigures: Sendable, Equatable {
    /// Open descriptors.
    package let descriptorCount: Int
    /// Resident, and of it what no other process shares, in KiB.
    package let residentKiB: Int
    package let privateKiB: Int
    /// Time on a processor, all threads that live.
    package let cpu: Duration
    /// Processes it has started that still run.
    package let children: [Int32]

    package init?(of pid: Int32) {
        let place = "/proc/\(pid)"
        guard
            let open = try? FileManager.default.contentsOfDirectory(atPath: place + "/fd"),
            let memory = try? String(contentsOfFile: place + "/smaps_rollup", encoding: .utf8),
            let tasks = try? FileManager.default.contentsOfDirectory(atPath: place + "/task")
        else { return nil }
        descriptorCount = open.count
        let sizes = memory.split(separator: "\n").reduce(into: [String: Int]()) {
            let words = $1.split(separator: " ")
            if words.count == 3 { $0[String(words[0]), default: 0] += Int(words[1]) ?? 0 }
        }
        residentKiB = sizes["Rss:"] ?? 0
        privateKiB = (sizes["Private_Clean:"] ?? 0) + (sizes["Private_Dirty:"] ?? 0)
        var nanoseconds: Int64 = 0
        var started: [Int32] = []
        for task in tasks {
            let file = "\(place)/task/\(task)"
            let statistics = try? String(contentsOfFile: file + "/schedstat", encoding: .utf8)
            nanoseconds += statistics?.split(separator: " ").first.flatMap { Int64($0) } ?? 0
            let list = try? String(contentsOfFile: file + "/children", encoding: .utf8)
            started += (list ?? "").split(separator: " ").compactMap {
                Int32($0.trimmingCharacters(in: .whitespacesAndNewlines))
            }
        }
        cpu = .nanoseconds(nanoseconds)
        children = started.sorted()
    }
}

extension RunningProcess {
    package var figures: ProcessFigures? { ProcessFigures(of: pid) }
}

/// Lets this test process hold as many descriptors as it may: a thousand idle connections need
/// more than the usual soft limit. Returns the limit.
@discardableResult
package func raiseDescriptorLimit() -> Int {
    var limit = rlimit()
    let resource = __rlimit_resource_t(7)
    guard getrlimit(resource, &limit) == 0 else { return 0 }
    limit.rlim_cur = min(limit.rlim_max, 1 << 20)
    setrlimit(resource, &limit)
    return Int(limit.rlim_cur)
}

/// How long a test waits for what has to come, on a machine that may be busy: only a failure takes
/// so long. Who promises a time says it himself.
package let patience = Duration.seconds(20)

/// Asks every 2 ms until `condition` holds; false if it did not in time.
package func eventually(
    within span: Duration = patience, _ condition: () throws -> Bool
) rethrows -> Bool {
    let deadline = Date(timeIntervalSinceNow: span.seconds)
    while try !condition() {
        if Date() > deadline { return false }
        usleep(2000)
    }
    return true
}
