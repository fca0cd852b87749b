/// Writes the Prometheus text exposition format (0.0.4): one HELP and TYPE line per family, then
/// its samples. Families must not repeat.
package struct MetricsText {
    package enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    package private(set) var text = ""

    package init() {}

    /// One family.
    ///
    /// - Parameter samples: calls its argument once per sample, with labels and value.
    package mutating func family(
        _ name: String, _ kind: Kind, _ help: String,
        samples: (_ sample: ([(String, String)], UInt64) -> Void) -> Void
    ) {
        var lines = "# HELP \(name) \(Self.escaped(help, quotes: false))\n"
        lines += "# TYPE \(name) \(kind.rawValue)\n"
        samples { labels, value in lines += Self.line(name, labels, String(value)) }
        text += lines
    }

    /// A family of one sample without labels.
    package mutating func single(_ name: String, _ kind: Kind, _ help: String, _ value: UInt64) {
        family(name, kind, help) { sample in sample([], value) }
    }

    /// A family of one histogram without labels of its own.
    ///
    /// - Parameters:
    ///   - buckets: upper bounds in nanoseconds (nil: none, the last one), and how many spans fell
    ///     into each.
    ///   - sum: in nanoseconds.
    package mutating func histogram(
        _ name: String, _ help: String, buckets: [(bound: UInt64?, count: UInt64)], sum: UInt64
    ) {
        family(name, .histogram, help) { _ in }
        var total: UInt64 = 0
        for (bound, count) in buckets {
            total &+= count
            let label = bound.map(Self.seconds) ?? "+Inf"
            text += Self.line("\(name)_bucket", [("le", label)], String(total))
        }
        text += Self.line("\(name)_sum", [], Self.seconds(sum))
        text += Self.line("\(name)_count", [], String(total))
    }

    /// Nanoseconds as seconds, without trailing zeros.
    static func seconds(_ nanoseconds: UInt64) -> String {
        let (whole, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        guard rest > 0 else { return String(whole) }
        var digits = String(rest)
        digits = String(repeating: "0", count: 9 - digits.count) + digits
        while digits.last == "0" { digits.removeLast() }
        return "\(whole).\(digits)"
    }

    private static func line(
        _ name: String, _ labels: [(String, String)], _ value: String
    ) -> String {
        guard !labels.isEmpty else { return "\(name) \(value)\n" }
        let list = labels.map { "\($0.0)=\"\(escaped($0.1, quotes: true))\"" }
        return "\(name){\(list.joined(separator: ","))} \(value)\n"
    }

    static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
