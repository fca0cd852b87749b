import EdgeCore
import EdgeTLS
import EdgeTesting
import Testing

@testable import EdgeDaemon

/// A machine that expectations may move on.
private final class Held<Machine> {
    var machine: Machine
    init(_ machine: Machine) { self.machine = machine }
}

extension Held<RotationRounds> {
    var due: Instant? { machine.due }
    func changed(now: Instant) { machine.changed(now: now) }
    func begin(now: Instant) -> Bool { machine.begin(now: now) }
    func hold() { machine.hold() }
    func release(now: Instant) { machine.release(now: now) }
    func finished(now: Instant, isNews: Bool, again: Instant? = nil) {
        machine.finished(now: now, isNews: isNews, again: again)
    }
}

extension Held<QuarantineJournal> {
    func update(_ problems: [CertificateProblem], now: Instant) -> [QuarantineJournal.Word] {
        machine.update(problems, now: now)
    }
}

extension Held<ExpiryCalendar> {
    func update(
        _ certificates: [ExpiryCalendar.Certificate], at seconds: Int64
    ) -> [ExpiryCalendar.Warning] {
        machine.update(certificates, at: seconds)
    }
}

@Suite("When changed files are looked at") struct RotationRoundsTests {
    private let clock = ManualClock()
    private let rounds: Held<RotationRounds>

    init() { rounds = Held(RotationRounds(now: clock.now)) }

    private func at(_ milliseconds: Int) -> Instant {
        clock.now.advanced(by: .milliseconds(milliseconds))
    }

    @Test("A change is looked at after 100 ms of quiet")
    func quiet() {
        rounds.changed(now: at(0))
        #expect(!rounds.begin(now: at(99)))
        rounds.changed(now: at(60))
        #expect(!rounds.begin(now: at(159)))
        #expect(rounds.begin(now: at(160)))
        #expect(rounds.due == nil)
    }

    @Test("Who never stops writing is looked at after 500 ms all the same")
    func endless() {
        for moment in stride(from: 0, to: 500, by: 20) {
            rounds.changed(now: at(moment))
            #expect(!rounds.begin(now: at(moment)))
        }
        #expect(rounds.begin(now: at(500)))
    }

    @Test("Without a sign, files are looked at every ten seconds")
    func period() {
        #expect(!rounds.begin(now: at(9_999)))
        #expect(rounds.begin(now: at(10_000)))
        rounds.finished(now: at(10_050), isNews: false)
        #expect(rounds.due == at(20_050))
    }

    @Test("What changes during a round has one of its own")
    func meanwhile() {
        rounds.changed(now: at(0))
        #expect(rounds.begin(now: at(100)))
        rounds.changed(now: at(110))
        #expect(!rounds.begin(now: at(1_000)), "one round at a time")
        rounds.finished(now: at(1_000), isNews: true)
        #expect(rounds.due == at(610), "it has waited for long enough")
        #expect(rounds.begin(now: at(1_000)))
    }

    @Test("News are looked at again when clocks of file systems have moved on")
    func settling() {
        rounds.changed(now: at(0))
        #expect(rounds.begin(now: at(100)))
        rounds.finished(now: at(100), isNews: true)
        #expect(rounds.due == at(1_300))
    }

    @Test("A reason of its own brings the next round forward, but never without a pause")
    func again() {
        rounds.changed(now: at(0))
        #expect(rounds.begin(now: at(100)))
        rounds.finished(now: at(100), isNews: false, again: at(3_000))
        #expect(rounds.due == at(3_000))
        #expect(rounds.begin(now: at(3_000)))
        rounds.finished(now: at(3_000), isNews: false, again: at(0))
        #expect(rounds.due == at(3_100))
    }

    @Test("While a reload goes on nothing is looked at, and at once afterwards")
    func held() {
        rounds.changed(now: at(0))
        rounds.hold()
        rounds.changed(now: at(10))
        #expect(rounds.due == nil && !rounds.begin(now: at(60_000)))
        rounds.finished(now: at(60_000), isNews: true)
        #expect(rounds.due == nil)
        rounds.release(now: at(60_000))
        #expect(rounds.begin(now: at(60_000)))
    }
}

