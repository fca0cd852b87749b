/// One HTTP/2 frame (RFC 9113 §4.1), right or wrong: nothing is checked on the way out.
package struct RawFrame: Sendable, Equatable {
    package var kind: Kind
    package var flags: Flags
    /// 32 bits: with the reserved one, if that is to be sent.
    package var stream: UInt32
    package var payload: [UInt8]
    /// What the header says instead of the payload's length.
    package var declaredLength: Int?

    /// RFC 9113 §6; any other number is a type nobody knows.
    package struct Kind: RawRepresentable, Sendable, Hashable, ExpressibleByIntegerLiteral {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        package init(integerLiteral value: UInt8) { rawValue = value }

        package static let data: Kind = 0
        package static let headers: Kind = 1
        package static let priority: Kind = 2
        package static let reset: Kind = 3
        package static let settings: Kind = 4
        package static let pushPromise: Kind = 5
        package static let ping: Kind = 6
        package static let goAway: Kind = 7
        package static let windowUpdate: Kind = 8
        package static let continuation: Kind = 9
    }

    package struct Flags: OptionSet, Sendable, Hashable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let acknowledge = Flags(rawValue: 1)
        package static let endStream = Flags(rawValue: 1)
        package static let endHeaders = Flags(rawValue: 4)
        package static let padded = Flags(rawValue: 8)
        package static let priority = Flags(rawValue: 32)
    }

    /// RFC 9113 §7.
    package struct Code: RawRepresentable, Sendable, Hashable, ExpressibleByIntegerLiteral {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package init(integerLiteral value: UInt32) { rawValue = value }

        package static let noError: Code = 0
        package static let protocolError: Code = 1
        package static let internalError: Code = 2
        package static let flowControlError: Code = 3
        package static let settingsTimeout: Code = 4
        package static let streamClosed: Code = 5
        package static let frameSizeError: Code = 6
        package static let refusedStream: Code = 7
        package static let cancel: Code = 8
        package static let compressionError: Code = 9
        package static let connectError: Code = 10
        package static let enhanceYourCalm: Code = 11
        package static let inadequateSecurity: Code = 12
        package static let http11Required: Code = 13
    }

    /// RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1.
    package enum Setting {
        package static let headerTableSize: UInt16 = 1
        package static let enablePush: UInt16 = 2
        package static let maxConcurrentStreams: UInt16 = 3
        package static let initialWindowSize: UInt16 = 4
        package static let maxFrameSize: UInt16 = 5
        package static let maxHeaderListSize: UInt16 = 6
        package static let enableConnectProtocol: UInt16 = 8
        package static let noPriorities: UInt16 = 9
    }

    package static let headerByteCount = 9
    /// What a sender may put into one frame before it was told otherwise.
    package static let payloadMax = 16_384
    package static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    package init(
        _ kind: Kind, _ flags: Flags = [], stream: UInt32 = 0, payload: [UInt8] = [],
        declaredLength: Int? = nil
    ) {
        self.kind = kind
        self.flags = flags
        self.stream = stream
        self.payload = payload
        self.declaredLength = declaredLength
    }

    package var bytes: [UInt8] {
        let length = declaredLength ?? payload.count
        return [UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8)]
            + [UInt8(truncatingIfNeeded: length), kind.rawValue, flags.rawValue]
            + bigEndian(stream) + payload
    }

    /// Takes the first frame off `bytes`, if it is complete.
    package static func take(from bytes: inout [UInt8]) -> RawFrame? {
        guard bytes.count >= headerByteCount else { return nil }
        let length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
        guard bytes.count >= headerByteCount + length else { return nil }
        let frame = RawFrame(
            Kind(rawValue: bytes[3]), Flags(rawValue: bytes[4]), stream: number(bytes, at: 5),
            payload: Array(bytes[headerByteCount..<headerByteCount + length]))
        bytes.removeFirst(headerByteCount + length)
        return frame
    }
}

// MARK: - Making frames

extension RawFrame {
    /// - Parameter padding: given, the frame is padded with so many zeros.
    package static func data(
        _ stream: UInt32, _ content: [UInt8] = [], end: Bool = false, padding: UInt8? = nil
    ) -> RawFrame {
        var frame = RawFrame(.data, end ? .endStream : [], stream: stream, payload: content)
        frame.pad(padding)
        return frame
    }

    package static func data(_ stream: UInt32, _ text: String, end: Bool = false) -> RawFrame {
        data(stream, Array(text.utf8), end: end)
    }

    /// A HEADERS frame; the block is complete with it unless `complete` is false.
    package static func headers(
        _ stream: UInt32, _ block: HPACKBlock, end: Bool = true, complete: Bool = true,
        padding: UInt8? = nil, priority: Priority? = nil
    ) -> RawFrame {
        var flags: Flags = end ? .endStream : []
        if complete { flags.insert(.endHeaders) }
        if priority != nil { flags.insert(.priority) }
        var frame = RawFrame(
            .headers, flags, stream: stream, payload: (priority?.bytes ?? []) + block.bytes)
        frame.pad(padding)
        return frame
    }

