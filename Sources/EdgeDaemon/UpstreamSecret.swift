internal import EdgeCore
internal import EdgeSystem
internal import EdgeUpstream

/// The key of what clients are told of members (sticky cookies) and of the hash policy. Kept in the
/// state folder, so that cookies and keys mean the same members after a restart; without that
/// folder it is new with each process. Nodes agree where they have the same file.
enum UpstreamSecret {
    private static let byteCount = 16

    static func file(_ directory: String) -> StateFile {
        StateFile(directory: directory, name: "secret", kind: "secret", version: 1)
    }

    /// Read once, at the start. A new one is written behind the caller's back: disks may hang.
    ///
    /// - Parameter directory: the state folder; nil: there is none.
    static func load(_ directory: String?) -> KeyedHash {
        guard let directory else { return random() }
        let file = file(directory)
        do throws(StateFileError) {
            if let (_, content) = try file.read() {
                guard let hash = decode(content) else { throw .damaged }
                return hash
            }
        } catch {
            let isKept = file.setAside()
            Log.error(
                "sticky cookies and hash keys begin anew",
                [
                    "file": file.path, "error": "\(error)",
                    "kept": isKept ? file.path + ".bad" : "no",
                ])
        }
        let content = (0..<byteCount).map { _ in UInt8.random(in: 0...255) }
        guard let hash = decode(content) else { return random() }
        keep(content, in: file)
        return hash
    }

    static func random() -> KeyedHash {
        KeyedHash(key0: .random(in: 0...UInt64.max), key1: .random(in: 0...UInt64.max))
    }

    /// nil: they are not as many bytes as we write.
    static func decode(_ content: [UInt8]) -> KeyedHash? {
        guard content.count == byteCount else { return nil }
        let words = [content[..<8], content[8...]].map { $0.reduce(0) { $0 << 8 | UInt64($1) } }
        return KeyedHash(key0: words[0], key1: words[1])
    }

    /// The one write, on a thread of its own.
    private static func keep(_ content: [UInt8], in file: StateFile) {
        do throws(SystemError) {
            try BackgroundThread.start {
                do throws(StateFileError) {
                    try file.write(content)
                } catch {
                    notKept(file, "\(error)")
                }
            }
        } catch {
            notKept(file, "\(error)")
        }
    }

    private static func notKept(_ file: StateFile, _ error: String) {
        Log.error(
            "the key of sticky cookies is not kept for the next start",
            ["file": file.path, "error": error])
    }
}
