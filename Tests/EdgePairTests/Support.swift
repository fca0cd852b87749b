internal import EdgeCore
internal import EdgePair
internal import EdgeTesting

enum Sample {
    static func key(_ byte: UInt8, origin: UInt64 = 7, age: Duration = .seconds(5)) -> PairTicketKey
    {
        PairTicketKey(
            origin: origin, age: age, createdSeconds: 1_700_000_000,
            random: [UInt8](repeating: byte, count: TicketKey.randomBytes))
    }

    static func hello(
        _ node: UInt64, boot: UInt64 = 1, versions: ClosedRange<UInt16> = 1...1
    ) -> PairHello {
        PairHello(
            versions: versions, node: node, boot: boot, wall: 1_000, name: "lb-\(node)",
            software: "1.0")
    }

    static let prints = PairFingerprints(
        configuration: 1, epoch: 2, certificates: 3, certificateCount: 2,
        labels: [
            .init(name: "a.example", fingerprint: 4), .init(name: "b.example", fingerprint: 5),
        ])

    static let ban = PairBan(
        client: SocketAddress(ipv4: 0xC000_0201, port: 0), bits: 32, policy: "public", age: 3,
        remaining: PairMessage.banMax)
    static let lifting = PairBan(
        client: SocketAddress(ipv6High: 0x2001_0DB8_0000_0000, low: 0, port: 0), bits: 64,
        policy: "", age: .max, remaining: 0)
    static let refusals = PairRefusals(
        policies: [
            .init(name: "public", admitted: 1, refused: 2, shadow: 3, bans: .max),
            .init(name: "", admitted: 0, refused: 0, shadow: 0, bans: 0),
        ],
        rows: [
            .init(
                client: SocketAddress(ipv4: 0xC000_0201, port: 0), bits: 32, policy: "public",
                isShadow: true, count: .max, surplus: 1, firstAge: 2, lastAge: .max)
        ])

    /// One of each kind, and of each form that a kind has.
    static let messages: [PairMessage] = [
        .hello(hello(9)), .ping(number: 3), .pong(number: 3, wall: .max),
        .ticketKeys([]), .ticketKeys([key(1), key(2, origin: .max, age: .zero)]),
        .names([]), .names([1, 2, 3]), .troubled([]),
        .troubled([
            PairMember(upstream: "u", address: SocketAddress(ipv4: 0x0A00_0001, port: 80)),
            PairMember(
                upstream: "ü", address: SocketAddress(ipv6High: 1 << 60, low: 1, port: 443)),
        ]),
        .fingerprints(prints), .order(PairOrder(number: 1, kind: .plan)),
        .order(PairOrder(number: 2, kind: .reload(confirmWithin: 3_600_000))),
        .order(PairOrder(number: .max, kind: .confirm(reload: 2))),
        .orderResult(PairOrderResult(number: 1, outcome: .refused, lines: ["a", "", "b"])),
        .farewell(.stopping),
        .costs(
            PairCosts(
                incarnation: 5, number: 1,
                entries: [
                    PairCost(identity: 1, high: 2, low: 3, cost: 4),
                    PairCost(identity: .max, high: .max, low: .max, cost: .max),
                ])),
        .debts([
            PairDebt(identity: 1, high: 2, low: 3, nanoseconds: 1),
            PairDebt(identity: 1, high: 2, low: 4, nanoseconds: PairMessage.debtMax),
        ]),
        .textKey(PairTextKey(high: 1, low: .max, age: 3)),
        .bans(PairBans(isList: true, bans: [ban, lifting])),
        .bans(PairBans(isList: false, bans: [ban])),
        .refusals(PairRefusals(policies: [], rows: [])), .refusals(refusals),
    ]
}

/// A machine with a clock of its own and what it wanted.
final class Node {
    var machine: PairMachine
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var wall: UInt64 = 1_700_000_000_000_000_000

    init(
        _ node: UInt64, peer: UInt64, versions: ClosedRange<UInt16> = 1...1,
        timing: PairTiming = PairTiming(), seed: UInt64 = 1
    ) {
        var ends = PairMachine.Ends(
            node: node, peer: peer, boot: seed, name: "lb-\(node)", software: "1.0")
        ends.versions = versions
        machine = PairMachine(ends: ends, timing: timing, now: now, seed: seed)
    }

    func start() -> [PairMachine.Action] { machine.start(now: now) }
    func send(_ message: PairMessage) -> [PairMachine.Action] { machine.send(message) }
    func stop() -> [PairMachine.Action] { machine.stop(now: now) }
    func advance() -> [PairMachine.Action] { machine.advance(now: now, wall: wall) }

    func failed(_ reason: String) -> [PairMachine.Action] {
        machine.connectFailed(reason, now: now)
    }

    func lost(_ link: Int, _ reason: String) -> [PairMachine.Action] {
        machine.lost(link, reason, now: now)
    }

    func connected(_ link: Int) -> [PairMachine.Action] {
        machine.connected(link, now: now, wall: wall)
    }

    func receive(_ message: PairMessage, on link: Int = 1) -> [PairMachine.Action] {
        machine.received(
            link, .message(message, byteCount: message.encoded.count), now: now, wall: wall)
    }

    /// Time passes, and the machine is woken when it wants to be.
    func pass(_ span: Duration) -> [PairMachine.Action] {
        let end = now.advanced(by: span)
        var actions: [PairMachine.Action] = []
        while machine.nextDue <= end {
            step(to: max(machine.nextDue, now))
            let done = machine.advance(now: now, wall: wall)
            actions += done
            if done.isEmpty, machine.nextDue <= now { break }
        }
        step(to: end)
        return actions
    }

    /// The same, and nobody wakes it.
    func step(to instant: Instant) {
        wall += instant.nanoseconds(since: now)
        now = instant
    }
}

extension [PairMachine.Action] {
    var sent: [PairMessage] {
        compactMap { if case .send(_, let message) = $0 { message } else { nil } }
    }

    var closedLinks: [Int] {
        compactMap { if case .close(let link) = $0 { link } else { nil } }
    }

    var losses: [PairLoss] {
        compactMap { if case .closed(let loss) = $0 { loss } else { nil } }
    }

    var opens: Int {
        filter { if case .opened = $0 { true } else { false } }.count
    }

    var delivered: [PairMessage] {
        compactMap { if case .deliver(let message) = $0 { message } else { nil } }
    }

    var connects: Int { filter { $0 == .connect }.count }
}
