internal import CEdge
internal import Glibc

/// What the kernel knows of its wall clock.
package enum KernelClock {
    /// Whether somebody (chrony, ntpd, systemd-timesyncd) keeps it right; nil where the kernel does
    /// not say, as behind some filters of system calls (`ProtectClock=`).
    package static var isSynchronised: Bool? {
        var state = timex()
        let result = adjtimex(&state)
        guard result >= 0 else { return nil }
        return result != TIME_ERROR && state.status & STA_UNSYNC == 0
    }
}
