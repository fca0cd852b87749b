internal import CEdge

/// Why TLS could not be set up. Not for what peers do: see `TLSStep`.
package enum TLSFailure: Error, Equatable, CustomStringConvertible {
    /// An OpenSSL call failed; its error queue as text.
    case library(call: String, reason: String)
    /// A file of trusted CAs.
    case authority(file: String, reason: String)

    package var description: String {
        switch self {
        case .library(let call, let reason): "\(call): \(reason)"
        case .authority(let file, let reason): "\(file): \(reason)"
        }
    }

    static func library(_ call: String) -> TLSFailure {
        .library(call: call, reason: takeErrorText())
    }

    /// Empties OpenSSL's error queue of this thread.
    ///
    /// - Returns: the newest error's reason, or a plain word if the queue is empty.
    package static func takeErrorText() -> String {
        var text = "unknown error"
        for _ in 0..<32 {
            let code = ERR_get_error()
            guard code != 0 else { break }
            if let reason = ERR_reason_error_string(code) { text = String(cString: reason) }
        }
        ERR_clear_error()
        return text
    }
}
