import EdgeControlAPI
import Glibc
import Testing

@testable import EdgeControl

/// The real `edgectl` giving orders about the node.
extension EdgeCtlTests {
    @Test("reload --plan prints the changes, and reloads nothing; 4 if it would be refused")
    func plan() throws {
        let refused = ReloadPlanReply(
            outcome: .refused, diagnostics: ["a.yaml:1:1: error: x"], epoch: 3)
        let site = AdminSite()
        let other = AdminSite { $0.plan = .success(refused) }
        let none = AdminSite {
            $0.plan = .failure(OrderRefusal("not available", isUnavailable: true))
        }
        defer { [site, other, none].forEach { $0.stop() } }

        #expect(Self.run("reload --plan", site) == (0, OperationSamples.plan.text))
        let (code, json) = Self.run("reload --plan --json", site)
        #expect(code == 0)
        #expect(
            try ReloadPlanReply(json: JSONValue(parsing: Array(json.utf8)))
                == OperationSamples.plan)
        let (status, output) = Self.run("reload --plan", other)
        #expect(status == 4 && output.contains("a.yaml:1:1: error: x"))
        #expect(Self.run("reload --plan", none).0 == 1)
        #expect(site.read(\.reloads).isEmpty)
    }

    @Test("reload --confirm says until when, and confirm ends it")
    func confirm() {
        let site = AdminSite {
            $0.reload = ReloadReply(
                outcome: .reloaded, epoch: 4, milliseconds: 1, confirmUntil: 1060)
        }
        let other = AdminSite { $0.confirm = .failure(OrderRefusal("nothing waits")) }
        defer { [site, other].forEach { $0.stop() } }

        let (code, output) = Self.run("reload --confirm 90s", site)
        #expect(code == 0 && output.contains("undone in 90s unless you say: edgectl confirm"))
        #expect(site.read(\.reloadOptions) == [ReloadOptions(confirmWithin: .seconds(90))])
        #expect(Self.run("confirm", site) == (0, "confirmed, epoch 4 stays\n"))
        #expect(Self.run("confirm", other).0 == 1)
    }

    @Test(
        "Times that make no sense are usage errors",
        arguments: [
            "--confirm 60", "--confirm 5ms", "--confirm 2h", "--confirm -1s", "--confirm s",
            "--confirm 60s --plan",
        ])
    func spans(arguments: String) {
        let site = AdminSite()
        defer { site.stop() }

        #expect(Self.run("reload \(arguments)", site).0 == 2)
        #expect(site.read(\.reloads).isEmpty)
    }

    @Test("upgrade says what serves now; 1: the new program was given up")
    func upgrade() {
        let site = AdminSite()
        let other = AdminSite {
            $0.upgrade = .success(
                UpgradeReply(
                    outcome: .abandoned, diagnostics: ["it ended with 71"], version: "0.1.0",
                    milliseconds: 40))
        }
        defer { [site, other].forEach { $0.stop() } }

        #expect(Self.run("upgrade", site) == (0, "upgraded to 0.2.0 in 350 ms\n"))
        let (code, output) = Self.run("upgrade", other)
        #expect(code == 1 && output.contains("it ended with 71"))
    }

    @Test("node drain and undrain; a drained node's status is 5")
    func node() {
        let site = AdminSite()
        defer { site.stop() }

        #expect(
            Self.run("node drain", site) == (0, "clients are told to go, 12 connections open\n"))
        #expect(Self.run("status", site).0 == 5)
        #expect(Self.run("--json node drain", site).1.contains("\"drained_since\": 1000"))
        #expect(Self.run("node undrain", site) == (0, "clients are welcome, 12 connections open\n"))
        #expect(Self.run("status", site).0 == 0)
        #expect(Self.run("node", site).0 == 0, "help")
        #expect(Self.run("node stop", site).0 == 2)
    }

    @Test("incidents as lines, as a table, as JSON")
    func incidents() throws {
        let site = AdminSite()
        defer { site.stop() }

        #expect(Self.run("incidents", site) == (0, OperationSamples.incidents.text))
        #expect(Self.run("incidents --markdown", site) == (0, OperationSamples.incidents.markdown))
        let (_, json) = Self.run("incidents --json", site)
        #expect(
            try IncidentsReply(json: JSONValue(parsing: Array(json.utf8)))
                == OperationSamples.incidents)
    }

    @Test("doctor: 5 with findings, 3 and what the host says without a daemon")
    func doctor() throws {
        let site = AdminSite()
        defer { site.stop() }

        let (code, output) = Self.run("doctor", site)
        #expect(code == 5)
        #expect(output.contains("problem  state: /var/lib/edged: read-only file system"))
        #expect(output.contains("         -> mount it read-write"))
        #expect(output.contains("configuration: the files have changed"))
        #expect(!output.contains("ok       descriptors"))
        #expect(Self.run("doctor --all", site).1.contains("ok       descriptors: 65536 allowed"))
        let (none, host) = Self.run("doctor")
        #expect(none == 3 && host.contains("problem  daemon: it does not answer"))
        let (_, json) = Self.run("doctor --json", site)
        #expect(try DoctorReply(json: JSONValue(parsing: Array(json.utf8))).checks.count > 10)
    }

    @Test("top is one page where there is no terminal")
    func topOnce() {
        let site = AdminSite()
        defer { site.stop() }

        let (code, output) = Self.run("top --interval 200ms", site)

        #expect(code == 0)
        #expect(output.contains("a.example.org  lan") && !output.contains("\u{1B}"))
        #expect(Self.run("top --interval 1h", site).0 == 2)
    }

    @Test("top draws on a terminal, redraws what has changed, and leaves it as it was")
    func topOnTerminal() {
        let site = AdminSite()
        defer { site.stop() }
        let command = "EDGED_SOCKET=\(site.path) \(Self.program) top --interval 200ms"

        let (code, output) = shell(
            "{ sleep 1; printf q; sleep 0.2; } | script -qec '\(command)' /dev/null")

        #expect(code == 0)
        #expect(output.contains(TerminalScreen.enter) && output.hasSuffix(TerminalScreen.leave))
        // Whole pages are drawn once, although there were several.
        #expect(output.components(separatedBy: "\u{1B}[2J").count == 2)
        #expect(output.contains("a.example.org"))
    }

    @Test(
        "check runs edged on the file in use, and passes on what it says",
        arguments: [
            (0, 0), (5, 5), (64, 2), (78, 4), (71, 1),
        ] as [(Int32, Int32)])
    func check(status: Int32, code: Int32) throws {
        let site = AdminSite()
        defer { site.stop() }
        let program = "/tmp/edged-check-\(getpid())-\(status)"
        let (made, text) = shell(
            "printf '#!/bin/sh\\necho \"$@\"\\nexit \(status)\\n' > \(program) && chmod 755 \(program)"
        )
        defer { unlink(program) }
        #expect(made == 0, "\(text)")

        let (own, output) = Self.run("check --dns --program \(program)", site)
        #expect(own == code && output == "--check --dns -c /etc/edged/edged.yaml\n", "\(output)")
        #expect(
            Self.run("check -c x.yaml --program \(program)").1 == "--check -c x.yaml\n")
        #expect(Self.run("check --program \(program)").0 == 3)
    }
}

extension String {
    fileprivate func components(separatedBy separator: String) -> [Substring] {
        split(separator: separator, omittingEmptySubsequences: false)
    }
}
