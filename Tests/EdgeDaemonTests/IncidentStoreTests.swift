import EdgeCore
import EdgeSystem
import Glibc
import Testing

@testable import EdgeDaemon

@Suite("Incidents that are kept")
struct IncidentStoreTests {
    private func folder() throws -> String {
        var template = Array("/tmp/edged-test-XXXXXX".utf8CString)
        return String(cString: try #require(mkdtemp(&template)))
    }

    @Test("The last word is written, also while another one is being written, and waited for")
    func lastWord() throws {
        let folder = try folder()
        let loop = try PollLoop()
        let store = IncidentStore(directory: folder, loop: loop)
        var book = IncidentBook()
        store.keep(book, since: 5, isEnding: false)
        book.note(.reloadRefused, "", "later", at: 10)
        store.keep(book, since: 5, isEnding: true)

        var isWritten = false
        store.whenWritten(within: .seconds(10)) { isWritten = true }
        let end = Instant.now().advanced(by: .seconds(10))
        while !isWritten, Instant.now() < end { loop.runOnce(maxWait: .milliseconds(20)) }

        let kept = try #require(IncidentStore(directory: folder, loop: loop).load())
        #expect(kept.isEnded)
        #expect(kept.incidents.map(\.text) == ["later"])
    }

    @Test("A disk that hangs is waited for no longer than said")
    func hangs() throws {
        let loop = try PollLoop()
        let store = IncidentStore(directory: try folder(), loop: loop)
        store.keep(IncidentBook(), since: 5, isEnding: true)

        // Nobody hears of the end of the write before the loop turns.
        var isOver = false
        store.whenWritten(within: .zero) { isOver = true }
        #expect(!isOver)
        loop.runOnce(maxWait: .milliseconds(20))
        #expect(isOver)
        store.whenWritten(within: .seconds(10)) {}
    }
}
