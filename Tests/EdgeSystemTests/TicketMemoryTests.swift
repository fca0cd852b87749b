import EdgeCore
import EdgeSystem
import Glibc
import Synchronization
import Testing

@Suite("Ticket memory") struct TicketMemoryTests {
    private static func file() throws -> FileDescriptor {
        try MemoryFile.make(name: "tickets", byteCount: TicketMemory.byteCount)
    }

    private static func random(_ byte: UInt8) -> [UInt8] {
        (0..<TicketKey.randomBytes).map { byte &+ UInt8($0) &* 7 }
    }

    private static func key(_ byte: UInt8) -> TicketKey {
        var key = TicketKey(
            random: random(byte),
            madeAt: Instant(nanoseconds: UInt64(byte) << 40), createdSeconds: -Int64(byte))
        key.origin = UInt64(byte) << 8
        return key
    }

    @Test("Fresh memory has no key; what is published is read back whole, by every mapping")
    func roundTrip() throws {
        let file = try Self.file()
        let writer = try TicketMemory(descriptor: file.raw)
        let reader = try TicketMemory(descriptor: file.raw)
        #expect(writer.generation == 0)
        #expect(reader.read()?.keys == [])

        for count in [1, 4, 2, 0, 3] {
            let keys = (0..<count).map { Self.key(UInt8(10 * count + $0)) }
            let before = reader.generation
            writer.publish(keys)
            #expect(reader.generation != before)
            #expect(reader.read()?.keys == keys)
            #expect(reader.read()?.generation == reader.generation)
        }
    }

    @Test("Another process's mapping finds what the last one left")
    func survives() throws {
        let file = try Self.file()
        do {
            let first = try TicketMemory(descriptor: file.raw)
            first.publish([Self.key(1), Self.key(2)])
        }

        let second = try TicketMemory(descriptor: file.raw)

        #expect(second.read()?.keys == [Self.key(1), Self.key(2)])
    }

    /// All bytes of the file.
    private static func bytes(_ file: borrowing FileDescriptor) throws -> [UInt8] {
        try #require(try Descriptor.readAll(file.raw, byteCountMax: TicketMemory.byteCount))
    }

    @Test("A key that was dropped is nowhere in the memory any more")
    func wiped() throws {
        let file = try Self.file()
        let memory = try TicketMemory(descriptor: file.raw)
        let old = Self.random(7)
        memory.publish([Self.key(7)])
        #expect(try Self.bytes(file).firstRange(of: old[16..<80]) != nil)

        memory.publish([Self.key(8)])

        #expect(try Self.bytes(file).firstRange(of: old[16..<48]) == nil)
        #expect(try Self.bytes(file).firstRange(of: old[48..<80]) == nil)
    }

    @Test("A writer that died half-way has changed nothing")
    func halfWritten() throws {
        let file = try Self.file()
        let memory = try TicketMemory(descriptor: file.raw)
        memory.publish([Self.key(1)])
        // The other bank, as a writer leaves it before it publishes: generation 1 uses bank 1.
        var rubbish = [UInt8](repeating: 0xFF, count: 72 * 8)
        #expect(pwrite(file.raw, &rubbish, rubbish.count, 8 * 8) == rubbish.count)

        #expect(memory.read()?.keys == [Self.key(1)])
        memory.publish([Self.key(2), Self.key(1)])
        #expect(memory.read()?.keys == [Self.key(2), Self.key(1)])
    }

    @Test("Memory of another layout, or with an impossible count, is refused")
    func foreign() throws {
        let file = try Self.file()
        let memory = try TicketMemory(descriptor: file.raw)
        memory.publish([Self.key(1)])
        var count: UInt64 = 5
        #expect(pwrite(file.raw, &count, 8, (8 + 72) * 8) == 8)
        #expect(memory.read() == nil)

        var version: UInt64 = 2
        #expect(pwrite(file.raw, &version, 8, 8) == 8)
        #expect(throws: TicketMemory.Failure.wrongLayout) {
            _ = try TicketMemory(descriptor: file.raw)
        }
        var magic: UInt64 = 99
        #expect(pwrite(file.raw, &magic, 8, 0) == 8)
        #expect(throws: TicketMemory.Failure.wrongLayout) {
            _ = try TicketMemory(descriptor: file.raw)
        }
    }

    private final class End: Sendable {
        let isOver = Atomic(false)
    }

    @Test("A reader beside a busy writer sees old or new keys, never a mixture")
    func race() async throws {
        let file = try Self.file()
        let writer = try TicketMemory(descriptor: file.raw)
        let reader = try TicketMemory(descriptor: file.raw)
        let end = End()

        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for round in 0..<20_000 {
                    let byte = UInt8(truncatingIfNeeded: round)
                    writer.publish((0..<1 + round % 4).map { _ in Self.key(byte) })
                }
                end.isOver.store(true, ordering: .releasing)
            }
            group.addTask {
                var last: UInt64 = 0
                while !end.isOver.load(ordering: .acquiring) {
                    guard let (generation, keys) = reader.read() else { continue }
                    #expect(generation >= last)
                    last = generation
                    guard let first = keys.first else { continue }
                    #expect(keys.allSatisfy { $0 == first })
                    #expect(first == Self.key(first.id[0]))
                    #expect(keys.count == 1 + Int(generation - 1) % 4)
                }
            }
        }
    }
}
