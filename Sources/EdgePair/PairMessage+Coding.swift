internal import EdgeCore

extension PairMessage {
    private static let magic: UInt32 = 0x4544_5052  // "EDPR"

    /// Head and body. What is too long for its place is cut (texts) or left out (lists), so that
    /// the other side takes it; `names` is the caller's to keep within `bodyBytesMax`.
    package var encoded: [UInt8] {
        let body = encodedBody
        var writer = PairWriter()
        writer.bytes.reserveCapacity(Self.headBytes + body.count)
        writer.number(kind.rawValue)
        writer.number(UInt16(0))
        writer.number(UInt32(body.count))
        writer.bytes += body
        return writer.bytes
    }

    private var encodedBody: [UInt8] {
        var writer = PairWriter()
        switch self {
        case .hello(let hello):
            writer.number(Self.magic)
            writer.number(hello.versions.lowerBound)
            writer.number(hello.versions.upperBound)
            writer.number(hello.node)
            writer.number(hello.boot)
            writer.number(hello.wall)
            writer.text(hello.name)
            writer.text(hello.software)
        case .ping(let number): writer.number(number)
        case .pong(let number, let wall):
            writer.number(number)
            writer.number(wall)
        case .ticketKeys(let keys):
            let keys = keys.prefix(Self.ticketKeysMax)
            writer.number(UInt16(keys.count))
            for key in keys { Self.write(key, to: &writer) }
        case .names(let bytes): writer.bytes = Array(bytes.prefix(Self.bodyBytesMax))
        case .troubled(let members):
            let members = members.prefix(Self.membersMax)
            writer.number(UInt16(members.count))
            for member in members {
                writer.text(member.upstream)
                writer.address(member.address)
            }
        case .fingerprints(let prints): Self.write(prints, to: &writer)
        case .order(let order):
            writer.number(order.number)
            let (word, span): (UInt8, UInt32) =
                switch order.kind {
                case .plan: (1, 0)
                case .reload(let milliseconds): (2, milliseconds)
                case .confirm: (3, 0)
                }
            writer.number(word)
            writer.number(span)
            if case .confirm(let reload) = order.kind { writer.number(reload) }
        case .orderResult(let result):
            let lines = result.lines.prefix(Self.linesMax)
            writer.number(result.number)
            writer.number(result.outcome.rawValue)
            writer.number(UInt16(lines.count))
            for line in lines { writer.text(line) }
        case .farewell(let reason): writer.number(reason.rawValue)
        case .costs(let costs): Self.write(costs, to: &writer)
        case .debts(let debts): Self.write(debts, to: &writer)
        case .textKey(let key):
            writer.number(key.high)
            writer.number(key.low)
            writer.number(key.age)
        case .bans(let bans): Self.write(bans, to: &writer)
        case .refusals(let refusals): Self.write(refusals, to: &writer)
        }
        return writer.bytes
    }

    private static func write(_ key: PairTicketKey, to writer: inout PairWriter) {
        invariant(key.random.count == TicketKey.randomBytes, "a ticket key is made of 80 bytes")
        writer.number(key.origin)
        writer.number(key.age.nanoseconds / 1_000_000)
        writer.number(key.createdSeconds)
        writer.bytes += key.random
    }

    private static func write(_ prints: PairFingerprints, to writer: inout PairWriter) {
        let labels = prints.labels.prefix(labelsMax)
        writer.number(prints.configuration)
        writer.number(prints.epoch)
        writer.number(prints.certificates)
        writer.number(prints.certificateCount)
        writer.number(UInt16(labels.count))
        for label in labels {
            writer.text(label.name)
            writer.number(label.fingerprint)
        }
    }

    // MARK: - Decoding

