internal import CEdge
internal import Glibc

/// Prints the stack of a thread that crashes, or that the guardian aborts because it hangs, to
/// standard error, then lets the signal have its way. The handler allocates nothing and takes no
/// lock of ours.
package enum CrashReport {
    private static let signals = [SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE]

    /// Installs the handler for the process and a signal stack for this thread. Other threads
    /// have theirs by `withSignalStack`, or an overflow of their stack is not reported.
    package static func install() {
        // The first backtrace loads libgcc, which allocates: not in the handler.
        backtrace(frames, framesMax)
        setSignalStack(signalStack)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handleCrash
        action.sa_flags = SA_ONSTACK | Int32(bitPattern: UInt32(SA_RESETHAND))
        sigemptyset(&action.sa_mask)
        for number in signals { sigaction(number, &action, nil) }
    }

    private static let signalStackBytes = 1 << 16
    // Written by the kernel alone, while the thread that has installed it handles a signal.
    nonisolated(unsafe) private static let signalStack = UnsafeMutableRawPointer.allocate(
        byteCount: signalStackBytes, alignment: 16)

    /// Runs `body`, for as long as which this thread has a stack for signals.
    package static func withSignalStack(_ body: () -> Void) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: signalStackBytes, alignment: 16)
        setSignalStack(memory)
        body()
        var none = stack_t()
        none.ss_flags = Int32(SS_DISABLE)
        sigaltstack(&none, nil)
        memory.deallocate()
    }

    private static func setSignalStack(_ memory: UnsafeMutableRawPointer) {
        var stack = stack_t()
        stack.ss_size = signalStackBytes
        stack.ss_sp = memory
        sigaltstack(&stack, nil)
    }
}

private let framesMax: Int32 = 64
// Written by `install`, then only by the one thread that crashes; two at once print a mixed stack.
nonisolated(unsafe) private let frames =
    UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(capacity: 64)

private func handleCrash(_ number: Int32) {
    writeText("edged: thread ")
    writeNumber(Int(ce_gettid()))
    writeText(" stopped by signal ")
    writeNumber(Int(number))
    writeText(", its stack:\n")
    let count = backtrace(frames, framesMax)
    backtrace_symbols_fd(frames, count, 2)
    // SA_RESETHAND put the default back; the signal is delivered when we return.
    ce_tgkill(getpid(), ce_gettid(), number)
}

private func writeText(_ text: StaticString) {
    _ = write(2, text.utf8Start, text.utf8CodeUnitCount)
}

private func writeNumber(_ value: Int) {
    var divisor = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
        var digit = UInt8(truncatingIfNeeded: value / divisor % 10) + 0x30
        _ = write(2, &digit, 1)
        divisor /= 10
    }
}
