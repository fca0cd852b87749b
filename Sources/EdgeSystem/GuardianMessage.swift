/// What guardian and proxy say to each other: one datagram of 64 bytes per message, little-endian,
/// with up to 16 descriptors beside it. The guardian trusts nothing a proxy sends.
///
///     0  version (1)   u16
///     2  type          u16   1… guardian → proxy, 65… proxy → guardian
///     4  reserved, 0   u32
///     8  fields        7 × u64, unused ones 0
package protocol GuardianMessage: Equatable, Sendable {
    /// The numbers this message consists of.
    var wire: GuardianWire { get }

    /// - Throws: `.unknownType`, `.fieldOutOfRange`, `.unusedFieldSet`.
    init(wire: GuardianWire) throws(GuardianMessageError)

    /// How many descriptors may come with it.
    var descriptorCounts: ClosedRange<Int> { get }
}

/// Why a datagram is not a message.
package enum GuardianMessageError: Error, Equatable {
    case wrongSize(Int)
    case wrongVersion(UInt16)
    case unknownType(UInt16)
    case reservedBitsSet
    case unusedFieldSet
    case fieldOutOfRange
    /// More or fewer descriptors than the message takes.
    case wrongDescriptorCount(Int)
}

/// A message as numbers: its type and its fields.
package struct GuardianWire: Equatable, Sendable {
    package static let version: UInt16 = 1
    package static let byteCount = 64
    package static let fieldCount = 7

    package let type: UInt16
    package private(set) var fields = [UInt64](repeating: 0, count: fieldCount)

    package init(_ type: UInt16, _ fields: UInt64...) {
        self.type = type
        for (index, field) in fields.enumerated() { self.fields[index] = field }
    }

    /// - Throws: `.wrongSize`, `.wrongVersion`, `.reservedBitsSet`.
    package init(bytes: [UInt8]) throws(GuardianMessageError) {
        guard bytes.count == Self.byteCount else { throw .wrongSize(bytes.count) }
        let version = UInt16(Self.number(bytes, 0, 2))
        guard version == Self.version else { throw .wrongVersion(version) }
        guard Self.number(bytes, 4, 4) == 0 else { throw .reservedBitsSet }
        type = UInt16(Self.number(bytes, 2, 2))
        for index in 0..<Self.fieldCount { fields[index] = Self.number(bytes, 8 + 8 * index, 8) }
    }

    package var bytes: [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(Self.byteCount)
        func append(_ value: UInt64, _ count: Int) {
            for index in 0..<count {
                result.append(UInt8(truncatingIfNeeded: value >> (8 * index)))
            }
        }
        append(UInt64(Self.version), 2)
        append(UInt64(type), 2)
        append(0, 4)
        for field in fields { append(field, 8) }
        return result
    }

    private static func number(_ bytes: [UInt8], _ start: Int, _ count: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<count { value |= UInt64(bytes[start + index]) << (8 * index) }
        return value
    }

    // MARK: Fields

    /// Field `index` as a count or index of at most `max`.
    func int(_ index: Int, max: Int) throws(GuardianMessageError) -> Int {
        guard fields[index] <= UInt64(max) else { throw .fieldOutOfRange }
        return Int(fields[index])
    }

    /// The fields from `used` on carry nothing.
    func checkUnused(from used: Int) throws(GuardianMessageError) {
        guard fields[used...].allSatisfy({ $0 == 0 }) else { throw .unusedFieldSet }
    }
}

// MARK: - Guardian → proxy

