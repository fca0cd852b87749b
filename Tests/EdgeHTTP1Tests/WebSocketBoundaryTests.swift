import EdgeHTTP
import EdgeTesting
import Testing

@Suite("Where a WebSocket server's frames end") struct WebSocketBoundaryTests {
    /// A frame as servers send them, with the shortest length or a longer one.
    private static func frame(_ opcode: UInt8, _ count: Int, lengthBytes: Int = 0) -> [UInt8] {
        let wanted = max(lengthBytes, count < 126 ? 0 : count < 65536 ? 2 : 8)
        var bytes = [0x80 | opcode]
        switch wanted {
        case 0: bytes.append(UInt8(count))
        case 2: bytes.append(126)
        default: bytes.append(127)
        }
        for index in (0..<wanted).reversed() {
            bytes.append(UInt8(truncatingIfNeeded: count >> (8 * index)))
        }
        return bytes + [UInt8](repeating: 0x88, count: count)
    }

    @Test("They are found however the bytes are cut")
    func anyCut() {
        for seed in 0..<200 {
            var random = SeededRandom(seed: UInt64(seed))
            var bytes: [UInt8] = []
            var ends: Set<Int> = [0]
            for _ in 0..<8 {
                let count = [0, 1, 125, 126, 300, 65_535, 65_536].randomElement(using: &random)
                let longer = [0, 2, 8].randomElement(using: &random)
                bytes += Self.frame(
                    random.chance(1, of: 2) ? 2 : 9, count ?? 0, lengthBytes: longer ?? 0)
                ends.insert(bytes.count)
            }
            var boundary = WebSocketBoundary()
            var offset = 0
            while offset < bytes.count {
                #expect(boundary.isBetweenFrames == ends.contains(offset), "\(random)")
                let most = random.chance(1, of: 3) ? 3 : 70_000
                let step = min(Int.random(in: 1...most, using: &random), bytes.count - offset)
                boundary.pass(bytes.span.extracting(offset..<offset + step))
                offset += step
            }
            #expect(boundary.isBetweenFrames, "\(random)")
        }
    }

    @Test("Behind a server's own close, and where frames are none, there is no place")
    func over() {
        for bytes in [
            Self.frame(8, 2), [0x81, 0x85, 1, 2, 3, 4],
            [0x82, 127] + [UInt8](repeating: 0xFF, count: 8),
        ] {
            var boundary = WebSocketBoundary()
            boundary.pass(bytes.span)
            boundary.pass(Self.frame(1, 5).span)
            #expect(!boundary.isBetweenFrames)
        }
    }

    @Test("Our own close is a frame that says 1012")
    func close() {
        #expect(
            WebSocketBoundary.serviceRestart == [0x88, 0x02, UInt8(1012 >> 8), UInt8(1012 & 0xFF)])
        var boundary = WebSocketBoundary()
        let frame = WebSocketBoundary.serviceRestart
        boundary.pass(frame.span)
        #expect(!boundary.isBetweenFrames)
    }
}
