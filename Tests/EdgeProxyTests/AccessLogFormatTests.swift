import EdgeCore
import Foundation
import Testing

@testable import EdgeProxy

@Suite("Access log: how a line is written") struct AccessLogFormatTests {
    private static func put(_ body: (inout LogCursor) -> Void) -> String {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 8_192, alignment: 8)
        defer { memory.deallocate() }
        var cursor = LogCursor(memory)
        body(&cursor)
        let bytes = UnsafeRawBufferPointer(start: memory, count: cursor.at - memory)
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func escaped(_ bytes: [UInt8]) -> String {
        put { cursor in
            bytes.withUnsafeBytes { cursor.put(escaped: $0.baseAddress!, count: $0.count) }
        }
    }

    @Test("Numbers are written in full")
    func decimals() {
        var number: UInt64 = 1
        for _ in 0..<20 {
            for value in [number - 1, number, number + 1] {
                #expect(Self.put { $0.put(decimal: value) } == "\(value)")
            }
            number = number.multipliedReportingOverflow(by: 10).partialValue
        }
        #expect(Self.put { $0.put(decimal: .max) } == "\(UInt64.max)")
    }

    @Test(
        "Spans are milliseconds with microseconds behind the point",
        arguments: [
            (0, "0.000"), (999, "0.000"), (1_000, "0.001"), (1_234_567, "1.234"),
            (60_000_000_000, "60000.000"),
        ] as [(UInt64, String)])
    func spans(nanoseconds: UInt64, text: String) {
        #expect(Self.put { $0.put(milliseconds: nanoseconds) } == text)
    }

    @Test("Hexadecimal words have 16 digits", arguments: [0, 1, 0x0123_4567_89AB_CDEF, .max])
    func hex(word: UInt64) {
        let digits = String(word, radix: 16)
        let expected = String(repeating: "0", count: 16 - digits.count) + digits
        #expect(Self.put { $0.put(hex: word) } == expected)
    }

    @Test("Addresses are written as elsewhere", arguments: ["192.0.2.1:80", "[2001:db8::1]:443"])
    func addresses(text: String) throws {
        let address = try #require(SocketAddress(text))
        #expect(Self.put { $0.put(endpoint: address) } == text)
    }

    @Test("Any byte at any place in a string is one JSON string of one line")
    func everyByte() throws {
        for byte in UInt8.min...UInt8.max {
            for length in [1, 7, 8, 9, 17] {
                for place in [0, length / 2, length - 1] {
                    var bytes = [UInt8](repeating: UInt8(ascii: "a"), count: length)
                    bytes[place] = byte
                    let text = Self.escaped(bytes)
                    #expect(text.utf8.allSatisfy { (0x20...0x7E).contains($0) })
                    let data = Data("\"\(text)\"".utf8)
                    let value = try JSONSerialization.jsonObject(
                        with: data, options: .fragmentsAllowed)
                    // Bytes are code points, so that none is lost.
                    let expected = String(
                        String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
                    #expect(value as? String == expected, "byte \(byte) of \(length)")
                }
            }
        }
    }

    @Test("Printable ASCII stands for itself but for quote and backslash")
    func printable() {
        let all = (0x20...0x7E).map { UInt8($0) }
        let plain = all.filter { $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }

        #expect(Self.escaped(plain) == String(decoding: plain, as: UTF8.self))
        #expect(Self.escaped(Array("a\"b\\c\r\n".utf8)) == #"a\"b\\c\u000d\u000a"#)
    }

    @Test("The room that is reserved is enough for the longest line")
    func room() {
        var format = AccessLogFormat()
        let name = String(repeating: "n", count: 200)
        format.use(listeners: [name], upstreams: [(0, name)])
        var record = AccessRecord.empty
        record.idHigh = .max
        record.tlsVersion = 0x0304
        record.number = .max
        record.hasMember = true
        record.isTruncated = true
        record.member = SocketAddress(ipv6High: .max, low: .max, port: .max)
        record.methodCount = UInt16(AccessText.methodMax)
        record.hostCount = UInt16(AccessText.hostMax)
        record.pathCount = UInt16(AccessText.pathMax)
        record.nameCount = UInt16(AccessText.nameMax)
        var times = ExchangeTimes()
        times.begun = Instant(nanoseconds: 1)
        times.head = Instant(nanoseconds: .max / 2)
        times.connecting = Instant(nanoseconds: .max)
        times.connected = .never
        times.sent = Instant(nanoseconds: 1)
        times.answered = .never
        let line = AccessLine(
            kind: .request, listener: 0, client: record.member, status: 999,
            reason: .clientHandshakeTimeout, violation: 33, received: .max, sent: .max, pool: 0,
            isReused: false, retries: .max, times: times, ended: .never)
        let text = [UInt8](repeating: 0, count: record.textCount)
        let room = format.room(&record)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 2 * room, alignment: 8)
        defer { memory.deallocate() }

        for isNameHost in [false, true] {
            record.isNameHost = isNameHost
            if isNameHost { record.nameCount = 0 }
            let room = format.room(&record)
            let count = text.withUnsafeBytes {
                format.write(line, &record, $0.baseAddress!, to: memory)
            }
            #expect(count <= room, "\(count) of \(room)")
        }
    }
}
