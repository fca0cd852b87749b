internal import CEdge
internal import EdgeCore
internal import Glibc

/// Programs by which the kernel drops packets before they take room in a socket (cBPF, socket(7)),
/// for the time of a flood. Without them everything goes on, as well as it can.
enum SocketFilter {
    static let accept = sock_filter(code: 0x06, jt: 0, jf: 0, k: .max)
    static let drop = sock_filter(code: 0x06, jt: 0, jf: 0, k: 0)
    /// Where the IP header begins, whatever the socket sees of it (SKF_NET_OFF).
    static let header: UInt32 = 0xFFF0_0000

    /// More are not looked for.
    static let sourcesMax = 32

    /// The beginning of a program: goes on behind it with packets of these sources, drops others.
    ///
    /// - Parameter sources: ports and scopes do not matter. Those of the other family are left out.
    static func sources(_ sources: [SocketAddress], isIPv4: Bool) -> [sock_filter] {
        let own = sources.filter { $0.isIPv4 == isIPv4 }.prefix(sourcesMax)
        let start: UInt32 = isIPv4 ? 12 : 8
        let wordCount = isIPv4 ? 1 : 4
        // Per source: two instructions for each word, one to leave by; at the end: drop.
        let perSource = 2 * wordCount + 1
        var code: [sock_filter] = []
        for (place, source) in own.enumerated() {
            let words =
                isIPv4
                ? [source.ipv4]
                : [source.high, source.low].flatMap {
                    [UInt32($0 >> 32), UInt32(truncatingIfNeeded: $0)]
                }
            for (number, word) in words.enumerated() {
                code.append(
                    sock_filter(code: 0x20, jt: 0, jf: 0, k: header + start + UInt32(4 * number)))
                // To the next source.
                let rest = 2 * (wordCount - 1 - number) + 1
                code.append(sock_filter(code: 0x15, jt: 0, jf: UInt8(rest), k: word))
            }
            let behind = UInt32(perSource * (own.count - 1 - place) + 1)
            code.append(sock_filter(code: 0x05, jt: 0, jf: 0, k: behind))
        }
        return code + [drop]
    }

    static func attach(_ code: [sock_filter], to descriptor: Int32) {
        var code = code
        code.withUnsafeMutableBufferPointer {
            var program = sock_fprog(len: UInt16($0.count), filter: $0.baseAddress)
            setsockopt(
                descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                socklen_t(MemoryLayout<sock_fprog>.size))
        }
    }

    static func detach(from descriptor: Int32) {
        var nothing: Int32 = 0
        setsockopt(descriptor, SOL_SOCKET, SO_DETACH_FILTER, &nothing, 4)
    }
}
