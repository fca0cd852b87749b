import EdgeCore
import EdgeSystem
import Testing

@testable import EdgeDaemon

@Suite("Waiting for names") struct NameWaitTests {
    private static func run(_ loop: PollLoop, until isOver: () -> Bool) {
        let end = Instant.now().advanced(by: .seconds(5))
        while !isOver(), Instant.now() < end { loop.runOnce(maxWait: .milliseconds(50)) }
    }

    @Test("With nothing to wait for it goes on at once")
    func nothing() throws {
        let wait = NameWait(loop: try PollLoop())
        var count = 0

        wait.begin([], atMost: .seconds(60), hasAddress: { _ in false }) { count += 1 }
        #expect(count == 1)
        wait.begin(["a.example"], atMost: .seconds(60), hasAddress: { _ in true }) { count += 1 }
        #expect(count == 2)
    }

    @Test("It goes on when the last name has an address, once")
    func found() throws {
        let wait = NameWait(loop: try PollLoop())
        var count = 0

        wait.begin(["a.example", "b.example"], atMost: .seconds(60), hasAddress: { _ in false }) {
            count += 1
        }
        wait.found("a.example")
        wait.found("c.example")
        #expect(count == 0)
        wait.found("b.example")
        wait.found("b.example")
        #expect(count == 1)
    }

    @Test("It goes on without an address when the time is up")
    func timeout() throws {
        let loop = try PollLoop()
        let wait = NameWait(loop: loop)
        var count = 0

        wait.begin(["a.example"], atMost: .milliseconds(1), hasAddress: { _ in false }) {
            count += 1
        }
        Self.run(loop) { count > 0 }
        wait.found("a.example")
        #expect(count == 1)
    }

    @Test("What was cancelled or replaced never goes on")
    func cancelled() throws {
        let wait = NameWait(loop: try PollLoop())
        var first = 0
        var second = 0

        wait.begin(["a.example"], atMost: .seconds(60), hasAddress: { _ in false }) { first += 1 }
        wait.begin(["b.example"], atMost: .seconds(60), hasAddress: { _ in false }) { second += 1 }
        wait.found("a.example")
        wait.cancel()
        wait.found("b.example")
        #expect(first == 0)
        #expect(second == 0)
    }
}
