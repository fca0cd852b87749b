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