@Suite("What is said about files in quarantine") struct QuarantineJournalTests {
    private let clock = ManualClock()
    private let journal = Held(QuarantineJournal(patience: .seconds(10)))

    private func at(_ seconds: Int) -> Instant { clock.now.advanced(by: .seconds(seconds)) }

    private func problem(
        _ cause: CertificateProblem.Cause, _ file: String = "/c/a.pem", _ reason: String = "bad"
    ) -> CertificateProblem {
        CertificateProblem(cause, file: file, reason: reason, hint: "")
    }

    @Test("A problem is told once, and when it has ended")
    func once() {
        let weak = problem(.weak)

        #expect(journal.update([weak], now: at(0)) == [.quarantined(weak)])
        #expect(journal.update([weak], now: at(60)) == [])
        #expect(journal.update([], now: at(61)) == [.ended(file: "/c/a.pem")])
        #expect(journal.machine.counts == [.weak: 1])
    }

    @Test("A certificate without its key has ten seconds before anybody is told")
    func patience() {
        let alone = problem(.mismatch)

        #expect(journal.update([alone], now: at(0)) == [])
        #expect(journal.machine.due == at(10))
        #expect(journal.update([alone], now: at(9)) == [])
        #expect(journal.machine.waiting == [alone] && journal.machine.told == [])
        #expect(journal.update([alone], now: at(10)) == [.quarantined(alone)])
        #expect(journal.machine.due == nil)
    }

    @Test("One whose key comes in time was never a problem")
    func inTime() {
        #expect(journal.update([problem(.noKey)], now: at(0)) == [])
        #expect(journal.update([], now: at(9)) == [])
        #expect(journal.machine.counts.isEmpty && journal.machine.due == nil)
    }

    @Test("A file that stays unfinished in several ways is one file that is late")
    func severalWays() {
        #expect(journal.update([problem(.noKey, "/c/a.key")], now: at(0)) == [])
        let late = problem(.mismatch, "/c/a.crt")
        #expect(journal.update([late], now: at(8)) == [])
        #expect(journal.update([late], now: at(10)) == [.quarantined(late)])
    }

    @Test("Another problem of the same file is news")
    func another() {
        #expect(journal.update([problem(.weak)], now: at(0)).count == 1)
        let other = problem(.mode)
        #expect(journal.update([other], now: at(1)) == [.quarantined(other)])
        #expect(journal.update([], now: at(2)).count == 1)
        #expect(journal.machine.counts == [.weak: 1, .mode: 1])
    }
}

@Suite("Certificates that end soon") struct ExpiryCalendarTests {
    private static let day: Int64 = 86_400
    private let calendar = Held(ExpiryCalendar())

    private func certificate(_ life: Int64) -> ExpiryCalendar.Certificate {
        ExpiryCalendar.Certificate(file: "a.pem", notBefore: 0, notAfter: life * Self.day)
    }

    @Test("Each threshold is told once: 30, 14, 7, 3 and 1 days, and the end")
    func thresholds() {
        var told: [Int64] = []
        for hour in 0..<24 * 400 {
            told += calendar.update([certificate(395)], at: Int64(hour) * 3_600).map(\.days)
        }
        #expect(told == [30, 14, 7, 3, 1, 0])
    }

    @Test("One of ninety days is told of thirty days before, one of six days on its last two")
    func lives() {
        #expect(calendar.update([certificate(90)], at: 59 * Self.day) == [])
        #expect(calendar.update([certificate(90)], at: 60 * Self.day).count == 1)
        let short = Held(ExpiryCalendar())
        #expect(short.update([certificate(6)], at: 3 * Self.day) == [])
        #expect(short.update([certificate(6)], at: 5 * Self.day).count == 1)
    }

    @Test("A renewed one is forgotten, and told of again when its time comes")
    func renewed() {
        #expect(calendar.update([certificate(90)], at: 89 * Self.day).map(\.days) == [1])
        #expect(calendar.update([certificate(180)], at: 89 * Self.day) == [])
        #expect(calendar.update([certificate(180)], at: 179 * Self.day).map(\.days) == [1])
    }
}
