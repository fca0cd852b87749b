import Glibc
import Testing

@testable import EdgeHealth

@Suite("Words of failed checks") struct ReasonTests {
    @Test("a span is told in seconds where it is whole seconds")
    func spans() {
        #expect(CheckReason.text(.seconds(1)) == "1s")
        #expect(CheckReason.text(.milliseconds(1500)) == "1500ms")
        #expect(CheckReason.text(.milliseconds(250)) == "250ms")
        #expect(CheckReason.text(.seconds(90)) == "90s")
    }

    @Test("what is short on our side is told from what the member does")
    func whose() {
        for code in [EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL] {
            #expect(CheckReason.isOurs(code, isIPv4: true))
        }
        #expect(!CheckReason.isOurs(EADDRNOTAVAIL, isIPv4: false))
        for code in [ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EACCES] {
            #expect(!CheckReason.isOurs(code, isIPv4: true))
        }
    }

    @Test("errors of sockets have words, and unusual ones their name")
    func words() {
        #expect(CheckReason.socket(ECONNREFUSED) == "connection refused")
        #expect(CheckReason.socket(EHOSTUNREACH) == "host unreachable")
        #expect(CheckReason.socket(EPIPE) == "connection reset")
        #expect(CheckReason.socket(EACCES) == "EACCES")
    }
}
