import CEdge
import EdgeHTTP
import Testing

@testable import EdgeHTTP2

@Suite("Field block") struct FieldBlockTests {
    /// The block itself can't be looked at by a macro.
    private final class Block {
        private var block = FieldBlock()
        var count: Int { block.count }
        var isWhole: Bool { block.isWhole }
        var first: UnsafeMutablePointer<nghttp2_nv> { block.first }

        init() { block.begin() }

        func begin() { block.begin() }
        func append(_ name: StaticString, _ value: StaticString) { block.append(name, value) }
        func append(_ name: StaticString, decimal number: UInt64) {
            block.append(name, decimal: number)
        }
        func append(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
            block.append(name, value)
        }
        func append(lowering name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            block.append(lowering: name, value)
        }
        func append(lines: UnsafeRawBufferPointer, without omitted: StaticString?) {
            block.append(lines: lines, without: omitted)
        }
    }

    private static func lines(_ text: String, without omitted: StaticString? = nil) -> [String] {
        let block = Block()
        return Array(text.utf8).withUnsafeBytes {
            block.append(lines: $0, without: omitted)
            return fields(block)
        }
    }

    private static func fields(_ block: Block) -> [String] {
        (0..<block.count).map { index in
            let field = block.first[index]
            let name = UnsafeBufferPointer(start: field.name, count: field.namelen)
            let value = UnsafeBufferPointer(start: field.value, count: field.valuelen)
            return String(decoding: name, as: UTF8.self) + "="
                + String(decoding: value, as: UTF8.self)
        }
    }

    private static func lower(_ block: Block, _ name: String, _ value: String) {
        Array(name.utf8).withUnsafeBytes { name in
            Array(value.utf8).withUnsafeBytes { block.append(lowering: name, $0) }
        }
    }

    @Test("Names are lowered, everything else stays as it is")
    func lowering() {
        let block = Block()
        let name = Array("X-AZ@[`az09_~".utf8)
        let value = Array("AZ az".utf8)
        name.withUnsafeBytes { name in
            value.withUnsafeBytes { block.append(lowering: name, $0) }
        }
        #expect(Self.fields(block) == ["x-az@[`az09_~=AZ az"])
        #expect(block.isWhole)
    }

    @Test("Numbers are written in full", arguments: [0, 7, 10, 200, UInt64(Int64.max), .max])
    func numbers(number: UInt64) {
        let block = Block()
        block.append("content-length", decimal: number)
        block.append(":status", "204")
        #expect(Self.fields(block) == ["content-length=\(number)", ":status=204"])
    }

    @Test("A field without a value is one")
    func empty() {
        let block = Block()
        block.append("x", UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(Self.fields(block) == ["x="])
    }

    @Test("As many fields as a head may have, and ours, find room; more is noticed")
    func count() {
        let block = Block()
        for _ in 0..<FieldList.capacity + 32 { block.append("a", "b") }
        #expect(block.isWhole)
        #expect(block.count == FieldList.capacity + 32)
        block.append("a", "b")
        #expect(!block.isWhole)
        #expect(block.count == FieldList.capacity + 32)
        block.begin()
        #expect(block.isWhole && block.count == 0)
    }

    @Test("Names that find no room are noticed, and nothing is written past it")
    func names() {
        let block = Block()
        let name = String(repeating: "N", count: 16 * 1024)
        for _ in 0..<4 { Self.lower(block, name, "v") }
        #expect(block.isWhole && block.count == 4)
        Self.lower(block, "n", "v")
        #expect(!block.isWhole && block.count == 4)
        block.begin()
        Self.lower(block, String(name.dropFirst(10)), "v")
        for _ in 0..<3 { Self.lower(block, name, "v") }
        #expect(block.isWhole)
        // Ten bytes are left.
        block.append("n", decimal: 1)
        #expect(!block.isWhole)
    }

    @Test("Lines become fields, their values without the white space around them")
    func split() {
        #expect(Self.lines("") == [])
        #expect(
            Self.lines("A: b\r\nSet-Cookie: c=d; e\r\nset-cookie:f:g\r\nX: \t h i \t\r\nY: \r\n")
                == ["a=b", "set-cookie=c=d; e", "set-cookie=f:g", "x=h i", "y="])
        #expect(
            Self.lines("A: b\r\nSEC-accept: c\r\nSec-Accept2: d\r\n", without: "sec-accept")
                == ["a=b", "sec-accept2=d"])
    }

    @Test(
        "Of lines that are none nothing is made",
        arguments: ["A", "A: b", "A: b\r", ": b\r\n", "\r\n", "A\r\n", "A\r\nB: c\r\n"])
    func noLines(text: String) {
        #expect(Self.lines(text) == [])
    }
}
