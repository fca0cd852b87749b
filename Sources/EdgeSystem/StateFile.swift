internal import CEdge
internal import EdgeCore
internal import Glibc

/// Why a state file is not used, or was not written.
package enum StateFileError: Error, Equatable, CustomStringConvertible {
    /// Not one of ours.
    case foreign
    /// Of a later version than this one.
    case tooNew(version: UInt16)
    /// Longer than its bound.
    case tooLarge
    /// Cut short, or bytes have changed.
    case damaged
    case system(SystemError)

    package var description: String {
        switch self {
        case .foreign: "not a state file of this kind"
        case .tooNew(let version): "written by a later version (\(version))"
        case .tooLarge: "too large"
        case .damaged: "damaged"
        case .system(let error): "\(error)"
        }
    }
}

/// One file in the state folder: replaced as a whole or not at all, and refused unless every byte
/// is as it was written.
///
/// The bytes: `EDGESTAT`, the kind (8 bytes), the content's version (2), two zeros, the content's
/// length (4) and the CRC-32C of all before and behind it (4), all big-endian; then the content.
package struct StateFile: Sendable {
    package let path: String
    private let directory: String
    private let kind: [UInt8]
    private let version: UInt16

    /// Of the whole file.
    package static let byteCountMax = 1 << 20
    package static let contentMax = byteCountMax - headerBytes
    private static let headerBytes = 28
    private static let magic = Array("EDGESTAT".utf8)

    /// - Parameters:
    ///   - kind: at most 8 bytes, says what the content is.
    ///   - version: of the content. Older ones are read too: `read` says which it is.
    package init(directory: String, name: String, kind: String, version: UInt16) {
        self.directory = directory
        path = directory + "/" + name
        let bytes = Array(kind.utf8.prefix(8))
        self.kind = bytes + [UInt8](repeating: 0, count: 8 - bytes.count)
        self.version = version
    }

    // MARK: - Reading

    /// - Returns: nil if there is no such file.
    package func read() throws(StateFileError) -> (version: UInt16, content: [UInt8])? {
        let fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard fd >= 0 else {
            if errno == ENOENT { return nil }
            throw failed("open")
        }
        let file = FileDescriptor(owning: fd)
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Descriptor.readAll(file.raw, byteCountMax: Self.byteCountMax)
        } catch {
            throw .system(error)
        }
        guard let bytes else { throw .tooLarge }
        return try decode(bytes)
    }

    /// The content of a file's bytes. Whose file it is is looked at before its checksum.
    package func decode(
        _ bytes: [UInt8]
    ) throws(StateFileError) -> (version: UInt16, content: [UInt8]) {
        guard bytes.starts(with: Self.magic) else {
            throw Self.magic.starts(with: bytes) ? .damaged : .foreign
        }
        guard bytes.count >= Self.headerBytes else { throw .damaged }
        guard bytes.count <= Self.byteCountMax else { throw .tooLarge }
        guard bytes[8..<16].elementsEqual(kind) else { throw .foreign }
        let content = bytes[Self.headerBytes...]
        let found = bytes[16..<18].reduce(0) { $0 << 8 | UInt16($1) }
        let length = bytes[20..<24].reduce(0) { $0 << 8 | Int($1) }
        let sum = bytes[24..<28].reduce(0) { $0 << 8 | UInt32($1) }
        guard length == content.count, bytes[18] == 0, bytes[19] == 0,
            sum == CRC32C.checksum(bytes[..<24], content)
        else { throw .damaged }
        guard found <= version else { throw .tooNew(version: found) }
        return (found, Array(content))
    }

    /// Keeps a file that is refused as `NAME.bad`, unless there is one already.
    ///
    /// - Returns: whether it was moved away.
    package func setAside() -> Bool {
        // Unlike rename, a link never replaces what is there.
        guard link(path, path + ".bad") == 0 else { return false }
        return unlink(path) == 0
    }

    // MARK: - Writing

    package func encode(_ content: [UInt8]) -> [UInt8] {
        var header = Self.magic + kind
        withUnsafeBytes(of: version.bigEndian) { header += $0 }
        header += [0, 0]
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: content.count).bigEndian) { header += $0 }
        withUnsafeBytes(of: CRC32C.checksum(header[...], content[...]).bigEndian) { header += $0 }
        return header + content
    }

    /// Replaces the file; a crash leaves the old one or the new one. Waits for the disk: not on a
    /// thread that others wait for. Writers of one folder, also of other processes, take turns.
    package func write(_ content: [UInt8]) throws(StateFileError) {
        guard content.count <= Self.contentMax else { throw .tooLarge }
        let number = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard number >= 0 else { throw failed("open", directory) }
        // Closing it ends the turn. File systems without locks have one writer but for upgrades.
        let folder = FileDescriptor(owning: number)
        while flock(folder.raw, LOCK_EX) != 0, errno == EINTR {}
        let temporary = path + ".tmp"
        _ = unlink(temporary)
        let fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard fd >= 0 else { throw failed("open", temporary) }
        do throws(StateFileError) {
            let file = FileDescriptor(owning: fd)
            do throws(SystemError) {
                try Descriptor.writeAll(file.raw, encode(content))
            } catch {
                throw .system(error)
            }
            guard fsync(file.raw) == 0 else { throw failed("fsync", temporary) }
            guard rename(temporary, path) == 0 else { throw failed("rename") }
        } catch {
            _ = unlink(temporary)
            throw error
        }
        // The name, too, has to be on the disk.
        guard fsync(folder.raw) == 0 else { throw failed("fsync", directory) }
    }

    private func failed(_ call: String, _ subject: String? = nil) -> StateFileError {
        .system(SystemError(errnoOf: call, subject: subject ?? path))
    }
}

/// CRC-32C (Castagnoli; RFC 3720 §12.1), bit by bit from a table: for a file now and then.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in
            value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1
        }
    }

    /// Of both, one behind the other.
    static func checksum(_ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>) -> UInt32 {
        let table = table
        var value = UInt32.max
        for bytes in [first, second] {
            for byte in bytes {
                value = value >> 8 ^ table[Int(UInt8(truncatingIfNeeded: value) ^ byte)]
            }
        }
        return ~value
    }
}
