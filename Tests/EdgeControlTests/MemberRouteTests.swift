import Testing

@testable import EdgeControl
@testable import EdgeControlAPI

@Suite("Orders about members") struct MemberRouteTests {
    @Test("a path names upstream, member and order; parts may be escaped")
    func path() {
        let plain = MemberRoute("/upstreams/app/members/192.0.2.1:80/drain")
        let escaped = MemberRoute("/upstreams/a.b/members/%5B2001:db8::1%5D:80/maint")

        #expect(plain?.upstream == "app" && plain?.member == "192.0.2.1:80")
        #expect(plain?.order == .drain)
        #expect(escaped?.upstream == "a.b" && escaped?.member == "[2001:db8::1]:80")
        #expect(escaped?.order == .maint)
    }

    @Test(
        "another path is none",
        arguments: [
            "/upstreams", "/upstreams/app", "/upstreams/app/members/a/stop", "/status",
            "/upstreams//members/a/drain", "/upstreams/app/members//drain",
            "/upstreams/app/members/a/drain/", "upstreams/app/members/a/drain",
            "/upstreams/app/members/%5/drain", "/upstreams/app/members/%zz/drain",
            "/upstreams/app/members/%0A/drain", "/upstreams/app/members/%C3%A9/drain",
            "/upstreams/app/member/a/drain", "/upstreams/app/members/a%20b/drain",
        ])
    func others(path: String) {
        #expect(MemberRoute(path) == nil)
    }

    private static func ask(
        _ path: String, _ method: String = "POST",
        change: (inout AdminSite.Script) -> Void = { _ in }
    ) throws -> (status: Int, text: String, orders: [String]) {
        let site = AdminSite(change)
        defer { site.stop() }
        let answer = try talk(
            site.path,
            "\(method) \(path) HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                + "Content-Length: 0\r\n\r\n")
        let words = answer.split(separator: " ", maxSplits: 2)
        return (words.count > 1 ? Int(words[1]) ?? 0 : 0, answer, site.read(\.orders))
    }

    @Test(
        "a member is found by its address, by its name, and by its name with port",
        arguments: [
            ("192.0.2.1:443", "192.0.2.1:443"), ("w1.home.example", "192.0.2.1:443"),
            ("W1.home.example:443", "192.0.2.1:443"), ("192.0.2.6:443", "192.0.2.6:443"),
        ])
    func found(member: String, address: String) throws {
        for order in MemberOrder.allCases {
            let word = order.rawValue
            let (status, text, orders) = try Self.ask(
                "/upstreams/ingress/members/\(member)/\(word)")

            #expect(status == 200 && text.contains("\"admin\":\"\(word)\""), "\(text)")
            #expect(orders == ["\(word) ingress \(address)"])
        }
    }

    @Test(
        "who is not there is not found, and those who are, are named",
        arguments: [
            ("/upstreams/none/members/a/drain", "no such upstream; there are: ingress, empty"),
            ("/upstreams/ingress/members/192.0.2.1:80/drain", "there are: 192.0.2.1:443, 192"),
            ("/upstreams/ingress/members/w1.home.example:80/drain", "no such member"),
            ("/upstreams/empty/members/a/drain", "empty has no members"),
            ("/upstreams/ingress/members/a/stop", "no such path"),
        ])
    func missing(path: String, reason: String) throws {
        let (status, text, orders) = try Self.ask(path)

        #expect(status == 404 && text.contains(reason), "\(text)")
        #expect(orders == [])
    }

    @Test("a name with several addresses is a conflict that lists them")
    func ambiguous() throws {
        let (status, text, orders) = try Self.ask("/upstreams/app/members/w.example/drain") {
            $0.status.upstreams.append(
                UpstreamStatus(
                    name: "app", tls: false,
                    members: [
                        MemberStatus(address: "192.0.2.7:1", source: "w.example", state: "up"),
                        MemberStatus(address: "192.0.2.8:1", source: "w.example", state: "up"),
                    ]))
        }

        #expect(status == 409 && text.contains("say one of 192.0.2.7:1, 192.0.2.8:1"), "\(text)")
        #expect(orders == [])
    }

    @Test("an order that the daemon refuses has changed nothing")
    func refused() throws {
        let (status, text, _) = try Self.ask("/upstreams/ingress/members/192.0.2.1:443/maint") {
            $0.orderResult = .refused("not now")
        }

        #expect(status == 409 && text.contains("not now"))
    }

    @Test("orders are POST, the list is GET, and neither is there over TCP")
    func methods() throws {
        let path = "/upstreams/ingress/members/192.0.2.1:443/drain"

        let (status, text, orders) = try Self.ask(path, "GET")
        #expect(status == 405 && text.contains("Allow: POST") && orders == [])
        #expect(try Self.ask("/upstreams", "POST").status == 405)
        #expect(try Self.ask("/upstreams", "GET").text.contains("\"policy\":[\"round-robin\""))

        let site = AdminSite()
        defer { site.stop() }
        let url = "http://127.0.0.1:\(site.port)"
        for arguments in ["\(url)/upstreams", "-X POST \(url)\(path)"] {
            let answer = shell("curl -s -m 10 -o /dev/null -w '%{http_code}' \(arguments)")
            #expect(answer.output == "404", "\(arguments)")
        }
        #expect(site.read(\.orders) == [])
    }
}
