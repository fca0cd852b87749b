/// Writes the Prometheus text exposition format (0.0.4): one HELP and TYPE line per family, then
/// its samples. Families must not repeat.
package struct MetricsText {
    package enum Kind: String, Sendable {
        case counter, gauge
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

    private static func line(
        _ name: String, _ labels: [(String, String)], _ value: String
    ) -> String {
        guard !labels.isEmpty else { return "\(name) \(value)\n" }
        let list = labels.map { "\($0.0)=\"\(escaped($0.1, quotes: true))\"" }
        return "\(name){\(list.joined(separator: ","))} \(value)\n"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
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
