internal import EdgeConfig
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// `edged --pair-init`: makes this node's key and certificate for the pair link, and pins the
/// other node's certificate. What is there stays unless it is to be replaced; every file is put in
/// place whole, readable by the proxy's group, and a running daemon takes it up by itself.
struct PairInit {
    struct Options: Equatable {
        /// A file with the other node's certificate; nil: none is pinned now.
        var peerCertificate: String?
        /// With `peerCertificate` another pinned certificate, else this node's key and certificate.
        var replaces = false
    }

    /// Why it was not done, a line each; nothing has changed but what was said.
    struct Refusal: Error {
        let lines: [String]

        init(_ lines: String...) { self.lines = lines }
    }

    let pair: Configuration.Pair
    let runAs: Configuration.RunAs?
    let options: Options
    /// fsync(2).
    var synced: (Int32) -> Int32 = { fsync($0) }

    private static let fileBytesMax = 64 << 10

    /// - Returns: what to say.
    func run() throws(Refusal) -> [String] {
        let group = try proxyGroup()
        try makeDirectory(group)
        var lines: [String] = []
        let own = try ownCertificate(group, &lines)
        let peer = try pinned(own, group, &lines)
        lines.append("this node:  \(own)")
        lines.append("            \(pair.certificate)")
        guard let peer else {
            return lines + [
                "other node: not known yet", "",
                "Carry this node's certificate (not the key) to \(pair.peerName), and say there:",
                "    edgectl pair init --peer-certificate FILE",
                "Then the same here with the certificate of \(pair.peerName).",
            ]
        }
        return lines + ["other node: \(peer)", "            \(pair.peerCertificate)"]
    }

    // MARK: - This node

    private func ownCertificate(
        _ group: gid_t?, _ lines: inout [String]
    ) throws(Refusal) -> PinnedIdentity.Fingerprint {
        let isThere = (access(pair.key, F_OK) == 0, access(pair.certificate, F_OK) == 0)
        let replacesOwn = options.replaces && options.peerCertificate == nil
        if isThere == (true, true), !replacesOwn {
            return try fingerprint(pair.certificate)
        }
        guard isThere == (false, false) || options.replaces else {
            let (there, missing) =
                isThere.0 ? (pair.key, pair.certificate) : (pair.certificate, pair.key)
            throw Refusal(
                "\(there) is there, \(missing) is not (edgectl pair init --replace makes both)")
        }
        let made: SelfSignedCertificate
        do throws(TLSFailure) {
            made = try SelfSignedCertificate(name: pair.name.isEmpty ? "edged" : pair.name)
        } catch {
            throw Refusal("no certificate was made: \(error)")
        }
        try write(pair.key, made.keyPEM, mode: group == nil ? 0o600 : 0o640, group)
        try write(pair.certificate, made.certificatePEM, mode: 0o644, group)
        lines.append("made \(pair.key) and \(pair.certificate)")
        return made.fingerprint
    }

    private func fingerprint(
        _ file: String
    ) throws(Refusal) -> PinnedIdentity.Fingerprint {
        do throws(CertificateProblem) {
            return try PinnedIdentity.fingerprint(of: file)
        } catch {
            throw Refusal("\(error)")
        }
    }

    // MARK: - The other node

