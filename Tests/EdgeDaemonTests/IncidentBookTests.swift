import EdgeControlAPI
import EdgeTesting
import Testing

@testable import EdgeDaemon

@Suite("Incidents") struct IncidentBookTests {
    private typealias Condition = IncidentBook.Condition

    @Test("What lasts has a beginning and an end, however often it is observed")
    func lasting() {
        var book = IncidentBook()
        let down = [Condition(subject: "app 10.0.0.1:80", text: "down")]

        for now in Int64(100)..<110 { book.observe(.memberDown, scope: "app", down, at: now) }
        #expect(book.incidents.map(\.ended) == [nil])
        book.observe(.memberDown, scope: "app", [], at: 110)
        book.observe(.memberDown, scope: "app", [], at: 120)
        book.observe(.memberDown, scope: "app", down, at: 130)

        #expect(book.incidents.map(\.begun) == [100, 130])
        #expect(book.incidents.map(\.ended) == [110, nil])
    }

    @Test("What is looked at says nothing of the rest")
    func scopes() {
        var book = IncidentBook()
        book.observe(.memberDown, scope: "a", [Condition(subject: "a 1", text: "x")], at: 1)
        book.observe(.memberDown, scope: "b", [Condition(subject: "b 1", text: "x")], at: 2)
        book.observe(.upstreamDown, scope: "a", [Condition(subject: "a", text: "x")], at: 3)

        book.observe(.memberDown, scope: "b", [], at: 4)
        #expect(book.incidents.map(\.ended) == [nil, 4, nil])
        book.keepScopes(["b"], of: .memberDown, at: 5)
        #expect(book.incidents.map(\.ended) == [5, 4, nil])
    }

    @Test("What takes no time ends when it begins, and is noted once")
    func moments() {
        var book = IncidentBook()
        book.note(.reloadRefused, "", "a:1:1: error: x", at: 10)
        book.note(.reloadRefused, "", "a:1:1: error: x", at: 11)
        book.note(.reloadRefused, "", "a:1:1: error: x", at: 20)

        #expect(book.incidents.map(\.begun) == [10, 20])
        #expect(book.incidents.allSatisfy { $0.ended == $0.begun })
    }

    @Test("The oldest that is over makes room; what goes on stays as long as there is any")
    func bound() {
        var book = IncidentBook()
        book.observe(.nodeDrained, scope: "", [Condition(subject: "", text: "x")], at: 0)
        for index in 1...Int64(IncidentBook.incidentsMax) {
            book.note(.reloadRefused, "", "\(index)", at: index)
        }

        #expect(book.incidents.count == IncidentBook.incidentsMax)
        #expect(book.dropped == 1)
        #expect(book.incidents.first?.kind == .nodeDrained)
        #expect(book.incidents[1].text == "2")
    }

    @Test("A seeded walk keeps within bounds, and never has two beginnings without an end")
    func walk() {
        var random = SeededRandom(seed: 7)
        var book = IncidentBook()
        for now in Int64(0)..<20_000 {
            let subjects = (0..<4).filter { _ in Bool.random(using: &random) }
            book.observe(
                .memberDown, scope: "s\(now % 3)",
                subjects.map { Condition(subject: "s\(now % 3) \($0)", text: "x") }, at: now)
            if Int.random(in: 0..<50, using: &random) == 0 {
                book.keepScopes(["s0"], of: .memberDown, at: now)
            }
        }

        #expect(book.incidents.count <= IncidentBook.incidentsMax)
        let open = book.incidents.filter { $0.ended == nil }.map(\.subject)
        #expect(Set(open).count == open.count && open.count <= 12)
        for incident in book.incidents {
            #expect(incident.ended ?? incident.begun >= incident.begun)
        }
        #expect(book.dropped > 0)
    }

    @Test("What clients saw is counted from the beginning to the end, or so far")
    func behaviour() {
        var book = IncidentBook()
        let down = [Condition(subject: "app", text: "x")]
        book.totals = .init(requests: 100, failures: 7)
        book.observe(.upstreamDown, scope: "app", down, at: 10)
        book.totals = .init(requests: 150, failures: 9)

        #expect(book.rows.map(\.requests) == [50])
        #expect(book.rows.map(\.failures) == [2])
        #expect(book.goesOn(.upstreamDown) && !book.goesOn(.memberDown))

        book.observe(.upstreamDown, scope: "app", [], at: 12)
        book.totals = .init(requests: 900, failures: 90)
        #expect(book.rows.map(\.requests) == [50])
        #expect(!book.goesOn(.upstreamDown))
    }

    @Test("What others have seen is in the book as they say it")
    func others() {
        var book = IncidentBook()
        let moved = Incident(
            kind: .failover, subject: "vip", text: "backup → master: the master is silent",
            begun: 5, ended: 5)

        book.take(moved)

        #expect(book.incidents == [moved])
    }

    @Test("Kept and read again it goes on; what went on then has ended when it was kept last")
    func kept() throws {
        var book = IncidentBook()
        book.note(.reloadRefused, "", "a", at: 10)
        book.observe(.memberDown, scope: "b", [Condition(subject: "b 1", text: "x")], at: 20)
        let kept = book.kept(since: 3, at: 40, isEnded: true)
        let read = try IncidentBook.Kept(json: JSONValue(parsing: Array(kept.json.text.utf8)))
        #expect(read == kept)

        let again = IncidentBook(read, at: 60, isDaemonNew: true)

        #expect(again.since == 3)
        #expect(again.incidents.map(\.begun) == [10, 20])
        #expect(again.incidents.map(\.ended) == [10, 40])
        #expect(!again.goesOn(.memberDown))
    }

    @Test("A daemon that was not told to end was down from when it was last there")
    func crashed() {
        let kept = IncidentBook().kept(since: 3, at: 40, isEnded: false)

        let again = IncidentBook(kept, at: 60, isDaemonNew: true)
        #expect(again.incidents.map(\.kind) == [.daemonDown])
        #expect(again.incidents.first?.begun == 40 && again.incidents.first?.ended == 60)
        // Another proxy of the same guardian: the guardian tells of the one before.
        #expect(IncidentBook(kept, at: 60, isDaemonNew: false).incidents.isEmpty)
        // A clock that was set back meanwhile.
        #expect(IncidentBook(kept, at: 20, isDaemonNew: true).incidents.first?.begun == 20)
    }
}
