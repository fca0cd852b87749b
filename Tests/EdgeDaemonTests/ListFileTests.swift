import EdgeConfig
import EdgeCore
import EdgeLimits
import EdgeSystem
import EdgeTLS
import EdgeTesting
import Glibc
import Testing

@testable import EdgeDaemon

@Suite("Files of blocks to allow and deny") struct ListFileTests {
    private static func policies(_ folder: TemporaryDirectory, _ names: String...) -> [LimitPolicy]
    {
        var policy = LimitPolicy(name: "public")
        policy.denyFiles = names.map { folder.file($0) }
        return [policy]
    }

    private static func denies(_ files: LimitFiles, _ address: UInt32) -> Bool {
        files.ranges.values.contains { $0.contains(SocketAddress(ipv4: address, port: 0)) }
    }

    @Test("A file that has become wrong stays what it was, and its line is named")
    func keeps() throws {
        let folder = try TemporaryDirectory("lists")
        defer { folder.remove() }
        let policies = Self.policies(folder, "drop.txt")
        try folder.write("drop.txt", "# bad people\n192.0.2.0/24\n")
        let good = LimitFiles(policies, previous: LimitFiles())
        #expect(good.problems.isEmpty)
        #expect(Self.denies(good, 0xC000_0207))

        try folder.write("drop.txt", "198.51.100.1\n192.0.2.1/24\n")
        let wrong = LimitFiles(policies, previous: good)
        #expect(
            wrong.problems == [
                .init(
                    folder.file("drop.txt"), "line 2: '192.0.2.1/24' is no address and no block")
            ])
        #expect(Self.denies(wrong, 0xC000_0207) && !Self.denies(wrong, 0xC633_6401))
        #expect(wrong.servesSame(as: good))

        unlink(folder.file("drop.txt"))
        let gone = LimitFiles(policies, previous: wrong)
        #expect(gone.problems.map(\.reason) == ["No such file or directory"])
        #expect(gone.servesSame(as: good))