    package static func continuation(
        _ stream: UInt32, _ bytes: [UInt8] = [], complete: Bool = true
    ) -> RawFrame {
        RawFrame(
            .continuation, complete ? .endHeaders : [], stream: stream, payload: bytes)
    }

    /// The deprecated scheme of RFC 7540 §5.3.
    package struct Priority: Sendable {
        let dependsOn: UInt32
        let weight: UInt8
        let isExclusive: Bool

        package init(dependsOn: UInt32 = 0, weight: UInt8 = 15, isExclusive: Bool = false) {
            self.dependsOn = dependsOn
            self.weight = weight
            self.isExclusive = isExclusive
        }

        var bytes: [UInt8] { bigEndian(dependsOn | (isExclusive ? 1 << 31 : 0)) + [weight] }
    }

    package static func priority(_ stream: UInt32, _ priority: Priority) -> RawFrame {
        RawFrame(.priority, stream: stream, payload: priority.bytes)
    }

    package static func reset(_ stream: UInt32, _ code: Code = .cancel) -> RawFrame {
        RawFrame(.reset, stream: stream, payload: bigEndian(code.rawValue))
    }

    package static func settings(_ values: KeyValuePairs<UInt16, UInt32> = [:]) -> RawFrame {
        RawFrame(
            .settings,
            payload: values.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] + bigEndian($1) })
    }

    package static let settingsAcknowledge = RawFrame(.settings, .acknowledge)

    package static func pushPromise(
        _ stream: UInt32, _ promised: UInt32, _ block: HPACKBlock
    ) -> RawFrame {
        RawFrame(
            .pushPromise, .endHeaders, stream: stream,
            payload: bigEndian(promised) + block.bytes)
    }

    package static func ping(
        _ content: [UInt8] = Array("edgeping".utf8), acknowledge: Bool = false
    ) -> RawFrame {
        RawFrame(.ping, acknowledge ? .acknowledge : [], payload: content)
    }

    package static func goAway(
        last: UInt32 = 0, _ code: Code = .noError, text: String = ""
    ) -> RawFrame {
        RawFrame(
            .goAway,
            payload: bigEndian(last) + bigEndian(code.rawValue) + Array(text.utf8))
    }

    package static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> RawFrame {
        RawFrame(.windowUpdate, stream: stream, payload: bigEndian(increment))
    }

    private mutating func pad(_ count: UInt8?) {
        guard let count else { return }
        flags.insert(.padded)
        payload = [count] + payload + [UInt8](repeating: 0, count: Int(count))
    }
}

// MARK: - Reading frames

extension RawFrame {
    package func has(_ flag: Flags) -> Bool { flags.contains(flag) }

    /// DATA or HEADERS without padding and priority; nil if the pad length is impossible.
    package var content: [UInt8]? {
        var start = 0
        var end = payload.count
        if has(.padded), kind == .data || kind == .headers {
            guard let padding = payload.first, Int(padding) < payload.count else { return nil }
            start = 1
            end -= Int(padding)
        }
        if kind == .headers, has(.priority) { start += 5 }
        return start <= end ? Array(payload[start..<end]) : nil
    }

    /// Of RST_STREAM and GOAWAY.
    package var code: Code? {
        switch kind {
        case .reset where payload.count == 4: Code(rawValue: Self.number(payload, at: 0))
        case .goAway where payload.count >= 8: Code(rawValue: Self.number(payload, at: 4))
        default: nil
        }
    }

    /// Of GOAWAY.
    package var lastStream: UInt32? {
        kind == .goAway && payload.count >= 8 ? Self.number(payload, at: 0) & 0x7FFF_FFFF : nil
    }

    /// Of WINDOW_UPDATE.
    package var increment: Int? {
        kind == .windowUpdate && payload.count == 4
            ? Int(Self.number(payload, at: 0) & 0x7FFF_FFFF) : nil
    }

    package var settingValues: [(UInt16, UInt32)] {
        guard kind == .settings else { return [] }
        return stride(from: 0, to: payload.count - 5, by: 6).map {
            (UInt16(payload[$0]) << 8 | UInt16(payload[$0 + 1]), Self.number(payload, at: $0 + 2))
        }
    }

    fileprivate static func number(_ bytes: [UInt8], at index: Int) -> UInt32 {
        bytes[index..<index + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}

private func bigEndian(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
}

extension RawFrame.Code: CustomStringConvertible {
    private static let names = [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
        "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
        "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ]

    package var description: String {
        rawValue < Self.names.count ? Self.names[Int(rawValue)] : "code \(rawValue)"
    }
}

extension RawFrame: CustomStringConvertible {
    private static let names = [
        "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
        "WINDOW_UPDATE", "CONTINUATION",
    ]

    package var description: String {
        let name =
            kind.rawValue < Self.names.count
            ? Self.names[Int(kind.rawValue)] : "type \(kind.rawValue)"
        let code = code.map { " \($0)" } ?? ""
        return "\(name)[\(stream)] \(payload.count)/\(flags.rawValue)\(code)"
    }
}
