import Glibc

@testable import EdgeConfig

/// Files of the checkout the tests run from.
enum Repository {
    static let root: String = {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return parts.dropLast(3).joined(separator: "/") + "/"
    }()
    static let conf = root + "conf/"
    static let reference = root + "docs/configuration.md"
    /// Whether generated files are to be written anew.
    static var isRecording: Bool { getenv("EDGED_RECORD") != nil }

    struct Failure: Error {
        let path: String
        let number: Int32
    }

    static func bytes(of path: String) throws -> [UInt8] {
        guard let file = fopen(path, "r") else { throw Failure(path: path, number: errno) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
        }
    }

    static func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "w") else { throw Failure(path: path, number: errno) }
        defer { fclose(file) }
        fputs(text, file)
    }

    /// Every file below `folder` whose name ends with `suffix`.
    static func files(under folder: String, suffix: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var found: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasPrefix(".") { continue }
            if entry.pointee.d_type == UInt8(DT_DIR) {
                found += files(under: folder + name + "/", suffix: suffix)
            } else if name.hasSuffix(suffix) {
                found.append(folder + name)
            }
        }
        return found
    }
}

/// A folder that is removed with what the test put into it.
final class TemporaryFolder {
    let path: String
    private var files: [String] = []

    init() {
        var template = Array("/tmp/edged-config-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template)) + "/"
    }

    @discardableResult
    func write(_ text: String, to name: String) throws -> String {
        try Repository.write(text, to: path + name)
        files.append(path + name)
        return path + name
    }

    deinit {
        for file in files { unlink(file) }
        rmdir(path)
    }
}

extension ConfigurationBundle {
    init(_ text: String, included: [String] = []) {
        self.init(
            main: File(path: "main.yaml", bytes: Array(text.utf8)),
            included: included.enumerated().map {
                File(path: "part-\($0 + 1).yaml", bytes: Array($1.utf8))
            })
    }
}

/// What is reported about `bundle`, line by line.
func errors(_ bundle: ConfigurationBundle) -> [String] {
    do throws(ConfigError) {
        _ = try Configuration.load(bundle)
        return []
    } catch {
        return error.diagnostics.map(\.description)
    }
}

func errors(_ text: String) -> [String] { errors(ConfigurationBundle(text)) }

extension String {
    /// The text with every `old` replaced.
    func replacing(_ old: String, with new: String) -> String {
        var output = ""
        var rest = self[...]
        while let first = rest.firstRange(of: old) {
            output += rest[..<first.lowerBound] + new
            rest = rest[first.upperBound...]
        }
        return output + rest
    }
}
