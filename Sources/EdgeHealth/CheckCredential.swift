internal import CEdge
internal import EdgeSystem
internal import Glibc

/// What a check proves itself with. Prints as one word: a token is in no log.
package struct CheckCredential: Sendable {
    let token: String?
    /// Why there is no token although a file is named.
    let trouble: String?
    let showsCertificate: Bool

    package static let none = CheckCredential(token: nil, trouble: nil, showsCertificate: false)

    private init(token: String?, trouble: String?, showsCertificate: Bool) {
        self.token = token
        self.trouble = trouble
        self.showsCertificate = showsCertificate
    }

    /// Reads the first line of a file of at most `fileBytesMax`; whoever renews a token writes the
    /// file, so it is read for each check. One that can't be read is no failure of the member's:
    /// the check goes without, and what it is answered is explained by `trouble`.
    package init(tokenFile: String?, showsCertificate: Bool) {
        guard let tokenFile else {
            self.init(token: nil, trouble: nil, showsCertificate: showsCertificate)
            return
        }
        do {
            let token = try Self.read(tokenFile)
            self.init(token: token, trouble: nil, showsCertificate: showsCertificate)
        } catch {
            self.init(
                token: nil, trouble: "token file \(error.reason)",
                showsCertificate: showsCertificate)
        }
    }

    private static let fileBytesMax = 64 << 10

    private struct Trouble: Error { let reason: String }

    private static func read(_ path: String) throws(Trouble) -> String {
        // Does not wait, should it be a pipe.
        let number = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard number >= 0 else { throw Trouble(reason: "cannot be read (\(errorName(errno)))") }
        let file = FileDescriptor(owning: number)
        var status = stat()
        guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Trouble(reason: "is no file")
        }
        let bytes: [UInt8]?
        do {
            bytes = try Descriptor.readAll(file.raw, byteCountMax: fileBytesMax)
        } catch {
            throw Trouble(reason: "cannot be read (\(error.name))")
        }
        guard let bytes else { throw Trouble(reason: "is too long") }
        var line = bytes.prefix { $0 != UInt8(ascii: "\n") }
        while let last = line.last, last == 0x20 || last == 0x0D || last == 0x09 {
            line.removeLast()
        }
        guard !line.isEmpty else { throw Trouble(reason: "is empty") }
        // RFC 6750 §2.1 allows fewer; what would end the field or the line is refused.
        guard line.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw Trouble(reason: "holds no token")
        }
        return String(decoding: line, as: UTF8.self)
    }
}

extension CheckCredential: CustomStringConvertible, CustomDebugStringConvertible {
    package var description: String { "credential" }
    package var debugDescription: String { description }
}
