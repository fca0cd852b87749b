internal import EdgePreface

/// A ClientHello says the same in any segments and any records, and what it says is in the message.
enum ClientHelloTarget {
    /// What a hello came to, and what it says.
    private struct View: Equatable {
        var outcome = ClientHelloOutcome.incomplete
        var name: [UInt8] = []
        var supportsTLS13 = false
        var hasECH = false
        var protocols: [Bool] = []
        var byteCount = 0
    }

    private static let asked = ["h2", "http/1.1", "acme-tls/1", "x"].map { Array($0.utf8) }

    static func run(_ input: FuzzInput) throws(Finding) {
        var bytes = input.bytes
        // Lengths that are right let the fuzzer further in.
        if input.has(1) { bytes = body(around: bytes) }
        let recordSize = Int(input.variant >> 2) + 1
        if input.has(0) || input.has(1) { bytes = records(message(bytes), of: recordSize) }

        let whole = view(bytes, [bytes.count])
        let pieces = view(bytes, FuzzInput([input.variant, input.cut] + bytes).pieceEnds)
        try hold(pieces == whole, "in pieces: \(pieces), whole: \(whole)")
        guard whole.outcome == .complete else {
            try hold(
                whole == View(outcome: whole.outcome, protocols: asked.map { _ in false }),
                "only a whole hello says anything: \(whole)")
            return
        }
        let byteCount = whole.byteCount
        try hold((1...bytes.count).contains(byteCount), "a hello lies in the input")
        try hold(byteCount <= ClientHello.byteCountMax, "a hello is bounded")
        try hold(view(bytes, [byteCount]) == whole, "what follows it changes nothing")
        try hold(
            view(bytes, [byteCount - 1]).outcome == .incomplete,
            "nothing but its last byte completes it")

        let message = contents(Array(bytes.prefix(byteCount)))
        try hold(message.count <= ClientHello.messageByteCountMax, "a message is bounded")
        let lower = message.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        try hold(whole.name.count <= 255 && holds(lower, whole.name), "a name is in the message")
        for (name, isOffered) in zip(asked, whole.protocols) where isOffered {
            try hold(
                holds(message, [UInt8(name.count)] + name), "\(name) is in the message")
        }
        let again = records(message, of: recordSize)
        if again.count <= ClientHello.byteCountMax {
            var reframed = view(again, [again.count])
            try hold(reframed.byteCount == again.count, "a hello is all of its records")
            reframed.byteCount = byteCount
            try hold(reframed == whole, "in records of \(recordSize): \(reframed), not \(whole)")
        }
    }

    private static func view(_ bytes: [UInt8], _ ends: [Int]) -> View {
        var hello = ClientHello()
        var view = View()
        for end in ends where view.outcome == .incomplete {
            view.outcome = ClientHello.read(bytes.span.extracting(0..<end), into: &hello)
        }
        let name = hello.serverName
        view.name = (0..<name.count).map { name[$0] }
        view.supportsTLS13 = hello.supportsTLS13
        view.hasECH = hello.hasECH
        view.protocols = asked.map { hello.offers($0.span) }
        view.byteCount = hello.byteCount
        return view
    }

    // MARK: - Messages

    /// A hello of nothing but these extensions.
    private static func body(around extensions: [UInt8]) -> [UInt8] {
        [3, 3] + [UInt8](repeating: 7, count: 32) + [0, 0, 2, 0x13, 0x01, 1, 0]
            + [UInt8(extensions.count >> 8 & 255), UInt8(extensions.count & 255)] + extensions
    }

    private static func message(_ body: [UInt8]) -> [UInt8] {
        [1, UInt8(body.count >> 16 & 255), UInt8(body.count >> 8 & 255), UInt8(body.count & 255)]
            + body
    }

    private static func records(_ message: [UInt8], of size: Int) -> [UInt8] {
        stride(from: 0, to: message.count, by: size).flatMap { start in
            let end = min(start + size, message.count)
            let count = end - start
            return [22, 3, 3, UInt8(count >> 8), UInt8(count & 255)] + message[start..<end]
        }
    }

    /// What records hold, of which all are whole.
    private static func contents(_ bytes: [UInt8]) -> [UInt8] {
        var message: [UInt8] = []
        var rest = bytes[...]
        while rest.count > 5 {
            let header = Array(rest.prefix(5))
            rest = rest.dropFirst(5)
            let count = Int(header[3]) << 8 | Int(header[4])
            message += rest.prefix(count)
            rest = rest.dropFirst(count)
        }
        return message
    }

    private static func holds(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
        guard part.count <= bytes.count else { return false }
        return (0...bytes.count - part.count).contains {
            bytes[$0..<$0 + part.count].elementsEqual(part)
        }
    }
}
