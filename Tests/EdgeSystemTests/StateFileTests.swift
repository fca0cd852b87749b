import CEdge
import EdgeSystem
import EdgeTesting
import Foundation
import Testing

@Suite("Files in the state folder") struct StateFileTests {
    private let folder: TemporaryDirectory
    private let file: StateFile
    private static let expectedSum: [UInt8] = [0x6D, 0xA6, 0xCC, 0x6B]

    init() throws {
        folder = try TemporaryDirectory("state")
        file = StateFile(directory: folder.path, name: "sample", kind: "sample", version: 3)
    }

    private func bytes(_ name: String = "sample") throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder.file(name))))
    }

    private func put(_ bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: file.path))
    }

    private func exists(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: folder.file(name))
    }

    @Test("what was written is read, and nobody else may read it")
    func roundTrip() throws {
        #expect(try file.read() == nil)
        for content in [[], [1, 2, 3], [UInt8](repeating: 7, count: 100_000)] as [[UInt8]] {
            try file.write(content)

            let found = try #require(try file.read())
            #expect(found.version == 3 && found.content.elementsEqual(content))
        }
        var status = stat()
        #expect(stat(file.path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(!exists("sample.tmp"))
    }

    @Test("the checksum is CRC-32C")
    func checksum() {
        let empty = StateFile(directory: "/", name: "x", kind: "abcdefgh", version: 1).encode([])
        // Of "EDGESTATabcdefgh", version 1 and no content; by another implementation.
        #expect(empty[24...].elementsEqual(Self.expectedSum))
    }

    @Test("a file with any byte changed, or cut off anywhere, is refused")
    func damaged() throws {
        try file.write(Array("last-known-good".utf8))
        let good = try bytes()
        for index in good.indices {
            var changed = good
            changed[index] ^= 0x10
            #expect(throws: StateFileError.self) { try file.decode(changed) }
            #expect(throws: StateFileError.self) { try file.decode(Array(good.prefix(index))) }
        }
        #expect(throws: StateFileError.damaged) { try file.decode(good + [0]) }
    }

    @Test("files of others, of other kinds and of later versions are told apart")
    func foreign() throws {
        let later = StateFile(directory: folder.path, name: "sample", kind: "sample", version: 4)
        let other = StateFile(directory: folder.path, name: "sample", kind: "other", version: 3)
        let older = StateFile(directory: folder.path, name: "sample", kind: "sample", version: 2)

        #expect(throws: StateFileError.tooNew(version: 4)) { try file.decode(later.encode([1])) }
        #expect(throws: StateFileError.foreign) { try file.decode(other.encode([1])) }
        #expect(throws: StateFileError.foreign) { try file.decode(Array("#!/bin/sh\n".utf8)) }
        #expect(try file.decode(older.encode([1])).version == 2)
    }

    @Test("more than fits is neither written nor read")
    func bounded() throws {
        let content = [UInt8](repeating: 1, count: StateFile.contentMax)
        try file.write(content)
        #expect(try file.read()?.content.count == content.count)

        #expect(throws: StateFileError.tooLarge) { try file.write(content + [1]) }
        #expect(try file.read()?.content.count == content.count)
        try put([UInt8](repeating: 0, count: StateFile.byteCountMax + 1))
        #expect(throws: StateFileError.tooLarge) { try file.read() }
    }

    @Test("a write that fails leaves the old file")
    func failedWrite() throws {
        try file.write([1])
        // A folder in the place of the temporary file cannot be replaced.
        _ = try folder.makeDirectory("sample.tmp")

        #expect(throws: StateFileError.self) { try file.write([2]) }
        #expect(try file.read()?.content == [1])
        let gone = StateFile(directory: "/nonexistent", name: "a", kind: "a", version: 1)
        #expect(throws: StateFileError.self) { try gone.write([1]) }
        #expect(try gone.read() == nil)
    }

    @Test("two writers take turns: what is there is always whole")
    func turns() async throws {
        let file = file
        await withTaskGroup(of: Void.self) { group in
            for writer in 0..<4 {
                group.addTask {
                    for round in 0..<25 {
                        let content = [UInt8](repeating: UInt8(writer), count: 1 + round * 997)
                        do throws(StateFileError) {
                            try file.write(content)
                            let found = try file.read()?.content ?? []
                            #expect(!found.isEmpty && found.allSatisfy { $0 == found[0] })
                        } catch {
                            Issue.record("writer \(writer), round \(round): \(error)")
                        }
                    }
                }
            }
        }
    }

    @Test("what a crash left half-written is not in the way")
    func leftover() throws {
        try folder.write("sample.tmp", "half")

        try file.write([5])

        #expect(try file.read()?.content == [5])
    }

    @Test("a refused file is kept once")
    func setAside() throws {
        try put([1])
        #expect(file.setAside())
        #expect(try bytes("sample.bad") == [1])
        #expect(!exists("sample"))

        try put([2])
        #expect(!file.setAside())
        #expect(try bytes("sample.bad") == [1])
    }

    @Test("a link is not followed")
    func link() throws {
        try folder.write("elsewhere", "x")
        #expect(symlink(folder.file("elsewhere"), file.path) == 0)

        #expect(throws: StateFileError.self) { try file.read() }
        try file.write([9])
        #expect(try bytes("elsewhere") == Array("x".utf8))
    }
}