/// What the guardian tells the proxy.
package enum ProxyCommand: GuardianMessage {
    /// The first message. Descriptors: sealed configuration, board, ticket keys, the listening
    /// admin socket if `flags` has `.adminSocket`, and memory for limits if it has `.limitMemory`.
    case hello(Hello)
    /// The sockets of one listener address, in as many messages as it takes; `firstSocket` is the
    /// index of this message's first one. Socket i is worker i's. Before `start` they are what the
    /// proxy begins with; later they belong to the reload that is prepared.
    case listener(ListenerSockets)
    /// In the configuration that is prepared, a listener's address is served by sockets that the
    /// proxy has already.
    case place(ListenerPlace)
    /// Take what waits on these sockets, let go of them, then report `groupLeft`.
    case leaveGroup(Int)
    /// Everything has been sent: prepare, then report `prepared`.
    case start
    /// The sockets listen: accept, then report `serving`.
    case serve
    /// Prepare this configuration (descriptor), then report `reloadPrepared` or `reloadRefused`.
    case reload(id: UInt64)
    case reloadCommit(id: UInt64)
    case reloadAbort(id: UInt64)
    /// How the reload that the proxy asked for ended; a memfd with text may come with it.
    case reloadResult(requestID: UInt64, outcome: ReloadOutcome)
    /// Take no more connections, report `drained`, let requests finish; `finished` at the latest
    /// after so many milliseconds. `isReplaced`: another proxy serves by now, and answers the admin
    /// socket.
    case stop(deadlineMilliseconds: Int, isReplaced: Bool = false)
    /// Leave now.
    case stopNow
    case reopenLogs
    /// What only the guardian knows (descriptor: `GuardianNews` as JSON in a sealed memfd). Who has
    /// got one may send `fitness`, `nodePlease` and `yieldPlease`.
    case news
    /// Clients are told to go, or are welcome again; nobody is turned away.
    case dismissClients(Bool)

    package struct Hello: Equatable, Sendable {
        package let workers: Int
        package let socketsPerListener: Int
        /// Listener addresses, each of which comes in its own `listener` messages.
        package let listenerAddresses: Int
        package let flags: Flags
        /// Which of the board's banks is this proxy's.
        package let bank: Int

        package init(
            workers: Int, socketsPerListener: Int, listenerAddresses: Int, flags: Flags,
            bank: Int = 0
        ) {
            self.bank = bank
            self.workers = workers
            self.socketsPerListener = socketsPerListener
            self.listenerAddresses = listenerAddresses
            self.flags = flags
        }

        var descriptorCount: Int {
            3 + (flags.contains(.adminSocket) ? 1 : 0) + (flags.contains(.limitMemory) ? 1 : 0)
        }
    }

    package struct Flags: OptionSet, Sendable, Hashable {
        package let rawValue: UInt64
        package init(rawValue: UInt64) { self.rawValue = rawValue }
        /// The admin socket is the fourth descriptor.
        package static let adminSocket = Flags(rawValue: 1)
        /// A proxy served before this one: counters go on, drop caches are worth reading.
        package static let restarted = Flags(rawValue: 2)
        /// Another proxy serves the same sockets until this one does.
        package static let successor = Flags(rawValue: 4)
        /// An administrator has drained the node: clients are told to go.
        package static let drained = Flags(rawValue: 8)
        /// Memory for what clients have used up is the last descriptor.
        package static let limitMemory = Flags(rawValue: 16)
        static let all: Flags = [.adminSocket, .restarted, .successor, .drained, .limitMemory]
    }

    package struct ListenerSockets: Equatable, Sendable {
        /// Index in the configuration's listeners.
        package let listener: Int
        /// Index in that listener's addresses.
        package let address: Int
        /// The number that the sockets of one address have for as long as they are open.
        package let group: Int
        package let firstSocket: Int
        package let count: Int

        package init(listener: Int, address: Int, group: Int, firstSocket: Int, count: Int) {
            self.listener = listener
            self.address = address
            self.group = group
            self.firstSocket = firstSocket
            self.count = count
        }
    }

    package struct ListenerPlace: Equatable, Sendable {
        /// Index in the configuration's listeners.
        package let listener: Int
        /// Index in that listener's addresses.
        package let address: Int
        package let group: Int

        package init(listener: Int, address: Int, group: Int) {
            self.listener = listener
            self.address = address
            self.group = group
        }
    }
}

/// How a reload ended.
package enum ReloadOutcome: UInt64, Sendable, CaseIterable {
    case committed = 0
    /// The guardian or the proxy found the configuration wrong.
    case refused = 1
    /// It is valid, but needs a restart.
    case needsRestart = 2
    /// The proxy did not prepare or commit in time, or died.
    case failed = 3
    /// The bytes are the ones in use.
    case unchanged = 4
    /// It could be used; nothing was changed.
    case planned = 5
    /// The reload before stays in use.
    case confirmed = 6
    /// Another binary serves.
    case upgraded = 7
    /// What was ordered of the node is done.
    case done = 8
}

/// What somebody wants of a configuration.
package enum ReloadMode: Equatable, Sendable {
    case apply
    /// Say what would change.
    case plan
    /// Use it, and go back unless it is confirmed within the time.
    case confirm(milliseconds: Int)

    package static let confirmMax = 3_600_000
}

extension ProxyCommand {
    package static let workersMax = 256
    package static let listenerAddressesMax = 256
    package static let banksMax = 16
    /// A day; a deadline in milliseconds.
    package static let deadlineMax = 86_400_000