    /// - Returns: who is pinned; nil: nobody.
    private func pinned(
        _ own: PinnedIdentity.Fingerprint, _ group: gid_t?, _ lines: inout [String]
    ) throws(Refusal) -> PinnedIdentity.Fingerprint? {
        let isThere = access(pair.peerCertificate, F_OK) == 0
        guard let file = options.peerCertificate else {
            return isThere ? try fingerprint(pair.peerCertificate) : nil
        }
        let bytes = try read(file)
        guard !String(decoding: bytes, as: UTF8.self).contains("PRIVATE KEY") else {
            throw Refusal(
                "\(file): this has a private key in it; only the certificate is carried (if it "
                    + "was \(pair.peerName)'s, make another there: edgectl pair init --replace)")
        }
        let theirs: PinnedIdentity.Fingerprint
        do throws(CertificateProblem) {
            theirs = try PinnedIdentity.fingerprint(pem: bytes, file: file)
        } catch {
            throw Refusal("\(error)")
        }
        guard theirs != own else {
            throw Refusal("\(file): this is the node's own certificate (take \(pair.peerName)'s)")
        }
        if isThere, let known = try? fingerprint(pair.peerCertificate) {
            if known == theirs {
                lines.append("it is pinned already")
                return theirs
            }
            guard options.replaces else {
                throw Refusal(
                    "another certificate is pinned: \(known)",
                    "    --replace pins \(theirs) in its place")
            }
        }
        try write(pair.peerCertificate, bytes, mode: 0o644, group)
        lines.append("pinned the certificate of \(pair.peerName)")
        return theirs
    }

    /// Whatever can be read, such as /dev/stdin.
    private func read(_ file: String) throws(Refusal) -> [UInt8] {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Refusal("\(file): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= Self.fileBytesMax {
            let count = Glibc.read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failed("read", file) }
            if count == 0 { return bytes }
            bytes += piece[..<count]
        }
        throw Refusal("\(file): longer than \(Self.fileBytesMax) bytes")
    }

    // MARK: - Files

    /// Whom the files are for; nil: this process's own user.
    private func proxyGroup() throws(Refusal) -> gid_t? {
        guard let runAs, geteuid() == 0 else { return nil }
        if let name = runAs.group {
            guard let entry = getgrnam(name)?.pointee else {
                throw Refusal("no such group: \(name)")
            }
            return entry.gr_gid
        }
        guard let entry = getpwnam(runAs.user)?.pointee else {
            throw Refusal("no such user: \(runAs.user)")
        }
        return entry.pw_gid
    }

    /// Whoever may write there could put another node's certificate in place.
    private func makeDirectory(_ group: gid_t?) throws(Refusal) {
        let path = pair.directory
        let isNew = mkdir(path, 0o750) == 0
        guard isNew || errno == EEXIST else { throw failed("mkdir", path) }
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failed("open", path) }
        defer { close(descriptor) }
        if isNew {
            if let group, fchown(descriptor, 0, group) != 0 { throw failed("chown", path) }
            // The umask may have taken from it what the proxy needs.
            guard fchmod(descriptor, 0o750) == 0 else { throw failed("chmod", path) }
            // Its own name is in the folder above.
            let slash = path.lastIndex(of: "/")
            return try sync(slash.map { String(path[...$0]) } ?? ".")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failed("stat", path) }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            throw Refusal("\(path): it belongs to user \(status.st_uid) (chown root \(path))")
        }
        guard status.st_mode & 0o022 == 0 else {
            throw Refusal("\(path): others may write there (chmod go-w \(path))")
        }
    }

    /// What has been put in place there stays.
    private func sync(_ path: String) throws(Refusal) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failed("open", path) }
        defer { close(descriptor) }
        guard synced(descriptor) == 0 else { throw failed("fsync", path) }
    }

    private func failed(_ call: String, _ path: String) -> Refusal {
        Refusal("\(call) \(path): \(String(cString: strerror(errno)))")
    }

    /// Whole or not at all, also if the power fails.
    private func write(
        _ path: String, _ bytes: [UInt8], mode: mode_t, _ group: gid_t?
    ) throws(Refusal) {
        let draft = path + ".new"
        unlink(draft)
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failed("open", draft) }
        defer { close(descriptor) }
        do throws(SystemError) {
            try Descriptor.writeAll(descriptor, bytes)
        } catch {
            unlink(draft)
            throw Refusal("\(draft): \(error)")
        }
        let isOwned = group.map { fchown(descriptor, 0, $0) == 0 } ?? true
        guard isOwned, fchmod(descriptor, mode) == 0, synced(descriptor) == 0,
            rename(draft, path) == 0
        else {
            let refusal = failed("write", path)
            unlink(draft)
            throw refusal
        }
        try sync(pair.directory)
    }
}
