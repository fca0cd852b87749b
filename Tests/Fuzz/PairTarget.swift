internal import EdgeCore
internal import EdgePair

/// What the other node sends, once it has proved who it is: a message is refused, passed over, or
/// exactly what encoding it again makes; however it is cut, the same messages come out; and the
/// machine that hears them stays within its bounds and never trusts a stranger.
enum PairTarget {
    static func run(_ input: FuzzInput) throws(Finding) {
        let whole = try items(input.bytes, ends: [input.bytes.count], isWhole: true)
        let pieces = try items(input.bytes, ends: input.pieceEnds, isWhole: false)
        try hold(whole.elementsEqual(pieces), "pieces are understood as the whole")
        try machine(whole, greets: input.has(0))
    }

    private static func items(
        _ bytes: [UInt8], ends: [Int], isWhole: Bool
    ) throws(Finding) -> [PairFrames.Item] {
        var frames = PairFrames()
        var result: [PairFrames.Item] = []
        var from = 0
        var at = 0
        for end in ends {
            frames.append(bytes[from..<end])
            from = end
            do throws(PairViolation) {
                while let item = try frames.next() {
                    result.append(item)
                    if isWhole { try check(item, bytes[at...]) }
                    at += item.byteCount
                }
            } catch {
                break
            }
        }
        return result
    }

    private static func check(
        _ item: PairFrames.Item, _ bytes: ArraySlice<UInt8>
    ) throws(PairViolation) {
        guard case .message(let message, let count) = item else { return }
        let again = message.encoded
        // What a later version has added to a hello is not kept.
        let isSame =
            message.kind == .hello
            ? again.count <= count
                && again.dropFirst(8).elementsEqual(
                    bytes.dropFirst(8).prefix(again.count - 8))
            : again.elementsEqual(bytes.prefix(count))
        invariant(isSame, "a message is what its bytes say")
    }

    private static func machine(
        _ items: [PairFrames.Item], greets: Bool
    ) throws(Finding) {
        let now = Instant(nanoseconds: 1_000_000_000)
        var machine = PairMachine(
            ends: .init(node: 2, peer: 1, boot: 1, name: "a", software: "1"), now: now, seed: 1)
        _ = machine.connected(1, now: now, wall: 1)
        if greets {
            let hello = PairMessage.hello(
                PairHello(
                    versions: 1...1, node: 1, boot: 1, wall: 1, name: "", software: ""))
            _ = machine.received(
                1, .message(hello, byteCount: hello.encoded.count), now: now, wall: 1)
        }
        var isGreeted = greets
        for item in items {
            if case .message(.hello(let hello), _) = item, hello.node == 1 { isGreeted = true }
            let actions = machine.received(1, item, now: now, wall: 1)
            for case .deliver in actions {
                try hold(isGreeted, "nothing is delivered before a hello of the peer's")
            }
            try hold(actions.count <= 4, "a message has few consequences")
        }
        try hold(machine.counts.sent <= items.count + 3, "it does not talk more than it hears")
        _ = machine.advance(now: now.advanced(by: .seconds(60)), wall: 1)
        _ = machine.stop(now: now)
        try hold(machine.nextDue == .never, "nothing is due of a machine that has stopped")
    }
}
