internal import Glibc

/// Civil time for logs. No time zones: everything is UTC.
public enum WallClock {
    /// Nanoseconds since 1970 (CLOCK_REALTIME).
    public static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    /// Bytes of `2026-11-22T23:47:43`.
    public static let secondByteCount = 19

    /// Writes the second as RFC 3339 says, without fraction and zone (proleptic Gregorian, as
    /// Hinnant's days-to-civil computes it).
    ///
    /// - Parameter bytes: room for `secondByteCount`.
    public static func write(second: UInt64, to bytes: UnsafeMutablePointer<UInt8>) {
        let days = second / 86_400 + 719_468
        let time = second % 86_400
        let era = days / 146_097
        let dayOfEra = days % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        // Months counted from March.
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func put(_ number: UInt64, _ at: Int, _ digits: Int) {
            var rest = number
            for index in (0..<digits).reversed() {
                bytes[at + index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
        }
        put(year, 0, 4)
        bytes[4] = UInt8(ascii: "-")
        put(month, 5, 2)
        bytes[7] = UInt8(ascii: "-")
        put(dayOfYear - (153 * shifted + 2) / 5 + 1, 8, 2)
        bytes[10] = UInt8(ascii: "T")
        put(time / 3_600, 11, 2)
        bytes[13] = UInt8(ascii: ":")
        put(time / 60 % 60, 14, 2)
        bytes[16] = UInt8(ascii: ":")
        put(time % 60, 17, 2)
    }

    /// `2026-11-22T23:47:43.120Z`, on cold paths.
    public static func text(_ nanoseconds: UInt64) -> String {
        var bytes = [UInt8](repeating: 0, count: secondByteCount)
        let (second, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        bytes.withUnsafeMutableBufferPointer {
            if let start = $0.baseAddress { write(second: second, to: start) }
        }
        let digits = String(rest / 1_000_000)
        let fraction = String(repeating: "0", count: 3 - digits.count) + digits
        return String(decoding: bytes, as: UTF8.self) + ".\(fraction)Z"
    }
}
