/// The exact bytes of a configuration: the main file and those it includes. The guardian reads
/// them once and hands them on in a sealed memfd, so that both processes check the same bytes.
/// With them goes which node this is: all else that a configuration depends on.
package struct ConfigurationBundle: Sendable, Equatable {
    package static let fileBytesMax = 4 << 20
    package static let filesMax = 64

    package struct File: Sendable, Equatable {
        /// As messages show it.
        package let path: String
        package let bytes: [UInt8]

        package init(path: String, bytes: [UInt8]) {
            self.path = path
            self.bytes = bytes
        }

        /// The path up to the last slash, without it; empty for a file of the current folder.
        package var folder: String {
            guard let slash = path.lastIndex(of: "/") else { return "" }
            return slash == path.startIndex ? "/" : String(path[..<slash])
        }
    }

    package let main: File
    /// In the order in which they were included.
    package let included: [File]
    /// What this machine is called, by itself or by `--node`; nil: not known.
    package let node: String?

    package init(main: File, included: [File] = [], node: String? = nil) {
        self.main = main
        self.included = included
        self.node = node
    }

    package var files: [File] { [main] + included }
}

// MARK: - Encoding

/// Little-endian: magic, version, number of files; from version 2 on the length of the node's name
/// and the name; then per file the lengths of path and contents, the path, the contents. Nothing
/// follows the last file. Without a node it is version 1.
extension ConfigurationBundle {
    private static let magic: [UInt8] = Array("EDGEDCFG".utf8)
    private static let versions: ClosedRange<UInt32> = 1...2
    private static let pathBytesMax = 4096
    private static let nodeBytesMax = 255
    private static let headerBytes = 16 + 4 + nodeBytesMax
    /// What an encoded bundle can be at most.
    static let encodedBytesMax = headerBytes + filesMax * (8 + pathBytesMax + fileBytesMax)

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        let contents = files.reduce(0) { $0 + 8 + $1.path.utf8.count + $1.bytes.count }
        output.reserveCapacity(Self.headerBytes + contents)
        output += Self.magic
        Self.append(node == nil ? 1 : 2, to: &output)
        Self.append(UInt32(files.count), to: &output)
        if let node {
            let name = node.utf8.prefix(Self.nodeBytesMax)
            Self.append(UInt32(name.count), to: &output)
            output += name
        }
        for file in files {
            Self.append(UInt32(file.path.utf8.count), to: &output)
            Self.append(UInt32(file.bytes.count), to: &output)
            output += file.path.utf8
            output += file.bytes
        }
        return output
    }

    /// - Throws: anything but what `encode()` of this version makes is refused.
    package init(decoding input: UnsafeRawBufferPointer) throws(ConfigError) {
        var reader = Reader(input: input)
        guard try reader.bytes(Self.magic.count).elementsEqual(Self.magic) else {
            throw Reader.error("is not one")
        }
        let version = try reader.number()
        guard let version = UInt32(exactly: version), Self.versions.contains(version) else {
            throw Reader.error("has version \(version), expected \(Self.versions.upperBound)")
        }
        let count = try reader.number()
        guard (1...Self.filesMax).contains(count) else {
            throw Reader.error("has \(count) files, expected 1 to \(Self.filesMax)")
        }
        var node: String?
        if version > 1 {
            let nodeCount = try reader.number()
            guard nodeCount <= Self.nodeBytesMax,
                let name = String(validating: try reader.bytes(nodeCount), as: UTF8.self)
            else { throw Reader.error("has a node without a name") }
            node = name
        }
        var files: [File] = []
        for _ in 0..<count {
            let pathCount = try reader.number()
            let byteCount = try reader.number()
            guard (1...Self.pathBytesMax).contains(pathCount), byteCount <= Self.fileBytesMax else {
                throw Reader.error("has a file of impossible size")
            }
            guard let path = String(validating: try reader.bytes(pathCount), as: UTF8.self) else {
                throw Reader.error("has a path that is not UTF-8")
            }
            files.append(File(path: path, bytes: Array(try reader.bytes(byteCount))))
        }
        guard reader.isAtEnd else { throw Reader.error("goes on after its last file") }
        self.init(main: files[0], included: Array(files.dropFirst()), node: node)
    }

    /// Of what the files say (FNV-1a), so that nodes with the same ones have the same, wherever
    /// they are.
    package var fingerprint: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        for file in files {
            withUnsafeBytes(of: UInt64(file.bytes.count).littleEndian) {
                for byte in $0 { add(byte) }
            }
            for byte in file.bytes { add(byte) }
        }
        return hash
    }

    private static func append(_ number: UInt32, to output: inout [UInt8]) {
        withUnsafeBytes(of: number.littleEndian) { output += $0 }
    }

    private struct Reader {
        let input: UnsafeRawBufferPointer
        var offset = 0

        var isAtEnd: Bool { offset == input.count }

        mutating func bytes(_ count: Int) throws(ConfigError) -> Slice<UnsafeRawBufferPointer> {
            guard count <= input.count - offset else { throw Self.error("is cut off") }
            defer { offset += count }
            return input[offset..<offset + count]
        }

        mutating func number() throws(ConfigError) -> Int {
            let bytes = try bytes(4)
            return bytes.reversed().reduce(0) { $0 << 8 | Int($1) }
        }

        static func error(_ reason: String) -> ConfigError {
            ConfigurationBundle.error("the configuration bundle \(reason)")
        }
    }

    /// About the bundle itself, which is no file with lines.
    static func error(_ reason: String) -> ConfigError {
        ConfigError(.start(of: "<bundle>"), reason, hint: "both processes must be of one version")
    }
}
