/// Where the frames of a WebSocket server end (RFC 6455 §5.2), without a look at what is in them:
/// between two frames one of our own may be put, also between the fragments of a message (§5.4).
package struct WebSocketBoundary: BitwiseCopyable, Sendable {
    /// Bytes of the frame's payload that are to come.
    private var payloadLeft: UInt64 = 0
    private var length: UInt64 = 0
    /// Of the frame's header, as far as they have come.
    private var headerCount: UInt8 = 0
    /// So many there are; 2 until the second byte says more.
    private var headerSize: UInt8 = 2
    private var opcode: UInt8 = 0
    /// The server has said that it ends, or what it says are no frames.
    private var isOver = false

    private static let close: UInt8 = 8
    private static let mask: UInt8 = 0x80

    package init() {}

    /// A frame may be put here.
    package var isBetweenFrames: Bool { headerCount == 0 && payloadLeft == 0 && !isOver }

    /// A close frame with the code 1012, "service restart" (registered by RFC 6455 §11.7), as
    /// servers send it: unmasked.
    package static let serviceRestart: [UInt8] = [0x80 | close, 2, 0x03, 0xF4]

    // hot: a few instructions per frame.
    package mutating func pass(_ bytes: Span<UInt8>) {
        var offset = 0
        while offset < bytes.count, !isOver {
            if payloadLeft > 0 {
                let count = min(payloadLeft, UInt64(bytes.count - offset))
                payloadLeft -= count
                offset += Int(count)
                continue
            }
            header(bytes[offset])
            offset += 1
        }
    }

    private mutating func header(_ byte: UInt8) {
        switch headerCount {
        case 0:
            opcode = byte & 0x0F
            length = 0
            headerSize = 2
        case 1:
            // Servers never mask (§5.1).
            guard byte & Self.mask == 0 else {
                isOver = true
                return
            }
            switch byte & 0x7F {
            case 126: headerSize = 4
            case 127: headerSize = 10
            default: length = UInt64(byte & 0x7F)
            }
        default: length = length << 8 | UInt64(byte)
        }
        headerCount += 1
        guard headerCount == headerSize else { return }
        headerCount = 0
        payloadLeft = length
        isOver = opcode == Self.close || length >> 63 != 0
    }
}
