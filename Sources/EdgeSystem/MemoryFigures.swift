internal import CEdge
internal import Glibc

/// What the kernel says about memory, read from its files. All in bytes.
package enum MemoryFigures {
    /// What this process has resident; nil: the kernel does not tell.
    package static func resident() -> UInt64? {
        guard let text = text("/proc/self/statm") else { return nil }
        return residentPages(statm: text).map { $0 * UInt64(max(1, sysconf(Int32(_SC_PAGESIZE)))) }
    }

    /// The same without memory that it shares with other processes: tables that outlive it. Where
    /// the kernel does not tell them apart, all that is resident.
    package static func residentOwn() -> UInt64? {
        text("/proc/self/status").flatMap(residentOwn(status:)) ?? resident()
    }

    /// `RssAnon` and `RssFile` of `/proc/PID/status`, in bytes.
    package static func residentOwn(status: String) -> UInt64? {
        var sum: UInt64?
        for line in status.split(separator: "\n")
        where line.hasPrefix("RssAnon:") || line.hasPrefix("RssFile:") {
            let words = line.split { $0 == " " || $0 == "\t" }
            guard words.count == 3, words[2] == "kB", let count = UInt64(words[1]),
                count < 1 << 50
            else { return nil }
            sum = (sum ?? 0) + count << 10
        }
        return sum
    }

    /// The second number of `/proc/PID/statm`.
    package static func residentPages(statm: String) -> UInt64? {
        let words = statm.split(separator: " ")
        return words.count > 1 ? UInt64(words[1]) : nil
    }

    /// What the machine has, or the least that a control group above this process allows.
    package static func available() -> UInt64? {
        let machine = text("/proc/meminfo").flatMap(total(meminfo:))
        let group = text("/proc/self/cgroup").flatMap(unifiedGroup(cgroup:)).map(groupLimits) ?? []
        return ([machine].compactMap { $0 } + group).min()
    }

    /// `MemTotal` of `/proc/meminfo`.
    package static func total(meminfo: String) -> UInt64? {
        for line in meminfo.split(separator: "\n") where line.hasPrefix("MemTotal:") {
            let words = line.split(separator: " ")
            guard words.count == 3, words[2] == "kB", let count = UInt64(words[1]) else {
                return nil
            }
            return count << 10
        }
        return nil
    }

    /// The path of version 2's group in `/proc/self/cgroup`; nil: there is none.
    package static func unifiedGroup(cgroup: String) -> String? {
        for line in cgroup.split(separator: "\n") where line.hasPrefix("0::/") {
            return String(line.dropFirst(3))
        }
        return nil
    }

    /// `memory.max` of a group, in bytes; nil: `max`, or not a number.
    package static func limit(memoryMax: String) -> UInt64? {
        UInt64(memoryMax.prefix { $0 != "\n" })
    }

    /// Of the group and all above it that have one.
    private static func groupLimits(_ group: String) -> [UInt64] {
        var folder = "/sys/fs/cgroup" + (group == "/" ? "" : group)
        var limits: [UInt64] = []
        while folder.count >= "/sys/fs/cgroup".count {
            if let limit = text(folder + "/memory.max").flatMap(limit(memoryMax:)) {
                limits.append(limit)
            }
            guard let slash = folder.lastIndex(of: "/") else { break }
            folder = String(folder[..<slash])
        }
        return limits
    }

    /// At most 8 KiB of a file.
    private static func text(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = read(file, &bytes, bytes.count)
        guard count > 0 else { return nil }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
