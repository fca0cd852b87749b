internal import EdgeUpstream

/// grpc.health.v1.Health/Check, as far as a check needs it: one message each way.
enum GRPCHealth {
    static let path = "/grpc.health.v1.Health/Check"
    static let headers = [
        HealthPolicy.Header(name: "content-type", value: "application/grpc"),
        HealthPolicy.Header(name: "te", value: "trailers"),
    ]

    /// HealthCheckRequest{service} as a length-prefixed, uncompressed message.
    static func message(service: String) -> [UInt8] {
        let name = Array(service.utf8)
        // Proto3 leaves out what is empty.
        let content = name.isEmpty ? [] : [0x0A] + varint(name.count) + name
        let count = UInt32(truncatingIfNeeded: content.count)
        return [
            0, UInt8(truncatingIfNeeded: count >> 24), UInt8(truncatingIfNeeded: count >> 16),
            UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count),
        ] + content
    }

    private static func varint(_ number: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(truncatingIfNeeded: rest)]
    }

    /// HealthCheckResponse.ServingStatus.
    static func word(_ status: UInt64) -> String {
        switch status {
        case 0: "UNKNOWN"
        case 1: "SERVING"
        case 2: "NOT_SERVING"
        case 3: "SERVICE_UNKNOWN"
        default: "serving status \(status)"
        }
    }

    /// The names of gRPC's status codes.
    static func word(code: Int) -> String {
        let words = [
            "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
            "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
            "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
            "UNAUTHENTICATED",
        ]
        return words.indices.contains(code) ? words[code] : "\(code)"
    }
}

/// Makes one outcome of the answer to `GRPCHealth`.
struct GRPCAnswer {
    private var content: [UInt8] = []
    private var code: Int?

    /// An answer has two bytes, and whatever fields are added to it some day.
    private static let contentMax = 1024

    /// - Parameter code: `grpc-status`, which stands in the head if there is no message.
    mutating func head(_ status: UInt16, isGRPC: Bool, code: Int?) -> CheckOutcome? {
        guard status == 200 else { return .failed(reason: CheckReason.status(status)) }
        guard isGRPC else { return .failed(reason: "does not speak gRPC") }
        self.code = code
        return nil
    }

    mutating func content(_ bytes: UnsafeRawBufferPointer) -> CheckOutcome? {
        guard content.count + bytes.count <= Self.contentMax else { return Self.malformed }
        content.append(contentsOf: bytes)
        return nil
    }

    mutating func trailers(code: Int?) { self.code = code ?? self.code }

    /// The stream has ended in order.
    func end() -> CheckOutcome {
        guard let code else { return .failed(reason: "no grpc-status") }
        guard code == 0 else {
            return .failed(reason: "gRPC status \(GRPCHealth.word(code: code))")
        }
        guard let status = servingStatus else { return Self.malformed }
        return status == 1 ? .passed : .failed(reason: GRPCHealth.word(status))
    }

    private static let malformed = CheckOutcome.failed(reason: "malformed gRPC answer")

    /// Field 1 of the one message; 0 if it is left out; nil for what is no such message.
    private var servingStatus: UInt64? {
        guard content.count >= 5, content[0] == 0 else { return nil }
        let count = content[1..<5].reduce(0) { $0 << 8 | Int($1) }
        guard count == content.count - 5 else { return nil }
        var cursor = ProtobufCursor(rest: content[5...])
        var status: UInt64 = 0
        while !cursor.isAtEnd {
            guard let key = cursor.varint() else { return nil }
            switch (key >> 3, key & 7) {
            case (1, 0):
                guard let value = cursor.varint() else { return nil }
                status = value
            case (1, _), (0, _): return nil
            case (_, 0): guard cursor.varint() != nil else { return nil }
            case (_, 1): guard cursor.skip(8) else { return nil }
            case (_, 2):
                guard let size = cursor.varint(), cursor.skip(size) else { return nil }
            case (_, 5): guard cursor.skip(4) else { return nil }
            default: return nil
            }
        }
        return status
    }
}

/// Reads the fields of a protobuf message.
private struct ProtobufCursor {
    var rest: ArraySlice<UInt8>

    var isAtEnd: Bool { rest.isEmpty }

    /// At most ten bytes.
    mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 70, by: 7) {
            guard let byte = rest.popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }

    mutating func skip(_ count: UInt64) -> Bool {
        guard count <= UInt64(rest.count) else { return false }
        rest = rest.dropFirst(Int(count))
        return true
    }
}
