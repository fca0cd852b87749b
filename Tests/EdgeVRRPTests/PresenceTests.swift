import EdgeCore
import Testing

@testable import EdgeVRRP

@Suite("Presence on the wire")
struct PresenceMessageTests {
    static let message = PresenceMessage(
        nodeName: "lb-01", bootID: 11, sequence: 12, challenge: 13, echo: 14,
        wallClock: 1_700_000_000_000_000_000, monotonic: 16,
        standing: Standing(fitness: .degraded([.names, .publicSide]), isInMaintenance: true),
        configurationFingerprint: 17, programVersion: "1.0.0 (abc)",
        instances: [
            PresenceMessage.Instance(
                routerID: 51, state: .master, priority: 101, isReady: false, asksToTakeOver: true,
                sinceMilliseconds: 70_000,
                standing: Standing(fitness: .degraded([.names, .publicSide]))),
            PresenceMessage.Instance(
                routerID: 52, state: .backup, priority: 100, isReady: true, asksToTakeOver: false,
                sinceMilliseconds: 1,
                standing: Standing(
                    fitness: .unfit(.trackedInterface, answers: true), isInMaintenance: true)),
        ])

    private func refusal(
        _ bytes: [UInt8], _ authenticator: PresenceAuthenticator? = nil
    ) -> PresenceRefusal? {
        do throws(PresenceRefusal) {
            _ = try PresenceMessage(decoding: bytes, authenticator: authenticator)
            return nil
        } catch {
            return error
        }
    }

    @Test("a message comes back as it went", arguments: [true, false])
    func roundTrip(isAuthenticated: Bool) throws {
        let authenticator = isAuthenticated ? PresenceAuthenticator.toy : nil
        let bytes = Self.message.encode(authenticator: authenticator)

        let decoded = try PresenceMessage(decoding: bytes, authenticator: authenticator)

        #expect(decoded == Self.message)
        #expect(bytes.count <= PresenceMessage.byteCountMax)
    }

    @Test("every kind of fitness comes back as it went")
    func fitness() throws {
        var all: [Fitness] = [.fit, .degraded(.upstreams), .degraded([])]
        for reason in Fitness.Unfitness.allCases {
            all += [.unfit(reason, answers: true), .unfit(reason, answers: false)]
        }
        for fitness in all {
            var message = Self.message
            message.standing = Standing(fitness: fitness)
            message.instances[0].standing = Standing(fitness: fitness)
            let bytes = message.encode(authenticator: nil)
            let decoded = try PresenceMessage(decoding: bytes, authenticator: nil)
            #expect(decoded.standing.fitness == fitness)
            #expect(decoded.instances[0].standing.fitness == fitness)
        }
    }

    @Test("the largest message fits, one byte more does not")
    func largest() {
        var message = Self.message
        message.nodeName = String(repeating: "n", count: 64)
        message.programVersion = String(repeating: "v", count: 32)
        message.instances = (1...32).map {
            PresenceMessage.Instance(
                routerID: UInt8($0), state: .fault, priority: 255, isReady: false,
                asksToTakeOver: false, sinceMilliseconds: .max, standing: Standing(fitness: .fit))
        }
        let bytes = message.encode(authenticator: .toy)

        #expect(bytes.count == PresenceMessage.byteCountMax)
        #expect(refusal(bytes, .toy) == nil)
        #expect(refusal(bytes + [0], .toy) == .length)
    }

    @Test("a message cut off anywhere is refused, with and without code")
    func truncated() {
        for authenticator in [nil, PresenceAuthenticator.toy] {
            let bytes = Self.message.encode(authenticator: authenticator)
            for count in bytes.indices {
                #expect(refusal(Array(bytes.prefix(count)), authenticator) != nil)
            }
        }
    }

    @Test("no byte of an authenticated message can be changed")
    func changed() {
        let bytes = Self.message.encode(authenticator: .toy)
        for index in bytes.indices {
            var other = bytes
            other[index] ^= 1
            #expect(refusal(other, .toy) != nil, "byte \(index)")
        }
    }

    @Test("with a secret a code is demanded, without one it is not taken on trust")
    func secrets() {
        #expect(refusal(Self.message.encode(authenticator: nil), .toy) == .unauthenticated)
        #expect(refusal(Self.message.encode(authenticator: .toy), nil) == .noSecret)
        let other = PresenceAuthenticator { _ in [UInt8](repeating: 1, count: 32) }
        #expect(refusal(Self.message.encode(authenticator: other), .toy) == .authentication)
    }

