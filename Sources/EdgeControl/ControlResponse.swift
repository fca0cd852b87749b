internal import EdgeControlAPI

/// One answer of the admin server, ready to be written.
struct ControlResponse {
    var status: Int
    var type: String
    var body: String
    /// The rest of the body, megabytes perhaps: sent from where it is.
    var more: [UInt8] = []
    /// For 405: the methods that would do.
    var allow: String?

    static func json(_ status: Int, _ value: JSONValue) -> ControlResponse {
        ControlResponse(status: status, type: "application/json", body: value.text + "\n")
    }

    static func text(_ status: Int, _ body: String) -> ControlResponse {
        ControlResponse(status: status, type: "text/plain; charset=utf-8", body: body + "\n")
    }

    /// The Prometheus text exposition format, version 0.0.4.
    static func metrics(_ body: String, _ more: [UInt8] = []) -> ControlResponse {
        ControlResponse(
            status: 200, type: "text/plain; version=0.0.4; charset=utf-8", body: body, more: more)
    }

    static func error(_ status: Int, _ text: String, allow: String? = nil) -> ControlResponse {
        var response = json(status, ErrorReply(error: text).json)
        response.allow = allow
        return response
    }

    static let goOn = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)

    /// What is sent, but for `more`.
    ///
    /// - Parameter withBody: false for HEAD, which announces the length all the same.
    func bytes(keepsAlive: Bool, withBody: Bool = true) -> [UInt8] {
        var head = "HTTP/1.1 \(status) \(Self.phrase(status))\r\n"
        head += "Content-Type: \(type)\r\nContent-Length: \(body.utf8.count + more.count)\r\n"
        head += "Cache-Control: no-store\r\n"
        if let allow { head += "Allow: \(allow)\r\n" }
        if !keepsAlive { head += "Connection: close\r\n" }
        return Array((head + "\r\n").utf8) + (withBody ? Array(body.utf8) : [])
    }

    private static func phrase(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 400: "Bad Request"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 413: "Content Too Large"
        case 417: "Expectation Failed"
        case 422: "Unprocessable Content"
        case 431: "Request Header Fields Too Large"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}
