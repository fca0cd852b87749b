import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

@Suite("DNS records over the admin socket") struct DNSRouteTests {
    private static func get(_ target: String, _ site: AdminSite) throws -> String {
        try talk(site.path, "GET \(target) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    }

    @Test("the query names the view, escaped or not")
    func view() throws {
        let site = AdminSite()
        defer { site.stop() }

        for query in ["view=lan", "view=%6can", "a=b&view=lan", "view=lan&view=public"] {
            let answer = try Self.get("/dns?\(query)", site)
            #expect(answer.hasPrefix("HTTP/1.1 200 "), "\(query)")
            #expect(answer.contains("\"names\":[\"*.apps.home.example\""), "\(answer)")
        }
    }

    @Test(
        "without a view, with an unknown one and with one without addresses it says so",
        arguments: [
            ("/dns", 400, "say which"), ("/dns?veiw=lan", 400, "say which"),
            ("/dns?view", 400, "say which"), ("/dns?view=%0a", 400, "say which"),
            ("/dns?view=lam", 404, "did you mean"), ("/dns?view=", 404, "did you mean"),
            ("/dns?view=bare", 409, "no addresses"), ("/dns/lan", 404, "no such path"),
        ] as [(String, Int, String)])
    func refused(target: String, status: Int, text: String) throws {
        let site = AdminSite()
        defer { site.stop() }

        let answer = try Self.get(target, site)

        #expect(answer.hasPrefix("HTTP/1.1 \(status) ") && answer.contains(text), "\(answer)")
    }

    @Test("it is GET, and not there over TCP")
    func methods() throws {
        let site = AdminSite()
        defer { site.stop() }

        let post = "POST /dns?view=lan HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
        let answer = try talk(site.path, post + "Connection: close\r\n\r\n")
        #expect(answer.hasPrefix("HTTP/1.1 405 ") && answer.contains("Allow: GET, HEAD"))
        let overTCP = shell(
            "curl -s -m 10 -o /dev/null -w '%{http_code}' "
                + "'http://127.0.0.1:\(site.port)/dns?view=lan'")
        #expect(overTCP.output == "404")
    }

    @Test(
        "parameters are found by their whole name",
        arguments: [
            ("view=a", "a"), ("xview=a", nil), ("viewx=a", nil), ("", nil), ("&&view=a&", "a"),
            ("view=a=b", "a=b"), ("view=a%2", nil), ("view=", ""),
        ] as [(String, String?)])
    func parameters(query: String, value: String?) {
        #expect(PercentText.parameter("view", in: query) == value)
    }
}
