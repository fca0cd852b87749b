internal import CEdge
internal import EdgeHTTP
internal import Glibc

/// Reads a folder of error pages: `503.html`, `4xx.json`. Control thread.
enum ErrorPageFolder {
    /// Names that a folder can hold: 200 statuses and two hundreds.
    private static let filesMax = 202

    /// - Returns: the pages, and everything that is wrong, in the order of file names.
    static func load(_ directory: String) -> (ErrorPages, problems: [String]) {
        var problems: [String] = []
        var pages = ErrorPages()
        var hundreds: [(ErrorPage, UInt16)] = []
        var places: [String: String] = [:]
        guard let names = list(directory) else {
            return (pages, ["\(directory) cannot be opened: \(String(cString: strerror(errno)))"])
        }
        guard names.count <= filesMax else {
            return (pages, ["\(directory) holds more than \(filesMax) files"])
        }
        for name in names {
            guard let (status, kind) = parse(name) else {
                problems.append(
                    "\(directory)/\(name) is not named STATUS.html, .json or .txt, with a status "
                        + "of 400 to 599, 4xx or 5xx")
                continue
            }
            if let first = places[status] {
                problems.append("\(directory)/\(name) and \(first) are for the same status")
                continue
            }
            places[status] = name
            do {
                let page = ErrorPage(try read(directory + "/" + name), kind: kind)
                if let number = UInt16(status) {
                    pages.add(page, status: number)
                } else {
                    hundreds.append((page, status.hasPrefix("4") ? 4 : 5))
                }
            } catch {
                problems.append("\(directory)/\(name) \(error.reason)")
            }
        }
        for (page, hundred) in hundreds { pages.add(page, hundred: hundred) }
        if names.isEmpty { problems.append("\(directory) holds no page") }
        return (pages, problems)
    }

    private static func parse(_ name: String) -> (status: String, kind: ErrorPage.Kind)? {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let kind = ErrorPage.Kind(rawValue: String(parts[1])) else {
            return nil
        }
        let status = String(parts[0])
        let isNumber = status.utf8.count == 3 && status.utf8.allSatisfy { (0x30...0x39) ~= $0 }
        guard status == "4xx" || status == "5xx" || isNumber && "45".contains(status.prefix(1))
        else { return nil }
        return (status, kind)
    }

    private static func list(_ directory: String) -> [String]? {
        guard let handle = opendir(directory) else { return nil }
        defer { closedir(handle) }
        var names: [String] = []
        while names.count <= filesMax, let item = readdir(handle) {
            let name = withUnsafeBytes(of: &item.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    private struct Problem: Error {
        let reason: String
    }

    private static func read(_ path: String) throws(Problem) -> [UInt8] {
        // Not blocking: a FIFO in place of a file must not stop the daemon.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw Problem(reason: "cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Problem(reason: "is not a file")
        }
        // One byte more than allowed tells a file that is too long from one that just fits.
        let limit = ErrorPage.byteCountMax + 1
        var bytes: [UInt8] = []
        while bytes.count < limit {
            var failure: Int32 = 0
            let room = limit - bytes.count
            let piece = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                var moved = Glibc.read(descriptor, buffer.baseAddress, room)
                while moved < 0, errno == EINTR {
                    moved = Glibc.read(descriptor, buffer.baseAddress, room)
                }
                if moved < 0 { failure = errno }
                count = max(moved, 0)
            }
            guard failure == 0 else {
                throw Problem(reason: "cannot be read: \(String(cString: strerror(failure)))")
            }
            if piece.isEmpty { break }
            bytes += piece
        }
        guard bytes.count <= ErrorPage.byteCountMax else {
            throw Problem(reason: "is larger than \(ErrorPage.byteCountMax >> 10) KiB")
        }
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw Problem(reason: "is not UTF-8")
        }
        return bytes
    }
}
