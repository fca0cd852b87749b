import EdgeCore
import EdgeTesting
import Glibc
import Testing

@testable import EdgeSystem

@Suite("Watched folders") struct FolderWatchTests {
    private final class Count { var value = 0 }

    private let folder: TemporaryDirectory
    private let loop: PollLoop
    private let count = Count()
    private let watch: FolderWatch

    init() throws {
        folder = try TemporaryDirectory()
        loop = try PollLoop()
        let count = count
        watch = try FolderWatch(loop: loop) { count.value += 1 }
    }

    /// Everything that the kernel has told until now.
    private func isTold() -> Bool {
        let before = count.value
        loop.runOnce(maxWait: .zero)
        return count.value > before
    }

    @Test("Writing, renaming, linking, removing and changing modes are told")
    func kinds() throws {
        _ = try folder.makeDirectory("certs")
        #expect(watch.watch([folder.file("certs")]))
        #expect(!isTold())

        try folder.write("certs/a", "1")
        #expect(isTold() && !isTold())
        try folder.write("b", "2")
        #expect(!isTold(), "not in a watched folder")
        rename(folder.file("b"), folder.file("certs/b"))
        #expect(isTold())
        symlink("b", folder.file("certs/c"))
        #expect(isTold())
        chmod(folder.file("certs/a"), 0o600)
        #expect(isTold())
        unlink(folder.file("certs/a"))
        #expect(isTold())
    }

    @Test("Many changes at once are told once")
    func burst() throws {
        watch.watch([folder.path])
        for index in 0..<1_000 { try folder.write("f\(index % 7)", "\(index)") }

        loop.runOnce(maxWait: .zero)

        #expect(count.value == 1)
    }

    @Test("A folder that comes later is watched when it is asked for again")
    func later() throws {
        let folders: Set = [folder.path, folder.file("view")]
        #expect(watch.watch(folders))
        #expect(watch.count == 1)
        _ = try folder.makeDirectory("view")
        #expect(isTold())

        #expect(watch.watch(folders), "it may have changed before it was watched")
        #expect(!watch.watch(folders))
        try folder.write("view/a", "1")
        #expect(isTold())
    }

    @Test("One that another has taken the place of is watched anew, one left out no longer")
    func replaced() throws {
        _ = try folder.makeDirectory("view")
        watch.watch([folder.file("view")])
        rename(folder.file("view"), folder.file("old"))
        _ = try folder.makeDirectory("view")
        #expect(isTold())

        #expect(watch.watch([folder.file("view")]))
        _ = isTold()
        try folder.write("old/a", "1")
        #expect(!isTold())
        try folder.write("view/a", "1")
        #expect(isTold())
        watch.watch([])
        _ = isTold()
        try folder.write("view/b", "1")
        #expect(!isTold() && watch.count == 0)
    }

    @Test("A link to a folder is the folder")
    func link() throws {
        _ = try folder.makeDirectory("real")
        symlink("real", folder.file("certs"))
        watch.watch([folder.file("certs")])

        try folder.write("real/a", "1")

        #expect(isTold())
    }
}
