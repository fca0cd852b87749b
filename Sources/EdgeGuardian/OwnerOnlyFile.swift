package import EdgeConfig
internal import EdgeSystem
internal import Glibc

/// Files of the operator's that decide what this process does with its rights: they are used only
/// if nobody could have changed them who does not have those rights anyway.
package enum OwnerOnlyFile {
    /// Of a secret, without the newline at its end.
    static let secretBytes = 16...1024

    /// What is wrong with the files that failover names, a line each. As root it is judged as a
    /// start would.
    package static func problems(of failover: Configuration.Failover?) -> [String] {
        guard let failover else { return [] }
        var problems: [String] = []
        do throws(ConfigurationRefusal) {
            _ = try secret(of: failover)
        } catch { problems += error.diagnostics }
        do throws(ConfigurationRefusal) {
            _ = try acceptedSecret(of: failover)
        } catch { problems += error.diagnostics }
        if let hook = failover.hook, let problem = problem(ofProgram: hook) {
            problems.append("failover.on_change: \(problem)")
        }
        return problems
    }

    /// What presence is authenticated with; nil: it is not.
    static func secret(
        of failover: Configuration.Failover
    ) throws(ConfigurationRefusal) -> [UInt8]? {
        guard let path = failover.secret else { return nil }
        return try read(path, "failover.secret")
    }

    /// What presence is believed with besides; nil: nothing.
    static func acceptedSecret(
        of failover: Configuration.Failover
    ) throws(ConfigurationRefusal) -> [UInt8]? {
        guard let path = failover.acceptedSecret else { return nil }
        return try read(path, "failover.accepted_secret")
    }

    private static func read(
        _ path: String, _ key: String
    ) throws(ConfigurationRefusal) -> [UInt8] {
        func refused(_ why: String) -> ConfigurationRefusal {
            ConfigurationRefusal(["\(key): \(path): \(why)"])
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw refused(String(cString: strerror(errno))) }
        let file = FileDescriptor(owning: descriptor)
        var status = stat()
        guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw refused("it is not a file")
        }
        guard isOurs(status) else { throw refused("it is another user's (chown root)") }
        guard status.st_mode & 0o077 == 0 else {
            throw refused("others may read it (chmod 600)")
        }
        var bytes: [UInt8] = []
        do {
            bytes = try Descriptor.readAll(file.raw, byteCountMax: 4096) ?? []
        } catch { throw refused("\(error)") }
        while let last = bytes.last, last == 0x0A || last == 0x0D { bytes.removeLast() }
        guard secretBytes.contains(bytes.count) else {
            throw refused(
                "it has \(bytes.count) bytes, not \(secretBytes.lowerBound) to "
                    + "\(secretBytes.upperBound) (openssl rand -hex 32)")
        }
        return bytes
    }

    /// Why a program is not run with our rights; nil: it may be.
    static func problem(ofProgram path: String) -> String? {
        var status = stat()
        guard path.hasPrefix("/") else { return "\(path): it is no absolute path" }
        guard stat(path, &status) == 0 else {
            return "\(path): \(String(cString: strerror(errno)))"
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return "\(path): it is not a file" }
        guard status.st_mode & 0o111 != 0 else {
            return "\(path): it cannot be run (chmod 755)"
        }
        if let problem = problem(path, status) { return problem }
        // Links are as good as those who may put others in their place.
        var place = path
        for _ in 0..<Self.linksMax {
            let end = place.lastIndex(of: "/") ?? place.startIndex
            let folder = end == place.startIndex ? "/" : String(place[..<end])
            guard let real = realPath(folder) else { return "\(folder): it is not there" }
            if let problem = problem(ofFoldersOf: place) { return problem }
            if let problem = problem(ofFoldersOf: real + "/x") { return problem }
            guard let target = linkTarget(place) else { return nil }
            guard isEntryOurs(place) else {
                return "\(place): it is another user's (chown -h root)"
            }
            place = target.hasPrefix("/") ? target : real + "/" + target
        }
        return "\(path): too many links"
    }

    private static let linksMax = 8

    /// Without links; nil: it is not there.
    private static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Nil: it is no link.
    private static func linkTarget(_ path: String) -> String? {
        var characters = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &characters, characters.count)
        guard count > 0 else { return nil }
        return String(decoding: characters[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Who may rename it may replace it.
    private static func problem(ofFoldersOf path: String) -> String? {
        var status = stat()
        var folder = path
        while let slash = folder.lastIndex(of: "/"), folder != "/" {
            folder = slash == folder.startIndex ? "/" : String(folder[..<slash])
            guard stat(folder, &status) == 0 else {
                return "\(folder): \(String(cString: strerror(errno)))"
            }
            guard isEntryOurs(folder) else {
                return "\(folder): it is another user's (chown -h root)"
            }
            // In a folder with the sticky bit only owners rename (inode(7)).
            if status.st_mode & S_IFMT == S_IFDIR, status.st_mode & 0o1000 != 0, isOurs(status) {
                continue
            }
            if let problem = problem(folder, status) { return problem }
        }
        return nil
    }

    /// Of a link: the link's owner, who may replace it in any folder.
    private static func isEntryOurs(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && isOurs(status)
    }

    private static func problem(_ path: String, _ status: stat) -> String? {
        guard isOurs(status) else { return "\(path): it is another user's (chown root)" }
        guard status.st_mode & 0o022 == 0 else {
            return "\(path): others may write it (chmod go-w)"
        }
        return nil
    }

    /// Root's, or this process's user's.
    private static func isOurs(_ status: stat) -> Bool {
        status.st_uid == 0 || status.st_uid == geteuid()
    }
}
