import EdgeProxy
import EdgeSystem
import Testing

@testable import EdgeDaemon

@Suite("What memory calls for") struct PressureKeeperTests {
    private static let mebibyte: UInt64 = 1 << 20

    private static func board() throws -> SharedBoard {
        let file = try MemoryFile.make(
            name: "board", byteCount: SharedBoard.byteCount(workers: 1))
        return try SharedBoard(descriptor: file.raw, workers: 1, create: true)
    }

    @Test(
        "Another ceiling holds at once, also for workers that were told of the one before",
        arguments: [0, 4_096])
    func reload(mebibytes: Int) throws {
        let board = try Self.board()
        let keeper = PressureKeeper()
        keeper.look(
            board, workers: 1, memory: 100 << 20, resident: 100 * Self.mebibyte)
        #expect(keeper.shared.memory == .exhausted)

        keeper.look(
            board, workers: 1, memory: mebibytes << 20, resident: 100 * Self.mebibyte)
        #expect(keeper.shared.memory == .enough)

        keeper.look(
            board, workers: 1, memory: 101 << 20, resident: 100 * Self.mebibyte)
        #expect(keeper.shared.memory == .scarce)
    }

    @Test("Tables that fill up leave less of what the machine has, and at least half of it")
    func tables() throws {
        let all = PressureKeeper.bytes(nil, tables: 0)
        let less = PressureKeeper.bytes(nil, tables: 64 * Self.mebibyte)
        #expect(all - less <= 48 * Self.mebibyte && all - less >= 47 * Self.mebibyte)
        #expect(PressureKeeper.bytes(nil, tables: .max) >= all / 2 - Self.mebibyte)
        #expect(PressureKeeper.bytes(5, tables: 64 * Self.mebibyte) == 5)
    }
}
