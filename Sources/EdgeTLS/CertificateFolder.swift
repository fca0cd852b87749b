internal import Glibc

/// Reads a folder of certificates (`FolderListing` says which files). A new file takes about 15 µs
/// (P-256), one that has not changed since `previous` about 3 µs. Any thread.
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

    package struct Request: Sendable {
        package let directory: String
        /// Sub-folders that are views' own.
        package var others: Set<String> = []
        /// A folder without certificates, or none of that name, is a store without any.
        package var allowsEmpty = false
        /// What is in use; its entries are kept where the files have not changed, and where what
        /// has come cannot be used.
        package var previous: CertificateStore?
        package var checking = Checking.upTo(checkedMax)
        /// Nanoseconds since 1970; files that have changed just before are read again by the next
        /// load (`FileStamp.isSettled`).
        package var now: Int64?
        /// Names of entries of the old store that must not go, by what would be served without
        /// them. Asked only if something else would be served.
        package var keeps: (@Sendable (CertificateStore, _ old: CertificateStore) -> Set<String>)?

        package init(_ directory: String) { self.directory = directory }
    }

    /// What a folder holds now.
    package struct Scan: Sendable {
        /// `previous` itself if nothing has changed. An entry whose contents are the same is the
        /// same object.
        package let store: CertificateStore
        /// What is wrong with the folder as a whole; the store is then what was in use.
        package let problem: CertificateProblem?
        /// Sub-folders, by their whole path.
        package let folders: [String]
    }

    /// - Throws: every problem found, in the order of file names; an empty or missing folder too.
    package static func load(
        _ directory: String, allowsEmpty: Bool = false, previous: CertificateStore? = nil,
        checking: Checking = .upTo(checkedMax), now: Int64? = nil
    ) throws(CertificateFolderError) -> CertificateStore {
        var request = Request(directory)
        request.allowsEmpty = allowsEmpty
        request.previous = previous
        request.checking = checking
        request.now = now
        return try load(request)
    }

    /// - Throws: as above.
    package static func load(
        _ request: Request
    ) throws(CertificateFolderError) -> CertificateStore {
        let scan = scan(request)
        let problems = scan.store.quarantine.map(\.problem) + (scan.problem.map { [$0] } ?? [])
        guard problems.isEmpty else {
            throw CertificateFolderError(problems: problems.sorted { $0.file < $1.file })
        }
        return scan.store
    }

    /// Uses what can be used; what cannot is in the store's quarantine.
    package static func scan(_ request: Request) -> Scan {
        let directory = request.directory
        let unread = request.previous ?? CertificateStore(entries: [])
        guard let folder = opendir(directory) else {
            let code = errno
            if request.allowsEmpty, code == ENOENT {
                return Scan(store: gone(request), problem: nil, folders: [])
            }
            let problem = CertificateProblem(
                .folder, file: directory,
                reason: "cannot be opened: \(String(cString: strerror(code)))",
                hint: "certificates: directory: names it; the proxy's user must be able to "
                    + "read it")
            return Scan(store: unread, problem: problem, folders: [])
        }
        defer { closedir(folder) }
        let listing = FolderListing(folder, without: request.others)
        var scanner = FolderScanner(request, descriptor: dirfd(folder))
        for drop in listing.drops { scanner.visit(drop) }
        let store = scanner.finish()
        var problem: CertificateProblem?
        if store.entries.isEmpty, store.quarantine.isEmpty, !request.allowsEmpty {
            problem = CertificateProblem(
                .folder, file: directory, reason: "no certificate in this folder",
                hint: "put name.pem, or name.crt and name.key, there")
        }
        return Scan(
            store: store, problem: problem, folders: listing.folders.map { "\(directory)/\($0)" })
    }

    /// One certificate of a folder, with the key in it or beside it, checked as a whole.
    ///
    /// - Parameter file: of any name; the key of `name.pem` and the like is where a drop has it.
    package static func scan(file: String) -> Scan {
        let slash = file.lastIndex(of: "/")
        let directory = slash.map { String(file[..<$0]) } ?? "."
        let name = slash.map { String(file[file.index(after: $0)...]) } ?? file
        var request = Request(directory.isEmpty ? "/" : directory)
        request.checking = .all
        guard let folder = opendir(request.directory) else {
            return Scan(
                store: CertificateStore(entries: []),
                problem: CertificateProblem(
                    .folder, file: directory,
                    reason: "cannot be opened: \(String(cString: strerror(errno)))",
                    hint: "is it there, and may you read it?"), folders: [])
        }
        defer { closedir(folder) }
        let listed = FolderListing(folder, without: []).drops.first { $0.name == name }
        var scanner = FolderScanner(request, descriptor: dirfd(folder))
        scanner.visit(listed ?? CertificateDrop(name: name, keyName: nil))
        return Scan(store: scanner.finish(), problem: nil, folders: [])
    }

    /// The folder itself is not there.
    private static func gone(_ request: Request) -> CertificateStore {
        guard let previous = request.previous, !previous.entries.isEmpty else {
            return CertificateStore(entries: [])
        }
        var scanner = FolderScanner(request, descriptor: -1)
        return scanner.finish()
    }
}
