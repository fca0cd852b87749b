import EdgeCore
import Testing

@testable import EdgeLimits

@Suite("What is to be told to the other node") struct CostBookTests {
    private func entry(_ client: Int, _ cost: UInt32 = 1) -> AdmittedJournal.Entry {
        .init(identity: 1, subject: LimitSubject(high: UInt64(client), low: 0), cost: cost)
    }

    @Test("Costs of one client are one, and never overflow")
    func sums() {
        var book = CostBook()
        for cost in [1, 2, .max, 5] as [UInt32] { book.admitted(entry(1, cost), isTold: true) }

        #expect(book.take(10) == [entry(1, .max)])
        #expect(book.pendingCount == 0 && book.lost == 0)
    }

    @Test("When there is not room for all, who asks most goes first, and nobody is told twice")
    func order() {
        var book = CostBook()
        for client in 0..<10 { book.admitted(entry(client), isTold: true) }
        for client in 8..<12 { book.admitted(entry(client, 3), isTold: true) }

        let first = book.take(5)
        #expect(Set(first.prefix(4).map(\.subject.high)) == [8, 9, 10, 11])
        #expect(first.count == 5)
        let rest = book.take(100)
        #expect(first.count + rest.count == 12)
        #expect(Set((first + rest).map(\.subject.high)).count == 12)
    }

    @Test("There is an end to what it keeps, which is counted, and to whom it remembers")
    func bounds() {
        var book = CostBook()
        let count = 3 * CostBook.pendingMax
        for client in 0..<count { book.admitted(entry(client, 2), isTold: true) }
        // Who is known is summed up all the same.
        book.admitted(entry(0, 5), isTold: true)

        #expect(book.pendingCount == CostBook.pendingMax)
        #expect(book.lost == UInt64(2 * (count - CostBook.pendingMax)))
        var remembered: Set<UInt64> = []
        var told = 0
        book.recent {
            told += 1
            remembered.insert($0.subject.high)
        }
        #expect(told == remembered.count && told <= CostBook.recentMax)
        for client in count - CostBook.recentMax / 2 + 1..<count {
            #expect(remembered.contains(UInt64(client)))
        }
    }

    @Test("What nobody is told is remembered, and not kept to be told later")
    func alone() {
        var book = CostBook()
        book.admitted(entry(1), isTold: false)
        book.admitted(entry(2), isTold: true)
        book.forgetPending()

        #expect(book.take(10).isEmpty)
        var count = 0
        book.recent { _ in count += 1 }
        #expect(count == 2)
    }
}
