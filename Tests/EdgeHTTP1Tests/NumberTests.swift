import EdgeCore
import EdgeHTTP
import EdgeTesting
import Testing

@Suite("Numbers in messages") struct NumberTests {
    private func written(_ body: (inout ByteWriter) -> Void) -> String {
        withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) {
            var writer = ByteWriter($0)
            body(&writer)
            return String(decoding: $0.prefix(writer.count), as: UTF8.self)
        }
    }

    @Test("Decimal numbers are written as they are read")
    func decimal() {
        let edges: [UInt64] = [0, 9, 10, 99, 100, 101, 255, 999, 1000, 1001, 65535, .max]
        for number in Array(0...1100) + edges {
            #expect(written { $0.append(decimal: number) } == "\(number)")
        }
    }

    @Test("Hex numbers have no leading zeros, hex words have all of them")
    func hex() {
        var random = SeededRandom(seed: 11)
        let some = (0..<500).map { random.next() >> UInt64($0 % 64) }
        for number in some + [0, 9, 10, 15, 16, 0x9999_AAAA_0F0F_F0F0, .max] {
            let text = String(number, radix: 16)
            #expect(written { $0.append(hex: number) } == text)
            #expect(
                written { $0.append(hexWord: number) }
                    == String(repeating: "0", count: 16 - text.count) + text)
        }
    }

    @Test("A number that does not fit writes nothing and says so")
    func overflow() {
        withUnsafeTemporaryAllocation(byteCount: 15, alignment: 1) {
            var writer = ByteWriter($0)
            writer.append(hexWord: 1)
            #expect(writer.hasOverflowed && writer.count == 0)
        }
    }
}
