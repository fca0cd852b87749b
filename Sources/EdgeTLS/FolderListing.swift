internal import Glibc

/// What one certificate is read from, by names in its folder.
struct CertificateDrop: Equatable, Sendable {
    /// The file with the certificate: `app.pem`, or `app/fullchain.pem`.
    let name: String
    /// Where the key is if it is not with the certificate; nil: it must be.
    let keyName: String?
}

/// What a folder holds, by names alone. These are read:
///
/// - `name.pem`; its key within, or in `name.pem.key` (as HAProxy has it) or `name.key`
/// - `name.crt` with `name.key`; of `tls.crt`, `ca.crt` beside it is left alone (Kubernetes)
/// - `fullchain.pem` with `privkey.pem`; `cert.pem` and `chain.pem` beside it are left alone
///   (certbot)
/// - a sub-folder with `fullchain.pem` or `tls.crt`, as the two above
///
/// Names with a dot in front, such as Kubernetes' `..data`, are not looked at.
struct FolderListing {
    /// In the order of their names.
    let drops: [CertificateDrop]
    /// Names of sub-folders, whatever is in them, links to folders too.
    let folders: [String]

    private static let namesMax = 200_000
    private static let fullChain = "fullchain.pem"
    private static let kubernetes = "tls.crt"

    /// - Parameters:
    ///   - handle: the open folder.
    ///   - others: sub-folders that are not this one's business: views' own.
    init(_ handle: OpaquePointer, without others: Set<String>) {
        var names: [String] = []
        var keys: Set<String> = []
        var folders: [String] = []
        var count = 0
        while count < Self.namesMax, let item = readdir(handle) {
            count += 1
            let type = item.pointee.d_type
            withUnsafeBytes(of: &item.pointee.d_name) { bytes in
                guard let end = bytes.firstIndex(of: 0), end > 0, bytes[0] != UInt8(ascii: ".")
                else { return }
                let name = UnsafeRawBufferPointer(rebasing: bytes[..<end])
                let suffix = UnsafeRawBufferPointer(rebasing: name.suffix(4))
                if end > 4, suffix.elementsEqual(".pem".utf8) || suffix.elementsEqual(".crt".utf8) {
                    names.append(String(decoding: name, as: UTF8.self))
                } else if end > 4, suffix.elementsEqual(".key".utf8) {
                    keys.insert(String(decoding: name, as: UTF8.self))
                } else if type != DT_REG {
                    folders.append(String(decoding: name, as: UTF8.self))
                }
            }
        }
        let folder = dirfd(handle)
        folders.removeAll { others.contains($0) || !Self.isFolder($0, in: folder) }
        folders.sort()
        var drops = Self.drops(names, keys)
        for name in folders {
            for (file, key) in [(Self.fullChain, "privkey.pem"), (Self.kubernetes, "tls.key")]
            where faccessat(folder, "\(name)/\(file)", F_OK, 0) == 0 {
                drops.append(CertificateDrop(name: "\(name)/\(file)", keyName: "\(name)/\(key)"))
            }
        }
        drops.sort { $0.name < $1.name }
        self.drops = drops
        self.folders = folders
    }

    private static func isFolder(_ name: String, in folder: Int32) -> Bool {
        var status = stat()
        return fstatat(folder, name, &status, 0) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Of the folder itself.
    private static func drops(_ names: [String], _ keys: Set<String>) -> [CertificateDrop] {
        var ignored: Set<String> = ["privkey.pem"]
        if names.contains(fullChain) { ignored.formUnion(["cert.pem", "chain.pem"]) }
        if names.contains(kubernetes) { ignored.insert("ca.crt") }
        var pairs: Set<String> = []
        for name in names where name.hasSuffix(".crt") { pairs.insert(String(name.dropLast(4))) }
        return names.compactMap { name in
            if ignored.contains(name) { return nil }
            if name == fullChain { return CertificateDrop(name: name, keyName: "privkey.pem") }
            let stem = String(name.dropLast(4))
            if name.hasSuffix(".crt") {
                return CertificateDrop(name: name, keyName: stem + ".key")
            }
            guard !keys.isEmpty else { return CertificateDrop(name: name, keyName: nil) }
            if keys.contains(name + ".key") {
                return CertificateDrop(name: name, keyName: name + ".key")
            }
            let other = stem + ".key"
            let isOwn = keys.contains(other) && !pairs.contains(stem)
            return CertificateDrop(name: name, keyName: isOwn ? other : nil)
        }
    }
}