        try folder.write("drop.txt", "198.51.100.1\n")
        let mended = LimitFiles(policies, previous: gone)
        #expect(mended.problems.isEmpty && !mended.servesSame(as: good))
        #expect(Self.denies(mended, 0xC633_6401) && !Self.denies(mended, 0xC000_0207))
        // Written anew as it was: nothing to do.
        try folder.write("drop.txt", "198.51.100.1\n")
        #expect(LimitFiles(policies, previous: mended).servesSame(as: mended))
    }

    /// As a shell writes it: the same file, with other contents.
    private static func overwrite(_ path: String, _ text: String) {
        let descriptor = open(path, O_WRONLY | O_TRUNC)
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        #expect(descriptor >= 0)
        #expect(
            bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == bytes.count)
    }

    @Test(
        "A file that is written in place is used when it has been left alone, not half-written",
        arguments: ["", "192.0.2.0/24\n", "192.0.2.0/24\n198.51.100.128/25\n198.51.100.1"])
    func writtenInPlace(part: String) throws {
        let folder = try TemporaryDirectory("lists")
        defer { folder.remove() }
        let policies = Self.policies(folder, "drop.txt")
        try folder.write("drop.txt", "192.0.2.0/24\n203.0.113.0/24\n")
        let before = LimitFiles(policies, previous: LimitFiles())

        Self.overwrite(folder.file("drop.txt"), part)
        let during = LimitFiles(policies, previous: before)
        #expect(during.isUnfinished && during.servesSame(as: before))
        #expect(during.problems.isEmpty)

        // Left alone: so it is meant.
        let after = LimitFiles(
            policies, previous: during, now: FileStamp.now() + 2_000_000_000)
        #expect(!after.isUnfinished && !after.servesSame(as: before))

        // Another file in its place is whole, however short.
        try folder.write("drop.txt", "")
        let replaced = LimitFiles(policies, previous: after)
        #expect(!replaced.isUnfinished && replaced.content(policies[0].denyFiles[0])?.blocks == 0)
    }

    @Test("Lines that are added to a file are used at once")
    func appended() throws {
        let folder = try TemporaryDirectory("lists")
        defer { folder.remove() }
        let policies = Self.policies(folder, "drop.txt")
        try folder.write("drop.txt", "192.0.2.0/24\n")
        let before = LimitFiles(policies, previous: LimitFiles())
        Self.overwrite(folder.file("drop.txt"), "192.0.2.0/24\n198.51.100.1\n")
        let after = LimitFiles(policies, previous: before)
        #expect(!after.isUnfinished && Self.denies(after, 0xC633_6401))
    }

    @Test("What is no file, is too large, or is too much with the others is a problem")
    func refused() throws {
        let folder = try TemporaryDirectory("lists")
        defer { folder.remove() }
        try folder.makeDirectory("folder")
        #expect(mkfifo(folder.file("fifo"), 0o644) == 0)
        try folder.write("large", "")
        #expect(truncate(folder.file("large"), AddressRanges.fileMax + 1) == 0)
        try folder.write("many", String(repeating: "::1\n", count: AddressRanges.countMax + 1))

        let files = LimitFiles(
            Self.policies(folder, "folder", "fifo", "large", "many", "missing"),
            previous: LimitFiles())

        #expect(
            Set(files.problems.map(\.reason)) == [
                "is not a file", "larger than 16 MiB", "line 262145: more than 262144 blocks",
                "No such file or directory",
            ])
        #expect(files.problems.count == 5)
        #expect(files.ranges.isEmpty)
    }

    @Test("A start and a reload with a file that cannot be used are refused with its name")
    func preparation() throws {
        let folder = try TemporaryDirectory("lists")
        defer { folder.remove() }
        func prepare(_ previous: Preparation? = nil) throws -> Preparation {
            let text = """
                version: 1
                listeners: [{ name: web, port: 80, protocol: http }]
                sites: [{ hosts: a.example, upstream: app, rate_limits: p }]
                upstreams: { app: { servers: ["10.0.0.1:80"] } }
                rate_limits: { p: { requests: 5 per 1s, deny_files: drop.txt } }
                """
            let bundle = ConfigurationBundle(
                main: .init(path: folder.file("main.yaml"), bytes: Array(text.utf8)))
            return try Preparation.prepare(bundle, previous: previous, workers: nil)
        }
        do {
            _ = try prepare()
            Issue.record("a missing file is taken")
        } catch let refusal as Preparation.Refusal {
            #expect(
                refusal.diagnostics == [
                    "rate_limits: \(folder.file("drop.txt")): No such file or directory"
                ])
        }

        try folder.write("drop.txt", "192.0.2.0/24\n")
        let first = try prepare()
        let builder = SnapshotBuilder()
        let before = builder.build(first, workers: 1) { _ in [] }
        let client = SocketAddress(ipv4: 0xC000_0207, port: 1)
        #expect(before.limits.caller(client).denied == 1)

        // Other blocks are other plans, the same ones are not.
        try folder.write("drop.txt", "198.51.100.1\n")
        let policies = first.configuration.rateLimits.policies
        let second = first.with(LimitFiles(policies, previous: first.limitFiles))
        let after = builder.build(second, workers: 1) { _ in [] }
        #expect(after.limits.caller(client).denied == 0)
        #expect(builder.build(second, workers: 1) { _ in [] }.limits === after.limits)

        try folder.write("drop.txt", "x\n")
        #expect(throws: Preparation.Refusal.self) { _ = try prepare(second) }
    }

    @Test("A change is used within a moment, be it written, renamed or a link that is swapped")
    func watched() throws {
        let folder = try TemporaryDirectory("lists")
        defer { folder.remove() }
        for (number, text) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].enumerated() {
            try folder.makeDirectory("v\(number)")
            try folder.write("v\(number)/drop.txt", text + "\n")
        }
        // As Kubernetes mounts it.
        #expect(symlink("v0", folder.file("..data")) == 0)
        #expect(symlink("..data/drop.txt", folder.file("drop.txt")) == 0)
        let policies = Self.policies(folder, "drop.txt")
        let loop = try PollLoop()
        let keeper = LimitFileKeeper(loop: loop)
        var used: [LimitFiles] = []
        keeper.watch(policies, LimitFiles(policies, previous: LimitFiles())) { used.append($0) }
        func waits(for address: UInt32) -> Bool {
            eventually(within: .seconds(8)) {
                loop.runOnce(maxWait: .milliseconds(10))
                return Self.denies(keeper.files, address)
            }
        }
        #expect(waits(for: 0xC000_0201))

        #expect(symlink("v1", folder.file("..next")) == 0)
        #expect(rename(folder.file("..next"), folder.file("..data")) == 0)
        #expect(waits(for: 0xC000_0202))
        #expect(rename(folder.file("v2/drop.txt"), folder.file("drop.txt")) == 0)
        #expect(waits(for: 0xC000_0203))
        try folder.write("drop.txt", "192.0.2.4\n")
        #expect(waits(for: 0xC000_0204))
        #expect(used.count == 3)

        try folder.write("drop.txt", "what\n")
        #expect(
            eventually(within: .seconds(8)) {
                loop.runOnce(maxWait: .milliseconds(10))
                return keeper.failures == 1
            })
        #expect(Self.denies(keeper.files, 0xC000_0204))
        #expect(keeper.files.problems.count == 1)
        // A reload has read all by itself, and others.
        keeper.hold()
        keeper.follow([], LimitFiles())
        #expect(keeper.files.problems.isEmpty)
        #expect(used.count == 3)
    }
}
