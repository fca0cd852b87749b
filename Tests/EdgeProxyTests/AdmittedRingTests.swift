import EdgeCore
import EdgeLimits
import Glibc
import Testing

@testable import EdgeProxy

@Suite("What workers admit, on its way to the other node") struct AdmittedRingTests {
    private static func entry(_ client: UInt64, cost: UInt32 = 1) -> AdmittedJournal.Entry {
        AdmittedJournal.Entry(
            identity: 7, subject: LimitSubject(high: client, low: 0), cost: cost)
    }

    private static func drained(_ ring: AdmittedRing) -> [AdmittedJournal.Entry] {
        var entries: [AdmittedJournal.Entry] = []
        ring.drain { entries.append($0) }
        return entries
    }

    @Test("What goes in comes out once, in order; what does not fit is counted")
    func order() {
        let ring = AdmittedRing(capacity: 4)
        for round in 0..<10 as Range<UInt64> {
            for number in 0..<6 as Range<UInt64> { ring.push(Self.entry(round * 10 + number)) }
            let clients = Self.drained(ring).map(\.subject.high)
            #expect(clients == (0..<4).map { round * 10 + $0 })
        }
        #expect(Self.drained(ring).isEmpty)
        #expect(ring.lost == 20)
    }

    @Test("The control thread is told once until it looks")
    func announced() {
        let ring = AdmittedRing(capacity: 4)
        ring.push(Self.entry(1))
        #expect(ring.announce())
        ring.push(Self.entry(2))
        #expect(!ring.announce())
        #expect(Self.drained(ring).count == 2)
        ring.push(Self.entry(3))
        #expect(ring.announce())
    }

    /// Runs bodies on another thread.
    private final class Filler: @unchecked Sendable {
        // Sendable: handed over whole to one thread.
        let ring: AdmittedRing
        let count: UInt64
        private(set) var announced = 0

        init(_ ring: AdmittedRing, count: UInt64) {
            self.ring = ring
            self.count = count
        }

        func run() {
            for number in 0..<count {
                ring.push(AdmittedRingTests.entry(number))
                if ring.announce() { announced += 1 }
            }
        }
    }

    @Test("With one thread at each end nothing comes twice, or torn, or unsaid")
    func threads() {
        let ring = AdmittedRing(capacity: 64)
        let filler = Filler(ring, count: 200_000)
        let argument = Unmanaged.passRetained(filler)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<Filler>.fromOpaque(raw).takeRetainedValue().run() }
                return nil
            }, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            Issue.record("no thread: \(code)")
            return
        }
        var next: UInt64 = 0
        var count: UInt64 = 0
        func look() {
            ring.drain { entry in
                #expect(entry.subject.high >= next && entry.cost == 1 && entry.identity == 7)
                next = entry.subject.high + 1
                count += 1
            }
        }
        while count + ring.lost < filler.count { look() }
        pthread_join(thread, nil)
        look()

        #expect(count + ring.lost == filler.count)
        #expect(filler.announced > 0)
    }

    @Test("A worker says at the end of a turn what it has admitted, and nothing without a ring")
    func worker() throws {
        let bench = try Bench()
        func add(_ client: UInt64) {
            bench.worker.admitted.add(7, LimitSubject(high: client, low: 0), cost: 1)
        }
        func announcements() -> Int {
            bench.events.list.filter { if case .admitted = $0 { true } else { false } }.count
        }
        add(1)
        bench.tick(.milliseconds(1))
        #expect(announcements() == 0)

        let ring = AdmittedRing()
        bench.worker.handle(.tellAdmitted(ring))
        for client in [1, 2, 1] as [UInt64] { add(client) }
        bench.tick(.milliseconds(1))
        add(3)
        bench.tick(.milliseconds(1))

        #expect(announcements() == 1)
        #expect(Self.drained(ring).map(\.cost) == [2, 1, 1])
        bench.tick(.milliseconds(1))
        #expect(announcements() == 1)
        for client in 0..<5_000 as Range<UInt64> { add(client) }
        bench.tick(.milliseconds(1))
        let kept = UInt64(Self.drained(ring).count)
        #expect(announcements() == 2)
        #expect(kept <= 1_024 && kept + ring.lost == 5_000)

        bench.worker.handle(.tellAdmitted(nil))
        add(9)
        bench.tick(.milliseconds(1))
        #expect(Self.drained(ring).isEmpty)
    }
}
