internal import EdgeCore

/// What the guardian says while no proxy serves: since when, why, and what happens next.
package struct StatusReply: Equatable, Sendable {
    /// The supervisor's state in one word.
    package var state: String
    package var secondsNotServing: Double
    /// How the last proxy ended; nil if none did.
    package var lastExit: String?
    package var restarts: Int
    /// Nil if none is planned.
    package var secondsUntilRestart: Double?
    package var isListening: Bool
    package var log: [String]

    package var json: String {
        let lines = log.map(Self.quoted).joined(separator: ",")
        return "{\"serving\":false,\"state\":\(Self.quoted(state)),"
            + "\"seconds_not_serving\":\(Self.seconds(secondsNotServing)),"
            + "\"last_exit\":\(lastExit.map(Self.quoted) ?? "null"),\"restarts\":\(restarts),"
            + "\"seconds_until_restart\":\(secondsUntilRestart.map(Self.seconds) ?? "null"),"
            + "\"listening\":\(isListening),\"log\":[\(lines)]}\n"
    }

    /// Milliseconds are enough.
    private static func seconds(_ value: Double) -> String {
        "\((value * 1000).rounded() / 1000)"
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }
}
