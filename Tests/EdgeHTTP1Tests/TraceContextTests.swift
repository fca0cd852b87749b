import EdgeHTTP
import Testing

@Suite("traceparent") struct TraceContextTests {
    private static let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    private static func read(_ text: String) -> TraceContext? {
        let bytes = Array("x\(text)y".utf8)
        return TraceContext(bytes.span, ByteRange(1..<1 + text.utf8.count))
    }

    @Test("Its parts are read")
    func parts() throws {
        let trace = try #require(Self.read(Self.sound))

        #expect(trace.high == 0x4BF9_2F35_77B3_4DA6 && trace.low == 0xA3CE_929D_0E0E_4736)
        #expect(trace.parent == 0x00F0_67AA_0BA9_02B7)
    }

    @Test(
        "A version to come may have more behind a dash",
        arguments: [
            "cc-\(sound.dropFirst(3))", "cc-\(sound.dropFirst(3))-more", "01\(sound.dropFirst(2))-",
        ])
    func versions(text: String) { #expect(Self.read(text) != nil) }

    @Test(
        "Anything else is not sound",
        arguments: [
            "", "00", "ff-\(sound.dropFirst(3))", "\(sound)-more", "\(sound)0",
            "\(sound.dropLast())",
            "0-\(sound.dropFirst(3))", "0G-\(sound.dropFirst(3))", "cc-\(sound.dropFirst(3))x",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7_01",
            "00-4bf92f3577b34dA6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ])
    func unsound(text: String) { #expect(Self.read(text) == nil) }

    @Test("Cut anywhere or with any other byte anywhere, it is never read as the same")
    func mutations() {
        let bytes = Array(Self.sound.utf8)
        let whole = Self.read(Self.sound)
        for place in bytes.indices {
            #expect(Self.read(String(decoding: bytes[..<place], as: UTF8.self)) == nil)
            for byte in UInt8.min...UInt8.max where byte != bytes[place] {
                var other = bytes
                other[place] = byte
                let read = TraceContext(other.span, ByteRange(0..<other.count))
                // Flags and the version are nothing that is kept.
                let isKept = (3..<52).contains(place)
                #expect(read == nil || (read != whole) == isKept, "\(byte) at \(place)")
            }
        }
    }

    @Test("What is written is read as what it was")
    func written() {
        let trace = TraceContext(high: 1, low: .max, parent: 0xABC)
        var memory = [UInt8](repeating: 0, count: 128)
        let count = memory.withUnsafeMutableBytes { bytes in
            var writer = ByteWriter(bytes)
            trace.writeLine(into: &writer)
            return writer.count
        }
        // CR LF is one character.
        let line = String(decoding: memory[..<count], as: UTF8.self)

        #expect(line.hasPrefix("traceparent: ") && line.hasSuffix("\r\n"))
        #expect(Self.read(String(line.dropFirst(13).dropLast())) == trace)
    }
}
