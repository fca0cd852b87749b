internal import EdgeConfig

/// A configuration is accepted or refused with the places to look at, and read twice it means the
/// same.
enum ConfigurationTarget {
    /// Between the main file and those it includes.
    private static let separator = Array("\n%%%\n".utf8)

    static func run(_ input: FuzzInput) throws(Finding) {
        let texts = split(input.bytes).prefix(8)
        let files = texts.enumerated().map { index, text in
            ConfigurationBundle.File(
                path: index == 0 ? "main.yaml" : "part-\(index).yaml", bytes: Array(text))
        }
        let bundle = ConfigurationBundle(main: files[0], included: Array(files.dropFirst()))
        let first = load(bundle)
        try hold(first == load(bundle), "the same twice")
        switch first {
        case .success(let loaded):
            for warning in loaded.warnings { try check(warning, files) }
        case .failure(let error):
            try hold(
                (1...ConfigError.diagnosticsMax).contains(error.diagnostics.count),
                "\(error.diagnostics.count) errors are shown")
            for diagnostic in error.diagnostics { try check(diagnostic, files) }
        }
    }

    private struct Loaded: Equatable {
        let configuration: Configuration
        let warnings: [Diagnostic]
    }

    private static func load(_ bundle: ConfigurationBundle) -> Result<Loaded, ConfigError> {
        do throws(ConfigError) {
            let (configuration, warnings) = try Configuration.load(bundle)
            return .success(Loaded(configuration: configuration, warnings: warnings))
        } catch {
            return .failure(error)
        }
    }

    /// A finding says where, in a file that is there, and why, in one line.
    private static func check(
        _ diagnostic: Diagnostic, _ files: [ConfigurationBundle.File]
    ) throws(Finding) {
        guard let file = files.first(where: { $0.path == diagnostic.location.file }) else {
            throw Finding("in no file: \(diagnostic)")
        }
        // Breaks that YAML 1.1 counts: LF, CR, and those beyond ASCII by their last byte.
        let breaks = file.bytes.count { [0x0A, 0x0D, 0x85, 0xA8, 0xA9].contains($0) }
        try hold(
            (1...breaks + 1).contains(diagnostic.location.line)
                && (1...file.bytes.count + 1).contains(diagnostic.location.column),
            "outside of its file: \(diagnostic)")
        try hold(
            !diagnostic.reason.isEmpty
                && !diagnostic.description.utf8.contains { $0 == 10 || $0 == 13 || $0 == 0 },
            "not one line: \(diagnostic)")
    }

    private static func split(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var parts: [ArraySlice<UInt8>] = []
        var start = 0
        var index = 0
        while index + separator.count <= bytes.count {
            if bytes[index..<index + separator.count].elementsEqual(separator) {
                parts.append(bytes[start..<index])
                index += separator.count
                start = index
            } else {
                index += 1
            }
        }
        return parts + [bytes[start...]]
    }
}
