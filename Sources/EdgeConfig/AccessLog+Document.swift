extension Configuration.AccessLog {
    private enum Choice: String {
        case no, yes
    }

    /// The word that stands for standard output instead of a file.
    private static let standardOutput = "stdout"

    static func decode(_ section: Section?) -> Configuration.AccessLog? {
        guard let section else { return nil }
        let path = section.path("path")
        let format = section.choice("format", as: Format.self) ?? .json
        let isStandardOutput = path?.value == section.pass.resolve(standardOutput)
        return Self(
            path: isStandardOutput ? nil : path?.value, format: format,
            sample: section.integer("sample") ?? 1, bufferBytes: section.size("buffer"),
            includesQuery: section.choice("query", as: Choice.self) == .yes)
    }
}
