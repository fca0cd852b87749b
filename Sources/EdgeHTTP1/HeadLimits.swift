/// Bounds on what one message may make us hold. Whoever exceeds one is refused (431, 414 or 400).
package struct HeadLimits: Sendable {
    /// Bytes of a head with its first line and final empty line.
    package var headBytesMax = 65536
    /// Bytes of a request or status line without its CRLF.
    package var requestLineBytesMax = 16384
    /// Field lines of a head or of a trailer section; at most `FieldList.capacity`.
    package var fieldsMax = 200
    /// Bytes of a trailer section with its final empty line.
    package var trailersBytesMax = 16384
    /// Bytes of the extensions of one chunk; all of a body may have 16 times as many more than it
    /// has content.
    package var chunkExtensionBytesMax = 1024

    package init() {}
}
