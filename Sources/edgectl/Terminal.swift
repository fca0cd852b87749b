import EdgeControlAPI
import Foundation

/// The terminal that `edgectl top` draws on: keys come without Return and are not shown. Signals
/// that end the program put it back as it was.
final class Terminal {
    private var saved = termios()

    /// Nil if standard input or output is none.
    init?() {
        guard isatty(0) == 1, isatty(1) == 1, tcgetattr(0, &saved) == 0 else { return nil }
        var raw = saved
        // ISIG stays: ^C is a signal.
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
        guard tcsetattr(0, TCSANOW, &raw) == 0 else { return nil }
        Self.original.initialize(to: saved)
        for number in [SIGINT, SIGTERM, SIGHUP] { signal(number, Self.leave) }
        // It interrupts the wait for a key.
        signal(SIGWINCH) { _ in }
        write(TerminalScreen.enter)
    }

    // Written once, before the handlers that read it are set. Behind a pointer: for a variable of
    // this imported type the compiler reserves three bytes too few (57 of 60, Swift 6.3).
    nonisolated(unsafe) private static let original = UnsafeMutablePointer<termios>.allocate(
        capacity: 1)

    /// Only what a signal handler may do: write, tcsetattr, _exit (signal-safety(7)).
    private static let leave: @convention(c) (Int32) -> Void = { number in
        var bytes: (UInt64, UInt64, UInt64) = (
            // ESC [ ? 7 h ESC [ ?, 2 5 h ESC [ ? 1 0, 4 9 l and nothing.
            0x3F5B_1B68_373F_5B1B, 0x3031_3F5B_1B68_3532, 0x0000_0000_006C_3934
        )
        _ = Glibc.write(1, &bytes, 19)
        tcsetattr(0, TCSANOW, original)
        _exit(128 + number)
    }

    /// Back to the shell's screen.
    func restore() {
        write(TerminalScreen.leave)
        tcsetattr(0, TCSANOW, &saved)
    }

    /// In characters; 80 × 24 if it does not say.
    var size: (width: Int, height: Int) {
        var size = winsize()
        guard ioctl(1, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return (80, 24)
        }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// All of it in one write(2), as far as the terminal takes it.
    func write(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(1, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Waits for a key, a resized window or the time; true: `q`, or nobody types any more.
    func isQuit(within milliseconds: Int32) -> Bool {
        var input = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        guard poll(&input, 1, milliseconds) > 0 else { return false }
        var keys = [UInt8](repeating: 0, count: 64)
        let count = read(0, &keys, keys.count)
        guard count > 0 else { return count == 0 || errno != EINTR }
        return keys[..<count].contains { $0 == UInt8(ascii: "q") || $0 == UInt8(ascii: "Q") }
    }
}
