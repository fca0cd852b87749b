internal import Glibc

/// Reads a folder of certificates: `name.pem` (certificate, chain and key in any order) or
/// `name.crt` with `name.key`. Control thread only. A new file takes about 15 µs (P-256), one that
/// has not changed since `previous` about 1.5 µs.
package enum CertificateFolder {
    /// How many new files OpenSSL parses before they are used; the others are indexed only, and
    /// left to `CertificateChecker` in the background.
    package enum Checking: Sendable {
        case all
        /// All if there are at most so many new ones, else none: a start with ten thousand files
        /// must not wait seconds, a reload after one change can afford to know.
        case upTo(Int)
    }

    package static let checkedMax = 256
    private static let filesMax = 100_000

    /// - Parameters:
    ///   - allowsEmpty: a folder without certificates, or none of that name, is a store without
    ///     any.
    ///   - previous: what is in use; its entries are kept where the files have not changed.
    ///   - now: nanoseconds since 1970; files that have changed just before are read again by the
    ///     next load (`FileStamp.isSettled`).
    /// - Returns: `previous` itself if nothing has changed. An entry whose contents are the same
    ///   is the same object.
    /// - Throws: every problem found, in the order of file names; an empty or missing folder too.
    package static func load(
        _ directory: String, allowsEmpty: Bool = false, previous: CertificateStore? = nil,
        checking: Checking = .upTo(checkedMax), now: Int64? = nil
    ) throws(CertificateFolderError) -> CertificateStore {
        if allowsEmpty, access(directory, F_OK) != 0, errno == ENOENT {
            return CertificateStore(entries: [])
        }
        let folder = try open(directory)
        defer { closedir(folder) }
        let descriptor = dirfd(folder)
        // Those made otherwise, in tests, have no files.
        let known = previous?.files.isEmpty == false ? previous?.entries ?? [] : []
        let knownFiles = previous?.files ?? []
        var reader = CertificateReader(
            folder: known.first?.folder == directory ? known[0].folder : directory,
            descriptor: descriptor, chains: ChainTable(known),
            now: now ?? FileStamp.now())
        var entries: [CertificateEntry] = []
        var files: [CertificateFile] = []
        var fresh: [CertificateEntry] = []
        var problems: [CertificateProblem] = []
        var position = 0
        for name in list(folder) {
            // Both lists are in the order of names.
            while position < known.count, known[position].name < name { position += 1 }
            let old =
                position < known.count && known[position].name == name ? known[position] : nil
            if let old, reader.isUnchanged(old, knownFiles[position]) {
                entries.append(old)
                files.append(knownFiles[position])
                continue
            }
            do {
                let (entry, file) = try reader.read(name)
                files.append(file)
                if let old, old.hasSameContents(as: entry) {
                    entries.append(old)
                } else {
                    entries.append(entry)
                    fresh.append(entry)
                }
            } catch {
                problems.append(error)
            }
        }
        if problems.isEmpty, entries.isEmpty, !allowsEmpty {
            problems.append(
                CertificateProblem(
                    file: directory, reason: "no certificate in this folder",
                    hint: "put name.pem, or name.crt and name.key, there"))
        }
        problems += check(fresh, checking)
        guard problems.isEmpty else {
            throw CertificateFolderError(problems: problems.sorted { $0.file < $1.file })
        }
        if let previous, fresh.isEmpty, entries.count == known.count {
            return files == knownFiles ? previous : CertificateStore(previous, files: files)
        }
        return CertificateStore(entries: entries, files: files)
    }

    private static func check(
        _ fresh: [CertificateEntry], _ checking: Checking
    ) -> [CertificateProblem] {
        if case .upTo(let limit) = checking, fresh.count > limit { return [] }
        let checker = CertificateChecker()
        return fresh.compactMap { checker.problem(of: $0, depth: .whole) }
    }

    private static func open(_ directory: String) throws(CertificateFolderError) -> OpaquePointer {
        guard let handle = opendir(directory) else {
            let reason = String(cString: strerror(errno))
            throw CertificateFolderError(problems: [
                CertificateProblem(
                    file: directory, reason: "cannot be opened: \(reason)",
                    hint: "certificates: directory: names it; the proxy's user must be able to "
                        + "read it")
            ])
        }
        return handle
    }

    /// Names of certificate files, sorted.
    private static func list(_ handle: OpaquePointer) -> [String] {
        var names: [String] = []
        while names.count < filesMax, let item = readdir(handle) {
            withUnsafeBytes(of: &item.pointee.d_name) { bytes in
                guard let end = bytes.firstIndex(of: 0), end > 4, bytes[0] != UInt8(ascii: ".")
                else { return }
                let name = UnsafeRawBufferPointer(rebasing: bytes[..<end])
                let suffix = UnsafeRawBufferPointer(rebasing: name[(end - 4)...])
                guard suffix.elementsEqual(".pem".utf8) || suffix.elementsEqual(".crt".utf8)
                else { return }
                names.append(String(decoding: name, as: UTF8.self))
            }
        }
        names.sort()
        return names
    }
}

/// Everything that is wrong with a certificate folder.
package struct CertificateFolderError: Error, Equatable {
    package let problems: [CertificateProblem]
}
