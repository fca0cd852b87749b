internal import CEdge

/// A field as bytes; names and values of tests are text mostly.
package struct HTTP2Field: Sendable, Equatable, CustomStringConvertible {
    package let nameBytes: [UInt8]
    package let valueBytes: [UInt8]
    /// The sender asked for it never to be put into a table (RFC 7541 §6.2.3).
    package let isNeverIndexed: Bool

    package var name: String { String(decoding: nameBytes, as: UTF8.self) }
    package var value: String { String(decoding: valueBytes, as: UTF8.self) }
    package var description: String { "\(name): \(value)" }
}

/// Decodes field blocks of one direction, through nghttp2: not the kit's own idea of HPACK.
package final class HPACKInflater {
    private var inflater: OpaquePointer?

    package init() throws {
        guard nghttp2_hd_inflate_new(&inflater) == 0 else { throw KitError("no inflater") }
    }

    deinit { nghttp2_hd_inflate_del(inflater) }

    /// The most that the table may hold, as announced and acknowledged (RFC 7541 §4.2).
    func limitTable(_ count: Int) { nghttp2_hd_inflate_change_table_size(inflater, count) }

    /// - Throws: `KitError` with nghttp2's word for what is wrong.
    package func decode(_ block: [UInt8]) throws -> [HTTP2Field] {
        var fields: [HTTP2Field] = []
        var offset = 0
        while true {
            var field = nghttp2_nv()
            var flags: Int32 = 0
            let used = block.withUnsafeBufferPointer {
                nghttp2_hd_inflate_hd2(
                    inflater, &field, &flags, $0.baseAddress.map { $0 + offset },
                    block.count - offset, 1)
            }
            guard used >= 0 else {
                throw KitError("field block: \(String(cString: nghttp2_strerror(Int32(used))))")
            }
            offset += used
            if flags & Int32(NGHTTP2_HD_INFLATE_EMIT.rawValue) != 0 {
                fields.append(
                    HTTP2Field(
                        nameBytes: Array(
                            UnsafeBufferPointer(start: field.name, count: field.namelen)),
                        valueBytes: Array(
                            UnsafeBufferPointer(start: field.value, count: field.valuelen)),
                        isNeverIndexed: field.flags & UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue)
                            != 0))
            }
            if flags & Int32(NGHTTP2_HD_INFLATE_FINAL.rawValue) != 0 { break }
        }
        nghttp2_hd_inflate_end_headers(inflater)
        return fields
    }
}