    /// A body of a known type.
    package init(_ kind: Kind, body: ArraySlice<UInt8>) throws(PairViolation) {
        var reader = PairReader(body, kind)
        switch kind {
        case .hello:
            self = .hello(try Self.hello(&reader))
            // What a later version has added.
            _ = reader.rest()
        case .ping: self = .ping(number: try reader.number())
        case .pong:
            let number: UInt64 = try reader.number()
            self = .pong(number: number, wall: try reader.number())
        case .ticketKeys:
            var keys: [PairTicketKey] = []
            for _ in 0..<(try reader.count(upTo: Self.ticketKeysMax)) {
                keys.append(try Self.ticketKey(&reader))
            }
            self = .ticketKeys(keys)
        case .names: self = .names(Array(reader.rest()))
        case .troubled:
            var members: [PairMember] = []
            for _ in 0..<(try reader.count(upTo: Self.membersMax)) {
                let upstream = try reader.text()
                members.append(PairMember(upstream: upstream, address: try reader.address()))
            }
            self = .troubled(members)
        case .fingerprints: self = .fingerprints(try Self.fingerprints(&reader))
        case .order: self = .order(try Self.order(&reader))
        case .orderResult:
            let number: UInt64 = try reader.number()
            let word: UInt8 = try reader.number()
            guard let outcome = PairOrderResult.Outcome(rawValue: word) else {
                throw reader.violation
            }
            var lines: [String] = []
            for _ in 0..<(try reader.count(upTo: Self.linesMax)) {
                lines.append(try reader.text())
            }
            self = .orderResult(PairOrderResult(number: number, outcome: outcome, lines: lines))
        case .farewell:
            let word: UInt8 = try reader.number()
            guard let reason = PairFarewell(rawValue: word) else { throw reader.violation }
            self = .farewell(reason)
        case .costs: self = .costs(try Self.costs(&reader))
        case .debts: self = .debts(try Self.debts(&reader))
        case .textKey:
            let high: UInt64 = try reader.number()
            let low: UInt64 = try reader.number()
            self = .textKey(PairTextKey(high: high, low: low, age: try reader.number()))
        case .bans: self = .bans(try Self.bans(&reader))
        case .refusals: self = .refusals(try Self.refusals(&reader))
        }
        guard reader.isAtEnd else { throw reader.violation }
    }

    private static func hello(_ reader: inout PairReader) throws(PairViolation) -> PairHello {
        guard try reader.number() as UInt32 == magic else { throw reader.violation }
        let low: UInt16 = try reader.number()
        let high: UInt16 = try reader.number()
        guard low <= high else { throw reader.violation }
        let node: UInt64 = try reader.number()
        let boot: UInt64 = try reader.number()
        let wall: UInt64 = try reader.number()
        let name = try reader.text()
        return PairHello(
            versions: low...high, node: node, boot: boot, wall: wall, name: name,
            software: try reader.text())
    }

    private static func ticketKey(
        _ reader: inout PairReader
    ) throws(PairViolation) -> PairTicketKey {
        let origin: UInt64 = try reader.number()
        let age: UInt64 = try reader.number()
        // No key is older than a year; 0 stands for the reader's own.
        guard origin != 0, age <= 366 * 86_400_000 else { throw reader.violation }
        let created: Int64 = try reader.number()
        return PairTicketKey(
            origin: origin, age: .milliseconds(Int64(age)), createdSeconds: created,
            random: Array(try reader.take(TicketKey.randomBytes)))
    }

    private static func fingerprints(
        _ reader: inout PairReader
    ) throws(PairViolation) -> PairFingerprints {
        let configuration: UInt64 = try reader.number()
        let epoch: UInt64 = try reader.number()
        let certificates: UInt64 = try reader.number()
        let count: UInt32 = try reader.number()
        var labels: [PairFingerprints.Label] = []
        for _ in 0..<(try reader.count(upTo: labelsMax)) {
            let name = try reader.text()
            labels.append(.init(name: name, fingerprint: try reader.number()))
        }
        return PairFingerprints(
            configuration: configuration, epoch: epoch, certificates: certificates,
            certificateCount: count, labels: labels)
    }

    private static func order(_ reader: inout PairReader) throws(PairViolation) -> PairOrder {
        let number: UInt64 = try reader.number()
        let word: UInt8 = try reader.number()
        let span: UInt32 = try reader.number()
        switch (word, span) {
        case (1, 0): return PairOrder(number: number, kind: .plan)
        case (2, 1...3_600_000):
            return PairOrder(number: number, kind: .reload(confirmWithin: span))
        case (3, 0):
            return PairOrder(number: number, kind: .confirm(reload: try reader.number()))
        default: throw reader.violation
        }
    }
}