    @Test("while a secret is replaced either is believed, and one's own words have the first")
    func replaced() {
        let other = PresenceAuthenticator { _ in [UInt8](repeating: 1, count: 32) }
        let third = PresenceAuthenticator { _ in [UInt8](repeating: 2, count: 32) }
        let both = PresenceAuthenticator(others: [other.code], code: PresenceAuthenticator.toy.code)

        #expect(refusal(Self.message.encode(authenticator: .toy), both) == nil)
        #expect(refusal(Self.message.encode(authenticator: other), both) == nil)
        #expect(refusal(Self.message.encode(authenticator: third), both) == .authentication)
        #expect(refusal(Self.message.encode(authenticator: both), .toy) == nil)
        #expect(refusal(Self.message.encode(authenticator: both), other) == .authentication)
        #expect(refusal(Self.message.encode(authenticator: nil), both) == .unauthenticated)
    }

    @Test(
        "values that can't be are refused",
        arguments: [
            (0, 0, PresenceRefusal.magic), (4, 1, .version), (4, 3, .version), (5, 8, .malformed),
            (6, 3, .malformed),
            (7, 1, .malformed), (13, 1, .malformed), (12, 33, .length), (12, 3, .length),
            (72, 0, .length), (72, 200, .length), (73, 0x1B, .malformed), (90, 0, .malformed),
            (91, 4, .malformed), (93, 16, .malformed), (93, 0, .malformed), (98, 3, .malformed),
            (99, 1, .malformed), (100, 1, .malformed), (106, 51, .malformed),
        ] as [(Int, UInt8, PresenceRefusal)])
    func malformed(offset: Int, byte: UInt8, expected: PresenceRefusal) {
        var bytes = Self.message.encode(authenticator: nil)
        bytes[offset] = byte
        #expect(refusal(bytes) == expected)
    }
}

/// Two guardians that tell each other of themselves, message by message.
private struct PresencePair {
    static let interval = Duration.milliseconds(200)
    var machines: [PresenceMachine] = []
    var now = Instant(nanoseconds: 5_000_000_000)
    /// Everything that was ever sent to each.
    var sent: [[[UInt8]]] = [[], []]

    init() { machines = [Self.machine(0, boot: 1, now: now), Self.machine(1, boot: 2, now: now)] }

    static func address(_ index: Int) -> SocketAddress {
        SocketAddress(ipv4: 0xC0A8_010B + UInt32(index), port: 5112)
    }

    static func machine(
        _ index: Int, boot: UInt64, name: String? = nil, now: Instant
    ) -> PresenceMachine {
        PresenceMachine(
            configuration: PresenceMachine.Configuration(
                nodeName: name ?? "lb-0\(index)", bootID: boot, programVersion: "1",
                peers: [address(1 - index)], interval: interval, timeout: interval * 3),
            authenticator: .toy, seed: boot &* 77, now: now)
    }

    /// What `index` has to say, delivered to nobody.
    mutating func speak(_ index: Int, isUrgent: Bool = false) -> [[UInt8]] {
        let content = PresenceMachine.Content(
            standing: Standing(fitness: .fit), configurationFingerprint: 0, instances: [])
        let all = machines[index].messages(
            content, isUrgent: isUrgent, wallClock: 7_000, now: now
        ).map(\.bytes)
        sent[1 - index] += all
        return all
    }

    @discardableResult
    mutating func deliver(_ bytes: [UInt8], to index: Int) -> PresenceRefusal? {
        do throws(PresenceRefusal) {
            _ = try machines[index].receive(
                bytes, from: Self.address(1 - index), receivedAt: now, wallClock: 5_000, now: now)
            return nil
        } catch {
            return error
        }
    }

    /// Lets both speak as long as they have to say something.
    mutating func exchange() {
        for _ in 0..<10 {
            var isQuiet = true
            for index in 0..<2 {
                for bytes in speak(index) {
                    isQuiet = false
                    deliver(bytes, to: 1 - index)
                }
            }
            if isQuiet { return }
        }
        Issue.record("they go on greeting each other")
    }

