internal import CEdge
internal import EdgeHTTP
internal import Glibc

/// Fields on their way into a HEADERS frame: pointers to names and values that have to live until
/// the frame is submitted. One per worker, reused.
package struct FieldBlock: ~Copyable {
    private let fields: UnsafeMutablePointer<nghttp2_nv>
    private(set) package var count = 0
    /// Names in lower case (RFC 9113 §8.2).
    private let names: UnsafeMutablePointer<UInt8>
    private var namesCount = 0
    private var hasOverflowed = false
    /// Fields of these names enter no table, here or further on.
    package var neverIndexed = FieldNames()

    private static let fieldsMax = FieldList.capacity + 32
    private static let namesMax = 64 * 1024

    init() {
        fields = .allocate(capacity: Self.fieldsMax)
        names = .allocate(capacity: Self.namesMax)
    }

    deinit {
        fields.deallocate()
        names.deallocate()
    }

    /// Something has found no room elsewhere.
    package mutating func overflow() { hasOverflowed = true }

    /// All that was appended has found room.
    package var isWhole: Bool { !hasOverflowed }

    var first: UnsafeMutablePointer<nghttp2_nv> { fields }

    package mutating func begin() {
        count = 0
        namesCount = 0
        hasOverflowed = false
        neverIndexed = FieldNames()
    }

    /// A field by a name in lower case.
    package mutating func append(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
        append(name.utf8Start, name.utf8CodeUnitCount, value)
    }

    package mutating func append(_ name: StaticString, _ value: StaticString) {
        append(
            name.utf8Start, name.utf8CodeUnitCount,
            UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
    }

    /// A number of up to 20 digits.
    package mutating func append(_ name: StaticString, decimal number: UInt64) {
        guard namesCount + 20 <= Self.namesMax else {
            hasOverflowed = true
            return
        }
        var start = namesCount + 20
        var rest = number
        repeat {
            start -= 1
            names[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        let value = UnsafeRawBufferPointer(
            start: names + start, count: namesCount + 20 - start)
        namesCount += 20
        append(name, value)
    }

    /// A field of a head, its name in any letter case.
    // hot: once per field.
    package mutating func append(
        lowering name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
    ) {
        guard namesCount + name.count <= Self.namesMax else {
            hasOverflowed = true
            return
        }
        let start = names + namesCount
        for index in 0..<name.count {
            let byte = name[index]
            start[index] = byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
        }
        namesCount += name.count
        append(start, name.count, value)
    }

    /// The fields of lines in normal form (`name: value` CR LF), as our own writers make them. What
    /// a value is surrounded by is left out (RFC 9113 §8.2.1).
    ///
    /// - Parameter omitted: a name in lower case whose fields are left out.
    package mutating func append(
        lines: UnsafeRawBufferPointer, without omitted: StaticString? = nil
    ) {
        var start = 0
        while start < lines.count {
            var colon = start
            while colon < lines.count, lines[colon] != UInt8(ascii: ":"),
                lines[colon] != UInt8(ascii: "\r")
            {
                colon += 1
            }
            var end = colon
            while end < lines.count, lines[end] != UInt8(ascii: "\r") { end += 1 }
            guard colon > start, colon < end, end + 1 < lines.count else { return }
            var value = colon + 1..<end
            while !value.isEmpty, Self.isBlank(lines[value.lowerBound]) {
                value = value.lowerBound + 1..<value.upperBound
            }
            while !value.isEmpty, Self.isBlank(lines[value.upperBound - 1]) {
                value = value.lowerBound..<value.upperBound - 1
            }
            let name = UnsafeRawBufferPointer(rebasing: lines[start..<colon])
            start = end + 2
            if let omitted, Self.matches(name, omitted) { continue }
            append(lowering: name, UnsafeRawBufferPointer(rebasing: lines[value]))
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
    }

    private static func matches(_ name: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard name.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<name.count {
            let byte = name[index]
            let folded = byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
            if folded != text.utf8Start[index] { return false }
        }
        return true
    }

    @inline(__always)
    private mutating func append(
        _ name: UnsafePointer<UInt8>, _ nameCount: Int, _ value: UnsafeRawBufferPointer
    ) {
        guard count < Self.fieldsMax else {
            hasOverflowed = true
            return
        }
        let flags =
            neverIndexed.contains(name, nameCount)
            ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE
        let bytes = value.baseAddress?.assumingMemoryBound(to: UInt8.self) ?? name
        (fields + count).initialize(
            to: nghttp2_nv(
                name: UnsafeMutablePointer(mutating: name),
                value: UnsafeMutablePointer(mutating: bytes), namelen: nameCount,
                valuelen: value.count, flags: UInt8(flags.rawValue)))
        count += 1
    }
}
