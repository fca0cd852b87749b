internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeDNS
internal import EdgeGuardian
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// The `edged` command: what its arguments ask for, carried out.
package enum EdgedCommand {
    /// Exit codes (sysexits.h).
    enum Code {
        static let ok: Int32 = 0
        static let refused: Int32 = 1
        static let findings: Int32 = 5
        static let usage: Int32 = 64
        static let system: Int32 = 71
        static let permission: Int32 = 77
        static let configuration: Int32 = 78
    }

    private static let usage = """
        usage: edged -c FILE [--node NAME]
                                        run in the foreground; as which of 'nodes', if not as the
                                        host name says
               edged --check -c FILE [--node NAME]
                                        check the configuration and everything it names
               edged --check --dns -c FILE    and whether DNS says what the views' clients need
               edged --pair-init [--peer-certificate FILE] [--replace] -c FILE
                                        make this node's certificate for the pair, pin the other's
               edged --check-certificates PATH [--json]
                                        what would become of a file or folder if it were dropped
               edged --explain URL [--view NAME] [--interface NAME] [--from ADDRESS]
                     [--method NAME] [--sni NAME|none] [--alpn h2,http/1.1|none] [--json] -c FILE
                                        what becomes of a request, by the configuration alone
               edged --version

        signals: HUP reload, TERM drain and stop (a second one: at once), INT stop at once,
                 USR1 open the access log anew, USR2 upgrade
        exit codes: 0 ok, 1 what --explain asks for is not served, 5 findings of --dns and
                    --check-certificates, 64 usage,
                    71 the system lacks something, 77 permission, 78 configuration
        """

    private enum Mode {
        case run, check, checkCertificates, pairInit, explain, version, help, proxy, successor
        case checkSuccessor
    }

    private struct Arguments {
        var mode = Mode.run
        var asksDNS = false
        var question: ExplainQuestion?
        var wantsJSON = false
        var pair = PairInit.Options()
        var file: String?
        /// Which of the configuration's nodes this is; nil: as the machine calls itself.
        var node: String?
        var certificates: String?
        var user: String?
        var group: String?
        var successor: Int32?
    }

    private struct UsageError: Error {
        let text: String
    }

    /// - Returns: the exit code.
    package static func run(_ arguments: [String]) -> Int32 {
        let parsed: Arguments
        do {
            parsed = try parse(Array(arguments.dropFirst()))
        } catch {
            complain("edged: \(error.text)\n\(usage)")
            return Code.usage
        }
        switch parsed.mode {
        case .help:
            print(usage)
            return Code.ok
        case .version:
            print("edged \(EdgedVersion.text)")
            return Code.ok
        case .checkSuccessor: return checkSuccession()
        case .proxy: return ProxyMain.run(user: parsed.user, group: parsed.group)
        case .checkCertificates:
            return checkCertificates(parsed.certificates ?? "", json: parsed.wantsJSON)
        case .check, .explain, .run, .successor, .pairInit:
            guard let file = parsed.file else {
                complain("edged: a configuration file is needed\n\(usage)")
                return Code.usage
            }
            let path = absolute(file)
            if let question = parsed.question {
                return explain(path, question, parsed)
            }
            if parsed.mode == .pairInit { return pairInit(path, parsed) }
            guard parsed.mode == .check else { return supervise(path, parsed) }
            return check(path, parsed)
        }
    }

    private static func parse(_ words: [String]) throws(UsageError) -> Arguments {
        var result = Arguments()
        var rest = words[...]
        let none = ExplainQuestion(url: "")
        var more = none
        while let word = rest.popFirst() {
            switch word {
            case "-c", "--config": result.file = try value(word, &rest)
            case "--node": result.node = try node(try value(word, &rest))
            case "--check": result.mode = .check
            case "--dns": result.asksDNS = true
            case "--pair-init": result.mode = .pairInit
            case "--peer-certificate": result.pair.peerCertificate = try value(word, &rest)
            case "--replace": result.pair.replaces = true
            case "--check-certificates":
                result.mode = .checkCertificates
                result.certificates = try value(word, &rest)
            case "--explain":
                result.mode = .explain
                result.question = ExplainQuestion(url: try value(word, &rest))
            case "--view": more.view = try value(word, &rest)
            case "--interface": more.interface = try value(word, &rest)
            case "--from": more.from = try value(word, &rest)
            case "--method": more.method = try value(word, &rest)
            case "--sni": more.serverName = try value(word, &rest)
            case "--alpn": more.setProtocols(try value(word, &rest))
            case "--json": result.wantsJSON = true
            case "--version", "-V": result.mode = .version
            case "--help", "-h": result.mode = .help
            case "--proxy": result.mode = .proxy
            // Between a guardian and the program that it becomes.
            case "--check-successor": result.mode = .checkSuccessor
            case "--successor":
                result.mode = .successor
                result.successor = Int32(try value(word, &rest))
            case "--user": result.user = try value(word, &rest)
            case "--group": result.group = try value(word, &rest)
            default: throw UsageError(text: "unknown argument '\(word)'")
            }
        }
        guard result.mode == .pairInit || result.pair == PairInit.Options() else {
            throw UsageError(text: "--peer-certificate and --replace go with --pair-init")
        }
        guard !result.asksDNS || result.mode == .check else {
            throw UsageError(text: "--dns goes with --check")
        }
        if let url = result.question?.url {
            more.url = url
            result.question = more
        } else if more != none || result.wantsJSON && result.mode != .checkCertificates {
            throw UsageError(text: "--view and the like go with --explain")
        }
        return result
    }

    /// A name that no file can have is not that of a node.
    private static func node(_ name: String) throws(UsageError) -> String {
        let isName = name.utf8.allSatisfy { byte in
            switch byte {
            case 0x2D, 0x2E, 0x5F, 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: false
            }
        }
        guard isName, (1...64).contains(name.utf8.count) else {
            throw UsageError(text: "--node needs the name of a node")
        }
        return name
    }

    private static func value(
        _ option: String, _ rest: inout ArraySlice<String>
    ) throws(UsageError) -> String {
        guard let value = rest.popFirst() else { throw UsageError(text: "\(option) needs a value") }
        return value
    }

    /// Relative names are meant from where the command was given; a reload finds the same file.
    private static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/") else { return path }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        guard getcwd(&buffer, buffer.count) != nil else { return path }
        let folder = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8($0) }, as: UTF8.self)
        return folder + "/" + path
    }

    private static func complain(_ text: String) {
        var bytes = Array(text.utf8) + [0x0A]
        _ = write(2, &bytes, bytes.count)
    }

    private static func supervise(_ path: String, _ arguments: Arguments) -> Int32 {
        var options = GuardianOptions(configPath: path)
        options.node = arguments.node
        return Guardian(options: options, source: FileConfiguration(node: arguments.node))
            .run(successor: arguments.successor)
    }

    /// Whether this program could go on for the guardian that asks; its state is at descriptor 3.
    private static func checkSuccession() -> Int32 {
        do throws(Guardian.StartFailure) {
            try Guardian.checkSuccession(3)
            return Code.ok
        } catch {
            for line in error.lines { complain(line) }
            return Code.refused
        }
    }

    // MARK: - Check

    /// Reads everything a start would read. As root, certificates are read as the proxy's user
    /// would read them.
    private static func check(_ path: String, _ arguments: Arguments) -> Int32 {
        do throws(ConfigError) {
            let read = try Configuration.read(path: path, node: arguments.node ?? OwnName.host)
            for warning in read.warnings { complain("warning: \(warning)") }
            // The guardian's files: read with its rights, not with those of the proxy's user.
            let problems = OwnerOnlyFile.problems(of: read.configuration.failover)
            guard problems.isEmpty else {
                for problem in problems { complain("\(path): \(problem)") }
                return Code.configuration
            }
            if let runAs = read.configuration.runAs, Privileges.canChangeUser {
                do throws(SystemError) {
                    try Privileges.drop(user: runAs.user, group: runAs.group)
                } catch {
                    complain("\(error)")
                    return Code.permission
                }
            }
            do throws(Preparation.Refusal) {
                let result = try Preparation.prepare(
                    read.bundle, previous: nil, workers: nil,
                    parsed: (read.configuration, read.warnings), checking: .all)
                let routing = SnapshotBuilder().build(result, workers: 1) { _ in [] }.routing
                let findings = Coalescing(result, routing, at: Int64(time(nil))).findings
                for finding in findings { complain("warning: \(finding)") }
                if let problem = pairProblem(result.configuration.pair) {
                    complain("warning: pair: \(problem)")
                }
                print(
                    "\(path): ok (\(result.configuration.sites.count) sites, "
                        + "\(result.configuration.upstreams.count) upstreams, "
                        + "\(result.certificateEntries.count) certificates)")
                return arguments.asksDNS ? checkDNS(result.configuration) : Code.ok
            } catch {
                for line in error.diagnostics { complain(line) }
                return Code.configuration
            }
        } catch {
            for line in error.diagnostics { complain("\(line)") }
            return Code.configuration
        }
    }

    /// A node without its files of the pair serves all the same.
    private static func pairProblem(_ pair: Configuration.Pair?) -> String? {
        guard let pair else { return nil }
        do throws(CertificateProblem) {
            _ = try PinnedIdentity.load(
                certificate: pair.certificate, key: pair.key, peer: pair.peerCertificate)
            return nil
        } catch {
            return "there is no link: \(error)"
        }
    }

    private static func pairInit(_ path: String, _ arguments: Arguments) -> Int32 {
        do throws(ConfigError) {
            let read = try Configuration.read(path: path, node: arguments.node ?? OwnName.host)
            guard let pair = read.configuration.pair else {
                complain("\(path): there is no other node: set 'pair'")
                return Code.configuration
            }
            do throws(PairInit.Refusal) {
                let lines = try PairInit(
                    pair: pair, runAs: read.configuration.runAs, options: arguments.pair
                ).run()
                for line in lines { print(line) }
                return Code.ok
            } catch {
                for line in error.lines { complain(line) }
                return Code.refused
            }
        } catch {
            for line in error.diagnostics { complain("\(line)") }
            return Code.configuration
        }
    }

    private static func checkCertificates(_ path: String, json: Bool) -> Int32 {
        guard let reply = CertificateCheck.run(absolute(path)) else {
            complain("edged: \(path): \(String(cString: strerror(errno)))")
            return Code.usage
        }
        print(json ? reply.json.prettyText : reply.text, terminator: json ? "\n" : "")
        return reply.findings.isEmpty ? Code.ok : Code.findings
    }

    // MARK: - Explain

    /// By the tables that workers would have, made from the files as a start would make them.
    private static func explain(
        _ path: String, _ question: ExplainQuestion, _ arguments: Arguments
    ) -> Int32 {
        let json = arguments.wantsJSON
        do throws(ConfigError) {
            let read = try Configuration.read(path: path, node: arguments.node ?? OwnName.host)
            do throws(Preparation.Refusal) {
                let preparation = try Preparation.prepare(
                    read.bundle, previous: nil, workers: nil,
                    parsed: (read.configuration, read.warnings))
                let explainer = Explainer(
                    preparation: preparation,
                    snapshot: SnapshotBuilder().build(preparation, workers: 1) { _ in [] },
                    now: Int64(time(nil)), members: nil)
                do throws(ExplainRefusal) {
                    let reply = try explainer.explain(question)
                    print(json ? reply.json.prettyText : reply.text, terminator: json ? "\n" : "")
                    return reply.isServed ? Code.ok : Code.refused
                } catch {
                    complain("edged: \(error.text)")
                    return Code.usage
                }
            } catch {
                for line in error.diagnostics { complain(line) }
                return Code.configuration
            }
        } catch {
            for line in error.diagnostics { complain("\(line)") }
            return Code.configuration
        }
    }

    /// Findings are lines on standard output, what could not be checked is on standard error.
    private static func checkDNS(_ configuration: Configuration) -> Int32 {
        // Each name without an answer is a finding; the resolver need not say so as well.
        Log.configure(process: "edged", threshold: .error)
        let (expectations, notes) = configuration.dnsExpectations
        for note in notes { complain("warning: dns: \(note)") }
        do throws(SystemError) {
            let audit = DNSAudit(loop: try PollLoop(), groups: configuration.resolverGroups)
            let report = audit.run(expectations)
            for drift in report.drifts { print("\(drift)") }
            print("dns: \(report.asked) names asked, \(report.drifts.count) findings")
            return report.drifts.isEmpty ? Code.ok : Code.findings
        } catch {
            complain("\(error)")
            return Code.system
        }
    }
}
