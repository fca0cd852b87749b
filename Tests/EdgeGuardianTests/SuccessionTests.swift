import EdgeControlAPI
import EdgeCore
import EdgeFailover
import EdgeVRRP
import Testing

@testable import EdgeGuardian

@Suite("What a guardian leaves to its successor")
struct SuccessionTests {
    static let whole = Succession(
        workers: 2, started: 1_790_000_000, restarts: 3, configuration: 9, board: 5, tickets: 6,
        admin: .init(path: "/run/edged/admin.sock", socket: 7),
        listeners: [
            [
                .init(
                    number: 0, asked: SocketAddress(ipv4: 0x0A00_0001, port: 0),
                    bound: SocketAddress(ipv4: 0x0A00_0001, port: 443), sockets: [10, 11],
                    adoptedCount: 2, isKept: true),
                .init(
                    number: 4, asked: SocketAddress(ipv6High: 0, low: 0, port: 443),
                    bound: SocketAddress(ipv6High: 0, low: 0, port: 443), sockets: [12, 13],
                    adoptedCount: 0, isKept: false),
            ]
        ],
        proxy: .init(processID: 100, channel: 20, bank: 1, millisecondsLeft: nil),
        leaving: [
            .init(processID: 99, channel: 21, bank: 0, millisecondsLeft: 4000),
            .init(processID: 98, channel: nil, bank: 2, millisecondsLeft: 1),
        ],
        isReloadDue: true, failover: handover, isDrained: true, troubles: 5, secret: 31,
        limits: 32)

    static let handover = FailoverHandover(
        instances: [
            .init(
                name: "vip",
                record: ElectionRecord(
                    routerID: 7, state: 2, sinceNanoseconds: 5, advertisedNanoseconds: .max,
                    advertisedCentiseconds: 2, adoptedCentiseconds: 0, isGateOpen: true,
                    knowsEdgedPeer: true, takeOverNanoseconds: [1, .max], dampedUntilNanoseconds: 3,
                    holdDowns: 4, preemptBlockedUntilNanoseconds: 9, counters: counters))
        ],
        sockets: [
            .init(
                descriptor: 30, interfaceName: "eth0", interfaceIndex: 2, family: .ipv6,
                isMulticast: true)
        ], presence: .init(bootID: .max, sequence: 17))

    static let counters = {
        var counters = ElectionCounters()
        counters.advertisementsSent = 1
        counters.takeOvers = 2
        counters.takeOversDeferred = .max
        return counters
    }()

    @Test("What an older program left, which knew nothing of failover and limits, is understood")
    func older() throws {
        var older = Self.whole
        older.failover = nil
        older.isDrained = false
        older.troubles = 0
        older.secret = nil
        older.limits = nil
        let text = older.json.text.replacing(
            ",\"failover\":null,\"drained\":false,\"troubles\":0,\"secret\":null,\"limits\":null",
            with: "")

        #expect(!text.contains("failover") && !text.contains("secret"))
        #expect(try Succession(json: JSONValue(parsing: Array(text.utf8))) == older)
    }

    @Test("It is read as it was written")
    func roundTrip() throws {
        let bytes = Array(Self.whole.json.text.utf8)
        #expect(try Succession(json: JSONValue(parsing: bytes)) == Self.whole)
    }

    @Test("Every descriptor is in the list of those that stay open, once")
    func descriptors() {
        let all = Self.whole.descriptors
        #expect(all.sorted() == [5, 6, 7, 9, 10, 11, 12, 13, 20, 21, 30, 31, 32])
    }

    @Test("Another version, and anything cut or changed, is refused or means something whole")
    func refused() throws {
        let text = Self.whole.json.text
        let other = text.replacing("\"version\":1", with: "\"version\":2")
        #expect(throws: WireFailure.self) {
            try Succession(json: JSONValue(parsing: Array(other.utf8)))
        }
        for end in stride(from: 0, to: text.utf8.count - 1, by: 3) {
            let cut = Array(text.utf8.prefix(end))
            #expect(throws: (any Error).self) { try Succession(json: JSONValue(parsing: cut)) }
        }
        for wrong in ["-1", "\"x\"", "4294967296", "null", "[]"] {
            let changed = text.replacing("\"board\":5", with: "\"board\":\(wrong)")
            #expect(throws: WireFailure.self) {
                try Succession(json: JSONValue(parsing: Array(changed.utf8)))
            }
        }
    }
}
