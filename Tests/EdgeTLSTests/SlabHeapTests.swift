import EdgeCore
import Glibc
import Testing

@testable import EdgeTLS

@Suite("Heap for OpenSSL") struct SlabHeapTests {
    /// A heap over address space of its own, which is given back at the end.
    private final class Bench {
        let memory: UnsafeMutableRawPointer
        let base: UnsafeMutableRawPointer
        let heap: UnsafeMutablePointer<SlabHeap>
        private static let bytes = SlabHeap.bytesMax + SlabHeap.chunkBytes

        init() throws {
            let memory = mmap(
                nil, Self.bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
            self.memory = try #require(memory)
            try #require(memory != MAP_FAILED)
            let mask = UInt(SlabHeap.chunkBytes - 1)
            base = try #require(
                UnsafeMutableRawPointer(
                    bitPattern: (UInt(bitPattern: memory) + mask) & ~mask))
            heap = .allocate(capacity: 1)
            heap.initialize(to: try #require(SlabHeap(base: base)))
        }

        deinit {
            heap.deallocate()
            munmap(memory, Self.bytes)
        }

        func take(_ count: Int) throws -> UnsafeMutableRawPointer {
            let block = heap.pointee.take(count, heap)
            return try #require(block)
        }

        func give(_ block: UnsafeMutableRawPointer) {
            heap.pointee.give(block, SlabHeap.chunk(of: block))
        }

        /// Pages of the first `chunks` chunks that the system holds for us.
        func residentBytes(chunks: Int) -> Int {
            let pages = chunks * SlabHeap.chunkBytes / 4096
            var table = [UInt8](repeating: 0, count: pages)
            mincore(base, pages * 4096, &table)
            return table.count { $0 & 1 != 0 } * 4096
        }
    }

    @Test("every size has a class that holds it with little to spare")
    func classes() {
        var last = -1
        for count in 1...SlabHeap.blockMax {
            let sizeClass = SlabHeap.sizeClass(count)
            let room = SlabHeap.blockBytes(sizeClass)

            #expect(room >= count && room % 16 == 0)
            #expect(
                room - count
                    < (count <= 1024 ? 16 : count <= 4096 ? 128 : count <= 8192 ? 32 : 1024))
            #expect(sizeClass == last || sizeClass == last + 1)
            last = sizeClass
        }
        #expect(last == SlabHeap.classCount - 1)
    }

    @Test("blocks are aligned and do not overlap, whatever is taken and given")
    func walk() throws {
        let bench = try Bench()
        var random = SplitMix64(seed: 42)
        var held: [(block: UnsafeMutableRawPointer, count: Int, mark: UInt8)] = []

        for step in 0..<60_000 {
            let mark = UInt8(truncatingIfNeeded: step)
            if random.next() % 5 < 3, held.count < 2_000 {
                let large = random.next() % 8 == 0
                let count = 1 + Int(random.next() % UInt64(large ? SlabHeap.blockMax : 600))
                let block = try bench.take(count)
                #expect(UInt(bitPattern: block) % 16 == 0)
                memset(block, Int32(mark), count)
                held.append((block, count, mark))
            } else if !held.isEmpty {
                let index = Int(random.next() % UInt64(held.count))
                let (block, count, mark) = held.remove(at: index)
                let bytes = UnsafeRawBufferPointer(start: block, count: count)
                #expect(bytes.first == mark && bytes.last == mark, "step \(step)")
                bench.give(block)
            }
        }
        for (block, count, mark) in held {
            #expect(UnsafeRawBufferPointer(start: block, count: count).allSatisfy { $0 == mark })
        }
    }

    @Test("what a burst has taken goes back to the system, but for some spare chunks")
    func release() throws {
        let bench = try Bench()
        let count = 20_000
        var blocks: [UnsafeMutableRawPointer] = []
        for _ in 0..<count {
            let block = try bench.take(1000)
            memset(block, 1, 1000)
            blocks.append(block)
        }
        let chunks = count / 60
        #expect(bench.residentBytes(chunks: chunks) > 19 << 20)

        for block in blocks { bench.give(block) }

        let kept = (SlabHeap.spareMax + 1) * SlabHeap.chunkBytes
        #expect(bench.residentBytes(chunks: chunks) <= kept)
        let again = try bench.take(1000)
        #expect(again - bench.base < chunks * SlabHeap.chunkBytes, "chunks are used again")
    }

    @Test("eight sessions of OpenSSL's touch 15 pages")
    func sessions() throws {
        let bench = try Bench()

        for _ in 0..<8 { memset(try bench.take(7624), 1, 7624) }

        #expect(bench.residentBytes(chunks: 2) == 15 * 4096)
    }

    @Test("buffers of many handshakes at once go back to the system")
    func handshakes() throws {
        let bench = try Bench()
        let blocks = try (0..<1000).map { _ in
            let block = try bench.take(21_848)
            memset(block, 0, 16384)
            return block
        }
        let held = bench.residentBytes(chunks: 500)

        for block in blocks { bench.give(block) }

        #expect(held > 16 << 20)
        #expect(
            bench.residentBytes(chunks: 500) <= (SlabHeap.spareMax + 1) * SlabHeap.chunkBytes)
    }

    @Test("a chunk that one block keeps is not given back")
    func kept() throws {
        let bench = try Bench()
        var blocks: [UnsafeMutableRawPointer] = []
        for _ in 0..<10_000 { blocks.append(try bench.take(500)) }
        let last = blocks.removeLast()
        let middle = blocks.remove(at: 5_000)
        memset(last, 7, 500)
        memset(middle, 8, 500)

        for block in blocks { bench.give(block) }

        #expect(UnsafeRawBufferPointer(start: last, count: 500).allSatisfy { $0 == 7 })
        #expect(UnsafeRawBufferPointer(start: middle, count: 500).allSatisfy { $0 == 8 })
    }

    @Test("blocks given by another thread are used again before a new chunk is")
    func foreign() throws {
        let bench = try Bench()
        var blocks: [UnsafeMutableRawPointer] = []
        // As many as one chunk holds.
        for _ in 0..<((SlabHeap.chunkBytes - 64) / 4096) { blocks.append(try bench.take(4096)) }

        for block in blocks { bench.heap.pointee.giveForeign(block) }
        let again = try bench.take(4096)

        #expect(blocks.contains(again))
    }

    @Test("a heap whose address space is used up says so")
    func exhausted() throws {
        let bench = try Bench()
        var taken = 0

        while bench.heap.pointee.take(SlabHeap.blockMax, bench.heap) != nil { taken += 1 }

        #expect(taken == SlabHeap.bytesMax / SlabHeap.chunkBytes * 2)
    }
}
