import Glibc

extension ConfigurationBundle {
    /// Reads the main file and those it includes, each once.
    ///
    /// - Parameter node: what this machine is called; nil: not known.
    /// - Throws: what cannot be read, with the place of the `include:` entry that asked for it,
    ///   and the main file's syntax errors. Everything else about the contents is for
    ///   `Configuration.load(_:)`.
    package static func read(
        path: String, node: String? = nil
    ) throws(ConfigError) -> ConfigurationBundle {
        try readParsing(path: path, node: node).0
    }

    /// As `read(path:)`, with the main file's document, which has to be parsed for its includes.
    ///
    /// - Parameter known: if its main file is the same, it is not parsed, and there is no document.
    static func readParsing(
        path: String, node: String? = nil, known: ReadConfiguration? = nil
    ) throws(ConfigError) -> (ConfigurationBundle, includes: [Located<String>], Document?) {
        let (main, identity) = try read(file: path, at: .start(of: path))
        let document: Document?
        let includes: [Located<String>]
        if let known, known.bundle.main == main {
            document = nil
            includes = known.includes
        } else {
            let parsed = try Document(path: path, bytes: main.bytes)
            document = parsed
            includes = includeEntries(of: parsed.root)
        }
        let diagnostics = DiagnosticCollector(files: [path])
        var inclusion = Inclusion(
            folder: main.folder, diagnostics: diagnostics, main: path,
            places: [identity: Location.start(of: path)])
        for entry in includes { inclusion.include(entry) }
        if let error = diagnostics.makeError() { throw error }
        let bundle = ConfigurationBundle(main: main, included: inclusion.files, node: node)
        return (bundle, includes, document)
    }

    /// The strings of `include:`; what is not a string is for the decoder to report.
    private static func includeEntries(of root: Node) -> [Located<String>] {
        guard case .mapping(let entries) = root.content,
            let value = entries.first(where: { $0.key == "include" })?.value
        else { return [] }
        let nodes: [Node]
        switch value.content {
        case .sequence(let items): nodes = items
        case .scalar: nodes = [value]
        case .mapping: nodes = []
        }
        return nodes.compactMap { node in
            guard case .scalar(let text, _) = node.content, !text.isEmpty,
                !text.utf8.contains(0)
            else { return nil }
            return Located(value: text, location: node.location)
        }
    }

    /// What makes two paths the same file.
    private struct Identity: Hashable {
        let device: UInt
        let number: UInt
    }

    /// The work of following `include:`.
    private struct Inclusion {
        /// Of the main file: what entries are relative to.
        let folder: String
        let diagnostics: DiagnosticCollector
        let main: String
        /// Where each file was first asked for.
        var places: [Identity: Location]
        var files: [File] = []

        mutating func include(_ entry: Located<String>) {
            do throws(ConfigError) {
                for path in try paths(of: entry) {
                    guard files.count < filesMax - 1 else {
                        throw ConfigError(
                            entry.location, "more than \(filesMax) files in one configuration")
                    }
                    try add(path, at: entry.location)
                }
            } catch {
                diagnostics.add(error)
            }
        }

        /// The entry's own path, or what its pattern matches; the folder is never a pattern.
        private func paths(of entry: Located<String>) throws(ConfigError) -> [String] {
            guard entry.value.utf8.contains(where: { "*?[".utf8.contains($0) }) else {
                return [DecodingPass.resolve(entry.value, in: folder)]
            }
            let literal = folder.map { "*?[\\".contains($0) ? "\\\($0)" : String($0) }
            let pattern = DecodingPass.resolve(entry.value, in: literal.joined())
            return try ConfigurationBundle.matches(of: pattern, at: entry.location)
        }

        private mutating func add(_ path: String, at location: Location) throws(ConfigError) {
            let (file, identity) = try ConfigurationBundle.read(file: path, at: location)
            if let first = places[identity] {
                guard first != .start(of: main) else {
                    throw ConfigError(location, "the file includes itself as \(quoted(path))")
                }
                throw ConfigError(
                    location, "\(quoted(path)) is included twice", hint: "first at \(first)")
            }
            places[identity] = location
            files.append(file)
        }
    }

    private static func matches(
        of pattern: String, at location: Location
    ) throws(ConfigError) -> [String] {
        var result = glob_t()
        let status = glob(pattern, GLOB_ERR | GLOB_NOSORT, nil, &result)
        defer { globfree(&result) }
        switch status {
        case 0: break
        case GLOB_NOMATCH: return []
        default:
            throw ConfigError(
                location, "the files of \(quoted(pattern)) cannot be listed",
                hint: "the folder must exist and be readable")
        }
        var paths: [String] = []
        for index in 0..<Int(result.gl_pathc) {
            guard let path = result.gl_pathv[index] else { break }
            paths.append(String(cString: path))
        }
        return paths.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private static func read(
        file path: String, at location: Location
    ) throws(ConfigError) -> (File, Identity) {
        // Not blocking: a FIFO in place of a file must not stop the daemon.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw ConfigError(location, "cannot open \(quoted(path)): \(errorText())")
        }
        defer { _ = close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw ConfigError(location, "cannot examine \(quoted(path)): \(errorText())")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw ConfigError(location, "\(quoted(path)) is not a file")
        }
        // One byte more than allowed tells a file that is too long from one that just fits.
        let bytes = try contents(
            of: descriptor, expected: Int(status.st_size), path: path, at: location)
        guard bytes.count <= fileBytesMax else {
            throw ConfigError(location, "\(quoted(path)) is larger than \(fileBytesMax >> 20) MiB")
        }
        let identity = Identity(device: UInt(status.st_dev), number: UInt(status.st_ino))
        return (File(path: path, bytes: bytes), identity)
    }

    private static func contents(
        of descriptor: Int32, expected: Int, path: String, at location: Location
    ) throws(ConfigError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(min(max(expected, 0), fileBytesMax) + 1)
        // At once, if it has not grown; the second round sees its end.
        let chunkBytes = min(max(expected + 1, 4 << 10), 64 << 10)
        while bytes.count <= fileBytesMax {
            var failure: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: chunkBytes) { buffer, count in
                var moved = Glibc.read(descriptor, buffer.baseAddress, chunkBytes)
                while moved < 0, errno == EINTR {
                    moved = Glibc.read(descriptor, buffer.baseAddress, chunkBytes)
                }
                if moved < 0 { failure = errno }
                count = max(moved, 0)
            }
            guard failure == 0 else {
                throw ConfigError(
                    location, "cannot read \(quoted(path)): \(String(cString: strerror(failure)))")
            }
            if chunk.isEmpty { break }
            bytes += chunk
        }
        return bytes
    }

    private static func errorText() -> String { String(cString: strerror(errno)) }
}
