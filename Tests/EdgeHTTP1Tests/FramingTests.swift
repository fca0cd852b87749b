import EdgeHTTP
import EdgeHTTP1
import Testing

@Suite("HTTP/1 message framing")
struct FramingTests {
    @Test(
        "A Content-Length of digits up to 2^63 - 1 is accepted",
        arguments: [
            ("0", 0), ("5", 5), ("007", 7), (" \t42\t ", 42),
            ("9223372036854775807", 9_223_372_036_854_775_807),
        ] as [(String, UInt64)])
    func goodLength(value: String, length: UInt64) throws {
        let head = try parseRequest("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\(value)\r\n\r\n")
        #expect(head.framing == .length(length))
    }

    @Test(
        "Any other Content-Length is refused",
        arguments: [
            "", "+5", "-5", "5 5", "0x5", "5.0", "\"5\"", "5;", "5e1", "٥", "5h", "5\u{A0}",
            "9223372036854775808", "18446744073709551616", "99999999999999999999999999999999999",
        ])
    func badLength(value: String) {
        let found = violation { () throws(HTTP1Violation) in
            _ = try parseRequest("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(value)\r\n\r\n")
        }
        #expect(found == .badContentLength)
    }

    @Test(
        "Repeated and listed lengths, and a length beside chunked, are refused",
        arguments: [
            ("Content-Length: 5\r\nContent-Length: 6\r\n", HTTP1Violation.conflictingContentLength),
            ("Content-Length: 5\r\nCONTENT-LENGTH: 5\r\n", .conflictingContentLength),
            ("Content-Length: 5, 5\r\n", .conflictingContentLength),
            ("Content-Length: 5,6\r\n", .conflictingContentLength),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", .lengthAndChunked),
            ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", .lengthAndChunked),
        ])
    func conflicts(fields: String, expected: HTTP1Violation) {
        let found = violation { () throws(HTTP1Violation) in
            _ = try parseRequest("POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
        }
        #expect(found == expected)
    }

    @Test("Transfer-Encoding is one chunked in any letter case", arguments: ["chunked", "CHUNked"])
    func chunked(coding: String) throws {
        let head = try parseRequest(
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: \(coding)\t\r\n\r\n")
        #expect(head.framing == .chunked)
    }

    @Test(
        "Any other Transfer-Encoding is refused",
        arguments: [
            ("gzip", HTTP1Violation.unknownTransferCoding), ("identity", .unknownTransferCoding),
            ("xchunked", .unknownTransferCoding), ("chunkedx", .unknownTransferCoding),
            ("", .badTransferCoding), ("chunked, chunked", .badTransferCoding),
            ("gzip, chunked", .badTransferCoding), ("chunked;q=1", .badTransferCoding),
            ("\"chunked\"", .badTransferCoding), ("chunked,", .badTransferCoding),
            (",chunked", .badTransferCoding), ("chunked é", .badTransferCoding),
            ("chunked\r\n chunked", .obsFold), ("\u{B}chunked", .controlInValue),
            ("chunked\r\nTransfer-Encoding: chunked", .badTransferCoding),
            ("chunked\r\nTransfer-Encoding: identity", .badTransferCoding),
        ])
    func badCoding(value: String, expected: HTTP1Violation) {
        let found = violation { () throws(HTTP1Violation) in
            _ = try parseRequest(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \(value)\r\n\r\n")
        }
        #expect(found == expected)
    }

    @Test("An HTTP/1.0 request has no transfer coding")
    func coding10() {
        #expect(throws: HTTP1Violation.transferCodingIn10) {
            try parseRequest("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        }
    }

    @Test("Each violation has a status that refuses and a label of its own")
    func violations() {
        let labels = Set(HTTP1Violation.allCases.map(\.label))
        #expect(labels.count == HTTP1Violation.allCases.count)
        #expect(HTTP1Violation.obsFold.label == "obs_fold")
        #expect(HTTP1Violation.bareLF.label == "bare_lf")
        #expect(HTTP1Violation.unknownTransferCoding.status == 501)
        #expect(HTTP1Violation.unsupportedVersion.status == 505)
        #expect(HTTP1Violation.targetTooLong.status == 414)
        #expect(HTTP1Violation.tooManyFields.status == 431)
        for violation in HTTP1Violation.allCases { #expect((400...505).contains(violation.status)) }
    }
}
