internal import EdgeCore

/// The datagram, in network order:
///
///     0  "EDGp"         4  version (2)   5  flags: 1 authenticated, 2 maintenance, 4 answers
///     6  fitness: 0 fit, 1 degraded, 2 unfit               7  why unfit
///     8  troubles (4)   12 instances (1)  13 zero (3)
///     16 boot  24 sequence  32 challenge  40 echo  48 wall clock  56 monotonic  64 fingerprint
///     72 name: count (1), bytes     version: count (1), bytes
///        instances: router id, state, priority,
///            flags (1 ready, 2 asks, 4 in maintenance, 8 answers), since in ms (4),
///            fitness, why unfit, zero (2), troubles (4)
///        code (32) if authenticated
///
/// Version 1 had one standing for all instances, and is refused by its number.
extension PresenceMessage {
    static let magic: UInt32 = 0x4544_4770
    static let version: UInt8 = 2
    static let headByteCount = 72
    static let instanceByteCount = 16

    /// The datagram. A name or version that is too long is an error of ours.
    package func encode(authenticator: PresenceAuthenticator?) -> [UInt8] {
        let name = Array(nodeName.utf8)
        let version = Array(programVersion.utf8)
        invariant(
            name.count <= Self.nodeNameByteCountMax && version.count <= Self.versionByteCountMax
                && instances.count <= Self.instancesMax,
            "a presence message is within its limits")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.byteCountMax)
        bytes.append(word32: Self.magic)
        bytes.append(Self.version)
        bytes.append(
            (authenticator == nil ? 0 : 1) | (standing.isInMaintenance ? 2 : 0)
                | (standing.fitness.answers ? 4 : 0))
        let (kind, reason, troubles) = standing.fitness.words
        bytes += [kind, reason]
        bytes.append(word32: troubles)
        bytes += [UInt8(instances.count), 0, 0, 0]
        for word in [
            bootID, sequence, challenge, echo, wallClock, monotonic, configurationFingerprint,
        ] { bytes.append(word64: word) }
        bytes.append(UInt8(name.count))
        bytes += name
        bytes.append(UInt8(version.count))
        bytes += version
        for instance in instances {
            bytes += [
                instance.routerID, instance.state.rawValue, instance.priority,
                (instance.isReady ? 1 : 0) | (instance.asksToTakeOver ? 2 : 0)
                    | (instance.standing.isInMaintenance ? 4 : 0)
                    | (instance.standing.fitness.answers ? 8 : 0),
            ]
            bytes.append(word32: instance.sinceMilliseconds)
            let (kind, reason, troubles) = instance.standing.fitness.words
            bytes += [kind, reason, 0, 0]
            bytes.append(word32: troubles)
        }
        guard let authenticator else { return bytes }
        let code = authenticator.code(bytes)
        invariant(code.count == PresenceAuthenticator.byteCount, "a code has 32 bytes")
        return bytes + code
    }

    /// Reads and authenticates a datagram. Nothing of it is believed before the code is right.
    ///
    /// - Throws: `.length`, `.magic`, `.version`, `.malformed`, `.unauthenticated`, `.noSecret` or
    ///   `.authentication`.
    package init(
        decoding bytes: [UInt8], authenticator: PresenceAuthenticator?
    ) throws(PresenceRefusal) {
        guard bytes.count >= Self.headByteCount + 2, bytes.count <= Self.byteCountMax else {
            throw .length
        }
        guard bytes.span.word32(at: 0) == Self.magic else { throw .magic }
        guard bytes[4] == Self.version else { throw .version }
        let flags = bytes[5]
        let body = try Self.authenticated(bytes, flags: flags, authenticator: authenticator)
        guard flags & ~7 == 0, bytes[13] | bytes[14] | bytes[15] == 0,
            let fitness = Fitness(
                kind: bytes[6], reason: bytes[7], troubles: bytes.span.word32(at: 8),
                answers: flags & 4 != 0)
        else { throw .malformed }
        var cursor = Self.headByteCount
        let name = try Self.text(body, &cursor, max: Self.nodeNameByteCountMax)
        let version = try Self.text(body, &cursor, max: Self.versionByteCountMax)
        guard !name.isEmpty else { throw .malformed }
        let count = Int(bytes[12])
        guard count <= Self.instancesMax, body.count - cursor == count * Self.instanceByteCount
        else { throw .length }
        var instances: [Instance] = []
        for _ in 0..<count {
            let instance = try Self.instance(body, at: cursor)
            guard !instances.contains(where: { $0.routerID == instance.routerID }) else {
                throw .malformed
            }
            instances.append(instance)
            cursor += Self.instanceByteCount
        }
        let words = (0..<7).map { bytes.span.word64(at: 16 + $0 * 8) }
        self.init(
            nodeName: name, bootID: words[0], sequence: words[1], challenge: words[2],
            echo: words[3], wallClock: words[4], monotonic: words[5],
            standing: Standing(fitness: fitness, isInMaintenance: flags & 2 != 0),
            configurationFingerprint: words[6], programVersion: version, instances: instances)
    }

    /// What the code covers, once it is right; all, without secret and code.
    private static func authenticated(
        _ bytes: [UInt8], flags: UInt8, authenticator: PresenceAuthenticator?
    ) throws(PresenceRefusal) -> [UInt8] {
        guard let authenticator else {
            guard flags & 1 == 0 else { throw .noSecret }
            return bytes
        }
        guard flags & 1 != 0 else { throw .unauthenticated }
        let count = bytes.count - PresenceAuthenticator.byteCount
        guard count >= headByteCount + 2 else { throw .length }
        let body = Array(bytes[..<count])
        guard authenticator.proves(body, bytes[count...]) else { throw .authentication }
        return body
    }

    private static func text(
        _ body: [UInt8], _ cursor: inout Int, max: Int
    ) throws(PresenceRefusal) -> String {
        guard cursor < body.count else { throw .length }
        let count = Int(body[cursor])
        guard cursor + 1 + count <= body.count else { throw .length }
        let bytes = body[(cursor + 1)..<(cursor + 1 + count)]
        cursor += 1 + count
        // Printable ASCII: it ends up in logs and on terminals.
        guard count <= max, bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw .malformed
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func instance(
        _ body: [UInt8], at cursor: Int
    ) throws(PresenceRefusal) -> Instance {
        let flags = body[cursor + 3]
        guard body[cursor] != 0, flags & ~15 == 0, body[cursor + 10] | body[cursor + 11] == 0,
            let state = ElectionState(rawValue: body[cursor + 1]),
            let fitness = Fitness(
                kind: body[cursor + 8], reason: body[cursor + 9],
                troubles: body.span.word32(at: cursor + 12), answers: flags & 8 != 0)
        else { throw .malformed }
        return Instance(
            routerID: body[cursor], state: state, priority: body[cursor + 2],
            isReady: flags & 1 != 0, asksToTakeOver: flags & 2 != 0,
            sinceMilliseconds: body.span.word32(at: cursor + 4),
            standing: Standing(fitness: fitness, isInMaintenance: flags & 4 != 0))
    }
}

extension Fitness {
    /// Kind, reason and troubles as on the wire.
    fileprivate var words: (UInt8, UInt8, UInt32) {
        switch self {
        case .fit: (0, 0, 0)
        case .degraded(let troubles): (1, 0, troubles.rawValue)
        case .unfit(let reason, _): (2, reason.rawValue, 0)
        }
    }

    /// nil for what no `words` are.
    fileprivate init?(kind: UInt8, reason: UInt8, troubles: UInt32, answers: Bool) {
        switch (kind, reason, troubles, answers) {
        case (0, 0, 0, true): self = .fit
        case (1, 0, _, true): self = .degraded(Troubles(rawValue: troubles))
        case (2, _, 0, _):
            guard let unfitness = Unfitness(rawValue: reason) else { return nil }
            self = .unfit(unfitness, answers: answers)
        default: return nil
        }
    }
}
