import EdgeControl
import EdgeControlAPI
import Testing

/// Orders about the node over the admin socket, and their replies.
@Suite("Orders about the node", .serialized) struct OperationTests {
    private static func client(_ site: AdminSite) -> ControlClient {
        ControlClient(path: site.path)
    }

    @Test("What a reply says is read as it was written")
    func replies() throws {
        #expect(try ReloadPlanReply(json: OperationSamples.plan.json) == OperationSamples.plan)
        #expect(try FiguresReply(json: OperationSamples.figures.json) == OperationSamples.figures)
        #expect(
            try IncidentsReply(json: OperationSamples.incidents.json) == OperationSamples.incidents)
        #expect(try DoctorReply(json: OperationSamples.doctor.json) == OperationSamples.doctor)
        let reload = ReloadReply(
            outcome: .reloaded, epoch: 4, milliseconds: 9, confirmUntil: 1_060)
        #expect(try ReloadReply(json: reload.json) == reload)
        let node = NodeReply(order: .drain, drainedSince: 9, connections: 7)
        #expect(try NodeReply(json: node.json) == node)
        let upgrade = UpgradeReply(
            outcome: .abandoned, diagnostics: ["exit 71"], version: "0.1.0", milliseconds: 5)
        #expect(try UpgradeReply(json: upgrade.json) == upgrade)
    }

    @Test("An older daemon's reload says nothing of confirming")
    func older() throws {
        let json = try JSONValue(
            parsing: Array(
                #"{"outcome":"reloaded","diagnostics":[],"epoch":4,"milliseconds":1}"#.utf8))

        #expect(try ReloadReply(json: json).confirmUntil == nil)
    }

    @Test("A plan is shown as a diff")
    func plan() {
        let text = OperationSamples.plan.text

        #expect(
            text == """
                + listener extra                            0 connections
                - site old.example.org                      3 requests, drained within 30 s
                ~ upstream app                              1 request, untouched
                    - servers: 10.0.0.2:80
                    + servers: 10.0.0.3:80
                    ~ timeouts.response: 1m -> 5m
                    ~ health.status: another order
                ~ setting workers                           needs a restart
                    ~ workers: auto -> 3
                1 added, 2 changed, 1 removed; nothing has been done, epoch 3 goes on

                """)
        var other = ReloadPlanReply(outcome: .unchanged, epoch: 3)
        #expect(other.text == "unchanged: a reload changes nothing\n")
        other.outcome = .refused
        #expect(other.text.hasPrefix("refused: "))
    }

    @Test("A name of the configuration cannot steer the terminal")
    func escapes() {
        let plan = ReloadPlanReply(
            outcome: .planned, epoch: 1,
            changes: [
                PlannedChange(
                    kind: .site, name: "a\u{1B}[2J", action: .changed,
                    values: [PlannedValue(key: "x", before: ["\r"], after: ["\u{9B}1m"])])
            ])

        #expect(plan.text.unicodeScalars.allSatisfy { $0.value >= 0x20 || $0 == "\n" })
        #expect(!plan.text.unicodeScalars.contains("\u{9B}"))
    }

    @Test("A plan reloads nothing; a refused one is a reply")
    func planned() throws {
        let refused = ReloadPlanReply(outcome: .refused, diagnostics: ["a:1:1: error: x"], epoch: 3)
        let site = AdminSite()
        let other = AdminSite { $0.plan = .success(refused) }
        defer { site.stop() }
        defer { other.stop() }

        #expect(try Self.client(site).plan() == OperationSamples.plan)
        #expect(try Self.client(other).plan() == refused)
        #expect(site.read(\.reloads).isEmpty)
    }

    @Test("A reload to be confirmed carries the time")
    func confirm() throws {
        let site = AdminSite()
        defer { site.stop() }

        _ = try Self.client(site).reload(confirmWithin: .seconds(60))
        _ = try Self.client(site).reload()

        #expect(
            site.read(\.reloadOptions) == [
                ReloadOptions(confirmWithin: .seconds(60)), ReloadOptions(),
            ])
        #expect(try Self.client(site).confirm() == ConfirmReply(epoch: 4))
    }

    @Test(
        "A reload whose query is not understood is none",
        arguments: [
            "?plam=yes", "?plan=no", "?plan=yes&confirm=5000", "?confirm=10", "?confirm=x",
            "?confirm=3600001", "?confirm=-5000",
        ])
    func badQuery(query: String) throws {
        let site = AdminSite()
        defer { site.stop() }

        let answer = try talk(
            site.path,
            "POST /reload\(query) HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
                + "Connection: close\r\n\r\n")

        #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer)")
        #expect(site.read(\.reloads).isEmpty)
    }

    @Test("What cannot be done says why: 409, or 503 if only now")
    func refusals() {
        let site = AdminSite {
            $0.confirm = .failure(OrderRefusal("nothing waits to be confirmed"))
            $0.nodeRefusal = OrderRefusal("the node does not serve", isUnavailable: true)
            $0.upgrade = .failure(OrderRefusal("one is under way"))
        }
        defer { site.stop() }
        let client = Self.client(site)

        #expect(throws: ControlFailure.refused(status: 409, "nothing waits to be confirmed")) {
            try client.confirm()
        }
        #expect(throws: ControlFailure.refused(status: 503, "the node does not serve")) {
            try client.order(.drain)
        }
        #expect(throws: ControlFailure.refused(status: 409, "one is under way")) {
            try client.upgrade()
        }
    }

    @Test("The node is drained and taken back, and status says so")
    func node() throws {
        let site = AdminSite()
        defer { site.stop() }
        let client = Self.client(site)

        #expect(try client.order(.drain).drainedSince == 1000)
        #expect(try client.status().drainedSince == 1000)
        var text = StatusText(try client.status())
        #expect(text.render().contains("clients are told to go"))
        #expect(try client.order(.undrain).drainedSince == nil)
        #expect(site.read(\.orders) == ["node drain", "node undrain"])
    }

    @Test("Figures, incidents and findings are answered")
    func reads() throws {
        let site = AdminSite()
        defer { site.stop() }
        let client = Self.client(site)

        #expect(try client.figures() == OperationSamples.figures)
        #expect(try client.incidents() == OperationSamples.incidents)
        #expect(try client.doctor() == OperationSamples.doctor)
    }

    @Test(
        "None of it is there over TCP, and orders are POST",
        arguments: ["/figures", "/incidents", "/doctor", "/confirm", "/upgrade", "/node/drain"])
    func private_(path: String) throws {
        let site = AdminSite()
        defer { site.stop() }

        let answer = shell(
            "curl -s -o /dev/null -w %{http_code} -X POST http://127.0.0.1:\(site.port)\(path)")
        #expect(answer.output == "404")
        let isOrder = path.hasPrefix("/node") || path == "/confirm" || path == "/upgrade"
        let other = shell(
            "curl -s -o /dev/null -w %{http_code} --unix-socket \(site.path) "
                + (isOrder ? "" : "-X POST ") + "http://x\(path)")
        #expect(other.output == "405")
    }
}
