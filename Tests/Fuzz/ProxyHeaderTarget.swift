internal import EdgeCore
internal import EdgePreface

/// A PROXY header is the same in any segments, lies in the input, and means what the C library and
/// our own writer say that it means.
enum ProxyHeaderTarget {
    static func run(_ input: FuzzInput) throws(Finding) {
        let bytes = input.bytes
        let whole = ProxyHeader.read(bytes.span)
        for end in input.pieceEnds {
            let outcome = ProxyHeader.read(bytes.span.extracting(0..<end))
            if outcome == .incomplete { continue }
            try hold(outcome == whole, "with \(end) bytes: \(outcome), whole: \(whole)")
        }
        switch whole {
        case .incomplete:
            try hold(bytes.count < ProxyHeader.byteCountMax, "what is too long is refused")
        case .malformed: break
        case .complete(let byteCount, let header):
            try hold((1...bytes.count).contains(byteCount), "a header lies in the input")
            let shorter = ProxyHeader.read(bytes.span.extracting(0..<byteCount - 1))
            try hold(shorter == .incomplete, "nothing but its last byte completes it: \(shorter)")
            let same = ProxyHeader.read(bytes.span.extracting(0..<byteCount))
            try hold(same == whole, "what follows it changes nothing")
            try write(header)
        }
        if bytes.starts(with: Array("PROXY TCP".utf8)) { try compareLine(bytes, whole) }
        if bytes.first == 0x0D, case .complete(let byteCount, _) = whole {
            try hold(
                byteCount == 16 + Int(bytes[14]) << 8 + Int(bytes[15]), "it is as long as it says")
        }
    }

    /// What is read can be written, and is then read again.
    private static func write(_ header: ProxyHeader) throws(Finding) {
        guard let source = header.source, let destination = header.destination else {
            try hold(header == ProxyHeader(), "there are both addresses or none")
            return
        }
        var storage = ProxyHeader.Storage(repeating: 0)
        let count = ProxyHeader.write(from: source, to: destination, into: &storage)
        let again = ProxyHeader.read(storage.span.extracting(0..<count))
        try hold(again == .complete(byteCount: count, header), "\(header) is \(again)")
    }

    /// Version 1 against the C library's reader of addresses.
    private static func compareLine(
        _ bytes: [UInt8], _ outcome: ProxyHeaderOutcome
    ) throws(Finding) {
        let start = bytes.prefix(ProxyHeader.lineByteCountMax)
        guard let end = start.firstIndex(of: 0x0D) else { return }
        guard end + 1 < start.count, start[end + 1] == 0x0A else { return }
        let wanted = header(of: start[..<end]).map {
            ProxyHeaderOutcome.complete(byteCount: end + 2, $0)
        }
        if let wanted {
            try hold(outcome == wanted, "\(outcome) is \(wanted)")
        } else if case .complete = outcome {
            throw Finding("\(start) is no line of version 1")
        }
    }

    private static func header(of line: ArraySlice<UInt8>) -> ProxyHeader? {
        guard line.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
        let words = String(decoding: line, as: UTF8.self)
            .split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 6, words[1] == "TCP4" || words[1] == "TCP6",
            let source = address(words[2], words[4], isIPv4: words[1] == "TCP4"),
            let destination = address(words[3], words[5], isIPv4: words[1] == "TCP4")
        else { return nil }
        return ProxyHeader(source: source, destination: destination)
    }

    private static func address(
        _ text: Substring, _ port: Substring, isIPv4: Bool
    ) -> SocketAddress? {
        guard text.contains(":") != isIPv4, let number = UInt16(port), "\(number)" == port else {
            return nil
        }
        return SocketAddress(address: String(text), port: number)
    }
}
