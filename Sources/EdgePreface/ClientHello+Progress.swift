/// Finds the end of the handshake message in the records that it comes in (RFC 8446 §5.1, RFC 5246
/// §6.2.1), and refuses at the first byte that no ClientHello has there.
extension ClientHello.Progress {
    /// Type and length of a handshake message.
    static let headerByteCount = 4
    /// Type, version and length of a record.
    static let recordHeaderByteCount = 5
    /// RFC 8446 §5.1: bytes of a record without its header.
    private static let recordByteCountMax = 1 << 14

    /// Goes on as far as the bytes reach.
    ///
    /// - Returns: true if the message is complete; it ends before `position`.
    mutating func advance(over bytes: Span<UInt8>) throws(ClientHelloViolation) -> Bool {
        // Each turn takes a record's header and at least a byte, or is the last.
        while true {
            if recordLeft == 0, !(try beginRecord(bytes)) { return false }
            while messageCount < Self.headerByteCount, recordLeft > 0 {
                guard Int(position) < bytes.count else { return false }
                try takeHeader(bytes[Int(position)])
            }
            guard messageCount >= Self.headerByteCount else { continue }
            let count = min(recordLeft, Int32(max(bytes.count - Int(position), 0)))
            position += count
            recordLeft -= count
            messageCount += count
            if messageLeft == 0 { return true }
            if recordLeft > 0 { return false }
        }
    }

    /// Bytes of the message that have not been seen.
    private var messageLeft: Int32 { bodyByteCount + Int32(Self.headerByteCount) - messageCount }

    /// - Returns: false if the record's header is not there as a whole.
    private mutating func beginRecord(_ bytes: Span<UInt8>) throws(ClientHelloViolation) -> Bool {
        let start = Int(position)
        let count = bytes.count - start
        guard count > 0 else { return false }
        // Handshake. The first two bytes of SSLv2 are a length that looks like nothing of ours.
        guard bytes[start] == 22 else { throw start == 0 ? .notTLS : .interrupted }
        guard count > 1 else { return false }
        // RFC 8446 §5.1: the minor version must be ignored.
        guard bytes[start + 1] == 3 else { throw .notTLS }
        guard count > 3 else { return false }
        guard Int(bytes[start + 3]) << 8 <= Self.recordByteCountMax else { throw .recordTooLarge }
        guard count >= Self.recordHeaderByteCount else { return false }
        let length = Int(bytes[start + 3]) << 8 | Int(bytes[start + 4])
        guard length > 0 else { throw .emptyRecord }
        guard length <= Self.recordByteCountMax else { throw .recordTooLarge }
        guard start + Self.recordHeaderByteCount + length <= ClientHello.byteCountMax else {
            throw .tooLong
        }
        position += Int32(Self.recordHeaderByteCount)
        recordLeft = Int32(length)
        try checkEnd()
        return true
    }

    /// A byte of the message's header.
    private mutating func takeHeader(_ byte: UInt8) throws(ClientHelloViolation) {
        if messageCount == 0 {
            guard byte == 1 else { throw .notClientHello }
        } else {
            bodyByteCount = bodyByteCount << 8 | Int32(byte)
            // As large as it is even if what follows is zero.
            let least = Int(bodyByteCount) << (8 * (3 - Int(messageCount)))
            guard least <= ClientHello.messageByteCountMax - Self.headerByteCount else {
                throw .tooLong
            }
        }
        position += 1
        recordLeft -= 1
        messageCount += 1
        try checkEnd()
    }

    /// Nothing may follow a ClientHello in its record: the client has to wait for the answer.
    private func checkEnd() throws(ClientHelloViolation) {
        guard messageCount < Self.headerByteCount || recordLeft <= messageLeft else {
            throw .surplusBytes
        }
    }
}