    package var wire: GuardianWire {
        switch self {
        case .hello(let hello):
            GuardianWire(
                1, UInt64(hello.workers), UInt64(hello.socketsPerListener),
                UInt64(hello.listenerAddresses), hello.flags.rawValue, UInt64(hello.bank))
        case .listener(let sockets):
            GuardianWire(
                2, UInt64(sockets.listener), UInt64(sockets.address), UInt64(sockets.firstSocket),
                UInt64(sockets.count), UInt64(sockets.group))
        case .start: GuardianWire(3)
        case .serve: GuardianWire(4)
        case .reload(let id): GuardianWire(5, id)
        case .reloadCommit(let id): GuardianWire(6, id)
        case .reloadAbort(let id): GuardianWire(7, id)
        case .reloadResult(let id, let outcome): GuardianWire(8, id, outcome.rawValue)
        case .stop(let milliseconds, let isReplaced):
            GuardianWire(9, UInt64(milliseconds), isReplaced ? 1 : 0)
        case .stopNow: GuardianWire(10)
        case .reopenLogs: GuardianWire(11)
        case .place(let place):
            GuardianWire(12, UInt64(place.listener), UInt64(place.address), UInt64(place.group))
        case .leaveGroup(let group): GuardianWire(13, UInt64(group))
        case .news: GuardianWire(14)
        case .dismissClients(let dismisses): GuardianWire(15, dismisses ? 1 : 0)
        }
    }

    package init(wire: GuardianWire) throws(GuardianMessageError) {
        var used = 0
        switch wire.type {
        case 1:
            used = 5
            self = .hello(try Self.hello(wire))
        case 2:
            used = 5
            self = .listener(try Self.listener(wire))
        case 3: self = .start
        case 4: self = .serve
        case 5:
            used = 1
            self = .reload(id: wire.fields[0])
        case 6:
            used = 1
            self = .reloadCommit(id: wire.fields[0])
        case 7:
            used = 1
            self = .reloadAbort(id: wire.fields[0])
        case 8:
            used = 2
            guard let outcome = ReloadOutcome(rawValue: wire.fields[1]) else {
                throw .fieldOutOfRange
            }
            self = .reloadResult(requestID: wire.fields[0], outcome: outcome)
        case 9:
            used = 2
            self = .stop(
                deadlineMilliseconds: try wire.int(0, max: Self.deadlineMax),
                isReplaced: try wire.int(1, max: 1) == 1)
        case 10: self = .stopNow
        case 11: self = .reopenLogs
        case 12:
            used = 3
            self = .place(
                ListenerPlace(
                    listener: try wire.int(0, max: Self.listenerAddressesMax),
                    address: try wire.int(1, max: Self.listenerAddressesMax),
                    group: try wire.int(2, max: Self.listenerAddressesMax)))
        case 13:
            used = 1
            self = .leaveGroup(try wire.int(0, max: Self.listenerAddressesMax))
        case 14: self = .news
        case 15:
            used = 1
            self = .dismissClients(try wire.int(0, max: 1) == 1)
        default: throw .unknownType(wire.type)
        }
        try wire.checkUnused(from: used)
    }

    private static func hello(_ wire: GuardianWire) throws(GuardianMessageError) -> Hello {
        let flags = Flags(rawValue: wire.fields[3])
        guard Flags.all.isSuperset(of: flags), wire.fields[0] > 0, wire.fields[1] > 0 else {
            throw .fieldOutOfRange
        }
        return Hello(
            workers: try wire.int(0, max: workersMax),
            socketsPerListener: try wire.int(1, max: workersMax),
            listenerAddresses: try wire.int(2, max: listenerAddressesMax), flags: flags,
            bank: try wire.int(4, max: banksMax - 1))
    }

    private static func listener(
        _ wire: GuardianWire
    ) throws(GuardianMessageError) -> ListenerSockets {
        guard wire.fields[3] > 0 else { throw .fieldOutOfRange }
        return ListenerSockets(
            listener: try wire.int(0, max: listenerAddressesMax),
            address: try wire.int(1, max: listenerAddressesMax),
            group: try wire.int(4, max: listenerAddressesMax),
            firstSocket: try wire.int(2, max: workersMax),
            count: try wire.int(3, max: DescriptorPassing.descriptorsMax))
    }

    package var descriptorCounts: ClosedRange<Int> {
        switch self {
        case .hello(let hello):
            hello.descriptorCount...hello.descriptorCount
        case .listener(let sockets): sockets.count...sockets.count
        case .reload, .news: 1...1
        case .reloadResult: 0...1
        case .start, .serve, .reloadCommit, .reloadAbort, .stop, .stopNow, .reopenLogs, .place,
            .leaveGroup, .dismissClients:
            0...0
        }
    }
}

// MARK: - Proxy → guardian