    func isLive(_ peer: Int) -> Bool {
        machines[1 - peer].peers.first.map {
            machines[1 - peer].isLive($0, now: now)
        } ?? false
    }
}

@Suite("Presence of peers")
struct PresenceMachineTests {
    @Test("what ails one instance of a peer is no other instance's trouble")
    func standingOfInstances() throws {
        var pair = PresencePair()
        pair.exchange()
        pair.now = pair.now.advanced(by: PresencePair.interval)
        let ailing = Standing(fitness: .unfit(.trackedInterface, answers: true))
        var instances = PresenceMessageTests.message.instances
        instances[0].standing = Standing(fitness: .fit)
        instances[1].standing = ailing
        let content = PresenceMachine.Content(
            standing: ailing, configurationFingerprint: 0, instances: instances)
        let datagrams = pair.machines[0].messages(
            content, isUrgent: true, wallClock: 7_000, now: pair.now)
        for datagram in datagrams { #expect(pair.deliver(datagram.bytes, to: 1) == nil) }
        let peer = try #require(pair.machines[1].peers.first)

        #expect(peer.report(routerID: 51).standing == Standing(fitness: .fit))
        #expect(peer.report(routerID: 52).standing == ailing)
        #expect(peer.report(routerID: 53).standing == ailing)
    }

    @Test("a peer that has had many names is believed under the newest")
    func renamed() {
        var pair = PresencePair()
        for name in 0...PresenceMachine.peersMax {
            pair.machines[1] = PresencePair.machine(
                1, boot: 100 + UInt64(name), name: "lb-2\(name)", now: pair.now)
            pair.exchange()
            #expect(pair.machines[0].peers.last?.message.nodeName == "lb-2\(name)")
            pair.now = pair.now.advanced(by: PresencePair.interval * 4)
        }
        #expect(pair.machines[0].peers.count == PresenceMachine.peersMax)
        #expect(pair.machines[0].refusals[.tooManyPeers] == nil)
    }

    @Test("a secret is replaced on both, one after the other, and no peer is ever unknown")
    func rotated() {
        let new = PresenceAuthenticator { [UInt8](repeating: UInt8($0.count & 0xFF), count: 32) }
        let toy = PresenceAuthenticator.toy
        var pair = PresencePair()
        pair.exchange()
        for step in [
            PresenceAuthenticator(others: [new.code], code: toy.code),
            PresenceAuthenticator(others: [toy.code], code: new.code), new,
        ] {
            for index in 0..<2 {
                pair.machines[index].authenticator = step
                for _ in 0..<12 {
                    pair.now = pair.now.advanced(by: PresencePair.interval)
                    pair.exchange()
                    #expect(pair.isLive(0) && pair.isLive(1))
                }
            }
        }
        for machine in pair.machines {
            #expect(machine.refusals[.authentication] == nil)
            #expect(machine.peers.first?.boots == 1)
        }
    }

    @Test("what an instance says of itself is its own standing")
    func ownStanding() {
        var bench = ElectionBench.backup()
        let ailing = Standing(fitness: .unfit(.trackedInterface, answers: true))
        bench.feed(.standing(ailing))

        #expect(bench.machine.status(now: bench.now).presence(now: bench.now).standing == ailing)
    }

    @Test("two that start know each other after a handful of messages")
    func meeting() {
        var pair = PresencePair()

        pair.exchange()

        #expect(pair.isLive(0))
        #expect(pair.isLive(1))
        #expect(pair.sent[0].count <= 4 && pair.sent[1].count <= 4)
        #expect(pair.machines[0].peers.first?.clockDifference == 2_000)
    }

    @Test("a peer that says nothing is gone after its timeout, and back with a word")
    func timeout() {
        var pair = PresencePair()
        pair.exchange()

        pair.now = pair.now.advanced(by: .milliseconds(599))
        #expect(pair.isLive(1))
        pair.now = pair.now.advanced(by: .milliseconds(1))
        #expect(!pair.isLive(1))
        pair.exchange()

        #expect(pair.isLive(1))
    }

    @Test("challenges change all the time, and nobody loses sight of the other")
    func steady() {
        var pair = PresencePair()
        pair.exchange()
        for _ in 0..<200 {
            pair.now = pair.now.advanced(by: PresencePair.interval)
            pair.exchange()
            #expect(pair.isLive(0) && pair.isLive(1))
        }
        #expect(pair.machines[0].refusals[.replayed] == nil)
    }

    @Test("a message counts once")
    func replayed() {
        var pair = PresencePair()
        pair.exchange()
        pair.now = pair.now.advanced(by: PresencePair.interval)
        let bytes = pair.speak(0)[0]

        #expect(pair.deliver(bytes, to: 1) == nil)
        #expect(pair.deliver(bytes, to: 1) == .replayed)
        #expect(pair.machines[1].refusals[.replayed] == 1)
    }

    @Test("nothing recorded of an earlier boot is believed after a restart of either")
    func restarted() {
        for restarted in 0..<2 {
            var pair = PresencePair()
            for _ in 0..<30 {
                pair.now = pair.now.advanced(by: PresencePair.interval)
                pair.exchange()
            }
            // Recorded, but never delivered: numbers that were not heard.
            let withheld = (0..<3).flatMap { _ in pair.speak(0, isUrgent: true) }
            pair.machines[restarted] = PresencePair.machine(restarted, boot: 99, now: pair.now)
            let recorded = pair.sent[1] + withheld
            pair.exchange()
            #expect(pair.isLive(0) && pair.isLive(1))
            let boot = pair.machines[1].peers[0].message.bootID

            for bytes in recorded where pair.deliver(bytes, to: 1) == nil {
                // What node 0 has said to this boot of node 1 just now may be believed.
                #expect(pair.machines[1].peers[0].message.bootID == boot)
                #expect(restarted == 1)
            }

            #expect(pair.machines[1].peers[0].message.bootID == boot)
        }
    }

    @Test("a recorded message from before our start is not believed, and hurts nobody")
    func beforeOurStart() {
        var pair = PresencePair()
        pair.exchange()
        let recorded = pair.sent[1]
        pair.machines[1] = PresencePair.machine(1, boot: 3, now: pair.now)
        for bytes in recorded { #expect(pair.deliver(bytes, to: 1) == .unechoed) }

        #expect(pair.machines[1].peers.isEmpty)
        pair.now = pair.now.advanced(by: PresencePair.interval)
        pair.exchange()
        #expect(pair.isLive(0) && pair.isLive(1))
    }

    @Test("a message held back for long is not believed")
    func delayed() {
        var pair = PresencePair()
        pair.exchange()
        let withheld = pair.speak(0, isUrgent: true)[0]
        for _ in 0..<20 {
            pair.now = pair.now.advanced(by: PresencePair.interval)
            _ = pair.speak(1)
        }

        #expect(pair.deliver(withheld, to: 1) == .unechoed)
    }

    @Test("our own words and strangers' are refused")
    func strangers() throws {
        var pair = PresencePair()
        let own = pair.speak(0)[0]
        #expect(pair.deliver(own, to: 0) == .ownNode)
        #expect(throws: PresenceRefusal.sourceUnknown) {
            try pair.machines[1].receive(
                own, from: SocketAddress(ipv4: 1, port: 5112), receivedAt: pair.now, wallClock: 0,
                now: pair.now)
        }
    }

    @Test("floods of first words are answered a hundred times a second at most")
    func floods() {
        var pair = PresencePair()
        pair.exchange()
        let stranger = PresencePair.machine(0, boot: 1_000, now: pair.now)
        var answers = 0
        for step in 0..<1_000 {
            pair.now = pair.now.advanced(by: .microseconds(100))
            pair.machines[0] = stranger
            pair.machines[0].sequence = UInt64(step + 1)
            let words = pair.speak(0, isUrgent: true)
            for bytes in words { pair.deliver(bytes, to: 1) }
            if pair.machines[1].wantsToGreet { answers += pair.speak(1).count }
        }

        #expect((1...11).contains(answers))
    }

    @Test("an upgrade in place keeps boot and numbers, and is not noticed")
    func upgraded() {
        var pair = PresencePair()
        pair.exchange()
        let sequence = pair.machines[0].sequence
        pair.machines[0] = PresenceMachine(
            configuration: pair.machines[0].configuration, authenticator: .toy, seed: 4_242,
            sequence: sequence, now: pair.now)
        pair.now = pair.now.advanced(by: PresencePair.interval)
        pair.exchange()

        #expect(pair.isLive(0) && pair.isLive(1))
        #expect(pair.machines[1].peers.first?.boots == 1)
    }
}
