internal import EdgeConfig
internal import EdgeCore
internal import EdgeLimits
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// The files with blocks of addresses that policies name, read and checked. One that has not
/// changed is the same object over readings.
struct LimitFiles: Sendable {
    /// What one file holds, as it is in use.
    final class Content: Sendable {
        let ranges: AddressRanges
        /// Blocks as they are written.
        let blocks: Int
        /// When it was read, in Unix seconds.
        let read: Int64

        init(ranges: AddressRanges, blocks: Int, read: Int64) {
            self.ranges = ranges
            self.blocks = blocks
            self.read = read
        }
    }

    private struct List: Sendable {
        let content: Content
        /// Of the file that was read.
        let found: FileStamp?
        /// The same; nil: what changes it may leave it this stamp.
        let stamp: FileStamp?
    }

    /// A file that cannot be used as it is.
    struct Problem: Error, Equatable, CustomStringConvertible {
        let path: String
        let reason: String

        init(_ path: String, _ reason: String) {
            self.path = path
            self.reason = reason
        }

        var description: String { "\(path): \(reason)" }
    }

    /// Blocks of all files together: 32 MiB of ranges.
    static let blocksMax = 1 << 20

    /// By path.
    private var lists: [String: List] = [:]
    /// In the order of paths.
    private(set) var problems: [Problem] = []
    /// Somebody is writing one of them, as it seems: it stays what it was, and is to be looked at
    /// again.
    private(set) var isUnfinished = false

    init() {}

    /// Reads what has changed. What cannot be used is a problem, and stays what it was.
    ///
    /// - Parameter now: nanoseconds since 1970.
    init(
        _ policies: [LimitPolicy], previous: LimitFiles, now: Int64 = FileStamp.now()
    ) {
        var blocks = 0
        for path in Self.paths(policies) {
            let known = previous.lists[path]
            do throws(Problem) {
                let list = try Self.read(path, known, now: now, isUnfinished: &isUnfinished)
                guard blocks + list.content.blocks <= Self.blocksMax else {
                    throw Problem(
                        path, "all files together hold more than \(Self.blocksMax) blocks")
                }
                lists[path] = list
            } catch {
                problems.append(error)
                lists[path] = known
            }
            blocks += lists[path]?.content.blocks ?? 0
        }
    }

    static func paths(_ policies: [LimitPolicy]) -> [String] {
        Set(policies.flatMap { $0.allowFiles + $0.denyFiles }).sorted()
    }

    /// As plans want them.
    var ranges: [String: AddressRanges] { lists.mapValues(\.content.ranges) }

    /// Nil: it has never been read.
    func content(_ path: String) -> Content? { lists[path]?.content }

    var folders: Set<String> {
        Set(
            (Array(lists.keys) + problems.map(\.path)).map { path in
                guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
                    return "/"
                }
                return String(path[..<slash])
            })
    }

    func servesSame(as other: LimitFiles) -> Bool {
        lists.count == other.lists.count
            && lists.allSatisfy { $0.value.content === other.lists[$0.key]?.content }
    }

    // MARK: - Reading

    /// A file that is written in place is seen half-written, and what is half a list is a list,
    /// too. So what has lost blocks, or ends within a line, is not used before it has been left
    /// alone.
    private static func isPartial(
        _ blocks: Int, _ bytes: [UInt8], _ stamp: FileStamp?, of known: List
    ) -> Bool {
        guard let stamp, let found = known.found, stamp.isSameFile(as: found) else { return false }
        return blocks < known.content.blocks || bytes.last.map { $0 != UInt8(ascii: "\n") } ?? true
    }

    private static func read(
        _ path: String, _ known: List?, now: Int64, isUnfinished: inout Bool
    ) throws(Problem) -> List {
        let stamp = FileStamp(path)
        if let known, let stamp, known.stamp == stamp { return known }
        let settled = stamp?.isSettled(at: now) == true ? stamp : nil
        let bytes = try bytes(path)
        if let known, FileStamp(path) != stamp {
            isUnfinished = true
            return known
        }
        let blocks: [CIDR]
        do throws(AddressRanges.Failure) {
            blocks = try AddressRanges.parse(bytes.span)
        } catch {
            throw Problem(path, "\(error)")
        }
        if let known, settled == nil, isPartial(blocks.count, bytes, stamp, of: known) {
            isUnfinished = true
            return known
        }
        let ranges = AddressRanges(blocks)
        if let known, known.content.blocks == blocks.count, known.content.ranges == ranges {
            return List(content: known.content, found: stamp, stamp: settled)
        }
        return List(
            content: Content(ranges: ranges, blocks: blocks.count, read: now / 1_000_000_000),
            found: stamp, stamp: settled)
    }

    private static func bytes(_ path: String) throws(Problem) -> [UInt8] {
        // Not blocking: a FIFO in place of a file must not stop the daemon.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw Problem(path, strerror(errno).map { String(cString: $0) } ?? "cannot be read")
        }
        let file = FileDescriptor(owning: descriptor)
        var status = stat()
        guard fstat(file.raw, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Problem(path, "is not a file")
        }
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try Descriptor.readAll(file.raw, byteCountMax: AddressRanges.fileMax)
        } catch {
            throw Problem(path, "\(error)")
        }
        guard let bytes else { throw Problem(path, "\(AddressRanges.Failure.tooLarge)") }
        return bytes
    }
}
