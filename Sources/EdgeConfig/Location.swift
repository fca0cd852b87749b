internal import Synchronization

/// A place in a configuration file. Line and column start at 1 and count characters, as editors do.
/// Twelve plain bytes, because every value of a file has one.
package struct Location: Sendable, Hashable, CustomStringConvertible {
    private let fileNumber: Int32
    private let lineNumber: Int32
    private let columnNumber: Int32

    package init(file: String, line: Int, column: Int) {
        self.init(FileNumber(file), line: line, column: column)
    }

    init(_ file: FileNumber, line: Int, column: Int) {
        fileNumber = file.value
        lineNumber = Int32(clamping: line)
        columnNumber = Int32(clamping: column)
    }

    /// For what concerns a file as a whole.
    static func start(of file: String) -> Location { Location(file: file, line: 1, column: 1) }

    package var file: String { FileNumber(fileNumber).path }
    package var line: Int { Int(lineNumber) }
    package var column: Int { Int(columnNumber) }

    package var description: String { "\(file):\(line):\(column)" }
}

/// Stands for the path of a configuration file, the same number for the same path as long as the
/// process lives. The table grows with each new path only: those of one configuration are at most
/// `ConfigurationBundle.filesMax`.
struct FileNumber: Sendable {
    let value: Int32

    private static let paths = Mutex<[String]>([])

    init(_ value: Int32) { self.value = value }

    init(_ path: String) {
        value = Self.paths.withLock { paths in
            if let known = paths.firstIndex(of: path) { return Int32(known) }
            paths.append(path)
            return Int32(paths.count - 1)
        }
    }

    var path: String { Self.paths.withLock { $0[Int(value)] } }
}
