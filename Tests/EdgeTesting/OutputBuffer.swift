internal import Foundation

/// What a process has written, readable while it runs. Bounded: past `byteCountMax` the oldest
/// half goes.
final class OutputBuffer: @unchecked Sendable {
    // Sendable: every access to the fields below holds `condition`.
    private let condition = NSCondition()
    private var bytes: [UInt8] = []
    private var dropped = 0
    private var isClosed = false

    static let byteCountMax = 8 << 20

    func append(_ piece: ArraySlice<UInt8>) {
        condition.lock()
        bytes += piece
        if bytes.count > Self.byteCountMax {
            dropped += bytes.count / 2
            bytes.removeFirst(bytes.count / 2)
        }
        condition.broadcast()
        condition.unlock()
    }

    /// The writer is gone: nobody waits any longer.
    func finish() {
        condition.lock()
        isClosed = true
        condition.broadcast()
        condition.unlock()
    }

    var text: String {
        condition.lock()
        defer { condition.unlock() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// How much has been written so far: a place to wait from.
    var end: Int {
        condition.lock()
        defer { condition.unlock() }
        return dropped + bytes.count
    }

    /// The first whole line at or after `start` with `needle` in it; nil when the time is up or
    /// the writer has gone.
    func line(containing needle: String, from start: Int, until deadline: Date) -> String? {
        condition.lock()
        defer { condition.unlock() }
        var scanned = start
        while true {
            var from = max(0, scanned - dropped)
            while let end = bytes[from...].firstIndex(of: 0x0A) {
                let line = String(decoding: bytes[from..<end], as: UTF8.self)
                if line.contains(needle) { return line }
                from = end + 1
            }
            scanned = dropped + from
            if isClosed {
                let rest = String(decoding: bytes[from...], as: UTF8.self)
                return rest.contains(needle) ? rest : nil
            }
            if !condition.wait(until: deadline) { return nil }
        }
    }
}