/// What the proxy tells the guardian. None carries a descriptor, an address or text.
package enum ProxyReport: GuardianMessage {
    /// Configuration read, certificates loaded, workers up: waiting for `serve`.
    case prepared
    /// Every worker accepts.
    case serving
    case reloadPrepared(id: UInt64)
    /// The proxy keeps what it has; it logged why. `reason` is its own number for the cause.
    case reloadRefused(id: UInt64, reason: UInt32)
    /// Every worker uses the new configuration.
    case reloadCommitted(id: UInt64)
    /// Somebody asked the proxy for a reload; answered with `reloadResult`.
    case reloadPlease(requestID: UInt64, mode: ReloadMode = .apply)
    /// Somebody confirmed the reload before; answered with `reloadResult`.
    case confirmPlease(requestID: UInt64)
    /// Somebody asked for another binary; answered with `reloadResult`.
    case upgradePlease(requestID: UInt64)
    /// How well the proxy serves: bits that `EdgeVRRP.Fitness.Troubles` names.
    case fitness(troubles: UInt32)
    /// Somebody wants the node to be left by its clients and addresses, or the end of that;
    /// answered with `reloadResult`.
    case nodePlease(requestID: UInt64, drains: Bool)
    /// Somebody wants the addresses on another node; answered with `reloadResult`.
    case yieldPlease(requestID: UInt64, isForced: Bool)
    /// After `leaveGroup`: nothing waits on these sockets, and the proxy has closed them.
    case groupLeft(Int)
    /// After `stop`: what was queued is accepted, nothing more is taken.
    case drained
    /// After `stop`: nothing is left, the process exits next.
    case finished

    package var wire: GuardianWire {
        switch self {
        case .prepared: GuardianWire(65)
        case .serving: GuardianWire(66)
        case .reloadPrepared(let id): GuardianWire(67, id)
        case .reloadRefused(let id, let reason): GuardianWire(68, id, UInt64(reason))
        case .reloadCommitted(let id): GuardianWire(69, id)
        case .reloadPlease(let id, let mode):
            switch mode {
            case .apply: GuardianWire(70, id, 0, 0)
            case .plan: GuardianWire(70, id, 1, 0)
            case .confirm(let milliseconds): GuardianWire(70, id, 2, UInt64(milliseconds))
            }
        case .drained: GuardianWire(71)
        case .finished: GuardianWire(72)
        case .groupLeft(let group): GuardianWire(73, UInt64(group))
        case .confirmPlease(let id): GuardianWire(74, id)
        case .upgradePlease(let id): GuardianWire(75, id)
        case .fitness(let troubles): GuardianWire(76, UInt64(troubles))
        case .nodePlease(let id, let drains): GuardianWire(77, id, drains ? 1 : 0)
        case .yieldPlease(let id, let isForced): GuardianWire(78, id, isForced ? 1 : 0)
        }
    }

    package init(wire: GuardianWire) throws(GuardianMessageError) {
        var used = 0
        switch wire.type {
        case 65: self = .prepared
        case 66: self = .serving
        case 67:
            used = 1
            self = .reloadPrepared(id: wire.fields[0])
        case 68:
            used = 2
            guard let reason = UInt32(exactly: wire.fields[1]) else { throw .fieldOutOfRange }
            self = .reloadRefused(id: wire.fields[0], reason: reason)
        case 69:
            used = 1
            self = .reloadCommitted(id: wire.fields[0])
        case 70:
            used = 3
            self = .reloadPlease(requestID: wire.fields[0], mode: try Self.mode(wire))
        case 71: self = .drained
        case 72: self = .finished
        case 73:
            used = 1
            self = .groupLeft(try wire.int(0, max: ProxyCommand.listenerAddressesMax))
        case 74:
            used = 1
            self = .confirmPlease(requestID: wire.fields[0])
        case 75:
            used = 1
            self = .upgradePlease(requestID: wire.fields[0])
        case 76:
            used = 1
            guard let troubles = UInt32(exactly: wire.fields[0]) else { throw .fieldOutOfRange }
            self = .fitness(troubles: troubles)
        case 77:
            used = 2
            self = .nodePlease(
                requestID: wire.fields[0], drains: try wire.int(1, max: 1) == 1)
        case 78:
            used = 2
            self = .yieldPlease(
                requestID: wire.fields[0], isForced: try wire.int(1, max: 1) == 1)
        default: throw .unknownType(wire.type)
        }
        try wire.checkUnused(from: used)
    }

    private static func mode(_ wire: GuardianWire) throws(GuardianMessageError) -> ReloadMode {
        let milliseconds = try wire.int(2, max: ReloadMode.confirmMax)
        switch (wire.fields[1], milliseconds) {
        case (0, 0): return .apply
        case (1, 0): return .plan
        case (2, 1...): return .confirm(milliseconds: milliseconds)
        default: throw .fieldOutOfRange
        }
    }

    package var descriptorCounts: ClosedRange<Int> { 0...0 }
}
