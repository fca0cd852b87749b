import EdgeCore
import Testing

@testable import EdgePreface

func readHeader(_ bytes: [UInt8]) -> ProxyHeaderOutcome { ProxyHeader.read(bytes.span) }

func readHeader(_ line: String) -> ProxyHeaderOutcome { readHeader(Array(line.utf8)) }

/// Reads byte by byte as they arrive, and holds on the way that what has been decided stays.
func readHeaderInSegments(_ bytes: [UInt8]) -> ProxyHeaderOutcome {
    for count in 0...bytes.count {
        let outcome = readHeader(Array(bytes.prefix(count)))
        if outcome == .incomplete { continue }
        if case .complete(let byteCount, _) = outcome { #expect(byteCount == count) }
        #expect(readHeader(bytes) == outcome, "\(bytes)")
        return outcome
    }
    return .incomplete
}

/// A header of version 2, well-formed or not.
struct HeaderBlock {
    static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

    var command: UInt8 = 0x21
    var family: UInt8 = 0x11
    var addresses: [UInt8] = [192, 0, 2, 7, 198, 51, 100, 9, 0xC3, 0x50, 0x01, 0xBB]
    var extensions: [(type: UInt8, value: [UInt8])] = []
    /// Instead of the right one.
    var length: Int?

    var bytes: [UInt8] {
        var rest = addresses
        for (type, value) in extensions {
            rest += [type, UInt8(value.count >> 8), UInt8(value.count & 255)] + value
        }
        let length = length ?? rest.count
        return Self.signature + [command, family, UInt8(length >> 8), UInt8(length & 255)] + rest
    }
}
