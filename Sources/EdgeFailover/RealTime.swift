internal import CEdge
package import EdgeSystem
internal import Glibc

/// Makes the calling thread one that the kernel runs as soon as it has something to do, and keeps
/// what it needs in memory.
package enum RealTime {
    /// What was granted, and why what was not.
    package struct Grant: Sendable, Equatable {
        /// SCHED_FIFO; nil: as everybody else.
        package var priority: Int32?
        package var schedulingRefusal: SystemError?
        package var isLocked = false
        package var lockRefusal: SystemError?

        package init() {}

        /// One sentence for the log.
        package var summary: String {
            let scheduling =
                priority.map { "real-time priority \($0)" }
                ?? "no real-time priority (\(schedulingRefusal?.name ?? "not asked for"))"
            let memory =
                isLocked
                ? "memory locked" : "memory not locked (\(lockRefusal?.name ?? "not asked for"))"
            return "\(scheduling), \(memory)"
        }
    }

    /// Above everything ordinary, below the kernel's own threads (50 and more).
    package static let priority: Int32 = 20

    /// Bytes of the thread's stack that are touched in advance.
    private static let stackCount = 128 << 10

    /// Of the calling thread: its children, if any, are ordinary ones.
    package static func apply() -> Grant {
        var grant = Grant()
        if ce_set_scheduler(CE_SCHED_FIFO | CE_SCHED_RESET_ON_FORK, priority) == 0 {
            grant.priority = priority
        } else {
            grant.schedulingRefusal = SystemError(
                errnoOf: "sched_setscheduler", hint: "CAP_SYS_NICE, LimitRTPRIO=\(priority)")
            // Ordinary threads are woken up to 50 µs late to save power.
            _ = ce_prctl(PR_SET_TIMERSLACK, 1, 0)
        }
        if lockMemory() {
            grant.isLocked = true
        } else {
            grant.lockRefusal = SystemError(
                errnoOf: "mlockall", hint: "CAP_IPC_LOCK, LimitMEMLOCK=infinity")
        }
        touchStack()
        return grant
    }

    /// Nothing that the process has touched, or touches later, leaves memory; what it has merely
    /// reserved stays unused (MCL_ONFAULT), so that this costs nothing at rest.
    private static func lockMemory() -> Bool {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(CE_RLIMIT_MEMLOCK), &limit)
        // With a limit, a later allocation would fail at it.
        guard limit.rlim_cur == .max || holdsLockCapability else {
            errno = EPERM
            return false
        }
        guard ce_mlockall(CE_MCL_CURRENT | CE_MCL_FUTURE | CE_MCL_ONFAULT) == 0 else {
            return false
        }
        touchCode()
        return true
    }

    /// A take-over may be the first time that its code runs, at a moment when disks are slow:
    /// the program's own code is read now. The proxy shares those pages.
    private static func touchCode() {
        let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
        guard page > 0, page & (page - 1) == 0 else { return }
        let start = UInt(ce_text_start()) & ~(page - 1)
        guard let address = UnsafeMutableRawPointer(bitPattern: start) else { return }
        // Kernels before 5.14 do without.
        madvise(address, Int(UInt(ce_text_end()) - start), CE_MADV_POPULATE_READ)
    }

    private static var holdsLockCapability: Bool {
        // Version 3 of struct __user_cap_header_struct: this thread.
        var header: (UInt32, Int32) = (0x2008_0522, 0)
        var data: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0, 0, 0)
        guard withUnsafeMutableBytes(of: &data, { ce_capget(&header, $0.baseAddress) }) == 0 else {
            return false
        }
        return data.0 >> 14 & 1 == 1  // CAP_IPC_LOCK, effective
    }

    @inline(never)
    private static func touchStack() {
        withUnsafeTemporaryAllocation(byteCount: stackCount, alignment: 16) { raw in
            for offset in stride(from: 0, to: raw.count, by: 4096) { raw[offset] = 1 }
        }
    }
}
