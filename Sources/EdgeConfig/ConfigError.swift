/// One finding about the configuration, with the place to look at and, where one is known, the
/// way out.
package struct Diagnostic: Sendable, Hashable, CustomStringConvertible {
    package enum Severity: String, Sendable {
        /// The configuration is refused.
        case error
        /// The configuration is used, and somebody should know.
        case warning
    }

    package let severity: Severity
    package let location: Location
    package let reason: String
    package let hint: String?

    package init(
        severity: Severity, location: Location, reason: String, hint: String?
    ) {
        self.severity = severity
        self.location = location
        self.reason = reason
        self.hint = hint
    }

    /// `file:line:column: reason (hint)`
    package var description: String {
        let text = "\(location): \(reason)"
        guard let hint else { return text }
        return "\(text) (\(hint))"
    }
}

/// Why a configuration was refused: at least one diagnostic, in the order of the files.
package struct ConfigError: Error, Sendable, Equatable, CustomStringConvertible {
    /// More are counted, not shown: after twenty, the first ones explain the rest.
    package static let diagnosticsMax = 20

    package let diagnostics: [Diagnostic]
    /// How many further errors were found.
    package let omittedCount: Int

    package init(diagnostics: [Diagnostic], omittedCount: Int = 0) {
        self.diagnostics = diagnostics
        self.omittedCount = omittedCount
    }

    init(_ location: Location, _ reason: String, hint: String? = nil) {
        let diagnostic = Diagnostic(
            severity: .error, location: location, reason: reason, hint: hint)
        self.init(diagnostics: [diagnostic])
    }

    /// One line per diagnostic.
    package var description: String {
        var lines = diagnostics.map(\.description)
        if omittedCount > 0 { lines.append("… and \(omittedCount) more errors") }
        return lines.joined(separator: "\n")
    }
}

/// Collects what is found in one pass over the configuration. Bounded: beyond `keptMax`
/// diagnostics are only counted.
final class DiagnosticCollector {
    private static let keptMax = 1000
    /// In the order in which the files are read: what diagnostics are sorted by.
    private let files: [String]
    private var errors: [Diagnostic] = []
    private var warnings: [Diagnostic] = []
    private var uncounted = 0

    init(files: [String]) {
        self.files = files
    }

    var hasErrors: Bool { !errors.isEmpty }

    /// How many errors there are, counted ones included; that it has grown tells that what was
    /// just read is not to be relied on.
    var errorCount: Int { errors.count + uncounted }

    /// - Parameter hint: made only if the error is kept: finding the nearest name takes a while.
    func error(
        _ location: Location, _ reason: String, hint: @autoclosure () -> String? = nil
    ) {
        guard errors.count < Self.keptMax else {
            uncounted += 1
            return
        }
        errors.append(
            Diagnostic(severity: .error, location: location, reason: reason, hint: hint()))
    }

    func warning(_ location: Location, _ reason: String, hint: String? = nil) {
        guard warnings.count < Self.keptMax else { return }
        warnings.append(
            Diagnostic(severity: .warning, location: location, reason: reason, hint: hint))
    }

    func add(_ error: ConfigError) {
        for diagnostic in error.diagnostics {
            self.error(diagnostic.location, diagnostic.reason, hint: diagnostic.hint)
        }
        uncounted += error.omittedCount
    }

    /// The error to throw; nil if there was none.
    func makeError() -> ConfigError? {
        guard hasErrors else { return nil }
        let sorted = sorted(errors)
        let shown = Array(sorted.prefix(ConfigError.diagnosticsMax))
        return ConfigError(
            diagnostics: shown, omittedCount: sorted.count - shown.count + uncounted)
    }

    func sortedWarnings() -> [Diagnostic] {
        sorted(warnings)
    }

    private func sorted(_ diagnostics: [Diagnostic]) -> [Diagnostic] {
        let order = Dictionary(
            files.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        func position(_ diagnostic: Diagnostic) -> (Int, Int, Int) {
            let location = diagnostic.location
            return (order[location.file] ?? files.count, location.line, location.column)
        }
        return diagnostics.sorted { position($0) < position($1) }
    }
}
