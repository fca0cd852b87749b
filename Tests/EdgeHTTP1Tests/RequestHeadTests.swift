import EdgeHTTP
import Testing

@testable import EdgeHTTP1

@Suite("HTTP/1 request heads")
struct RequestHeadTests {
    @Test("A plain request is taken apart")
    func plain() throws {
        let head = try parseRequest("GET /a?b=c HTTP/1.1\r\nHost: example.org:8443\r\n\r\n")

        #expect(head.start == "GET")
        #expect(head.target == "/a?b=c")
        #expect(head.host == "example.org")
        #expect(head.port == 8443)
        #expect(head.framing == .none)
    }
}
