internal import EdgeCore
package import EdgeSystem

/// Asks DNS once about every name of every view and says what is not as it should be. As the daemon
/// asks: each name of all servers of its group at once, both families, at most
/// `Resolver.outstandingMax` names of a group at a time. A question has 2 s, all of it 10 s; what
/// was not asked until then is reported as that. It turns the loop itself and is to be used once.
package final class DNSAudit {
    /// A name below a wildcard that nobody has.
    package static let probe = "edged-dns-check"

    package struct Report: Sendable, Equatable {
        /// In the order of views, then of names.
        package let drifts: [DNSDrift]
        /// Names that were asked about, one that two views have in the same DNS once.
        package let asked: Int
    }

    private let loop: PollLoop
    private let groups: [ResolverGroup]
    private let timing: NameTiming
    private let budget: Duration

    /// - Parameters:
    ///   - groups: for views without a resolver of their own.
    ///   - queryTime: for one name.
    ///   - budget: for all of them.
    package init(
        loop: PollLoop, groups: [ResolverGroup], queryTime: Duration = .seconds(2),
        budget: Duration = .seconds(10)
    ) {
        self.loop = loop
        self.groups = groups
        self.budget = budget
        var timing = NameTiming()
        timing.queryDeadline = queryTime
        // A slow family gets all the time there is: its absence would be a finding.
        timing.patience = queryTime
        timing.tryTimeout = Duration(nanoseconds: queryTime.nanoseconds / 3)
        self.timing = timing
    }

    package func run(_ expectations: [DNSExpectation]) -> Report {
        let deadline = Instant.now().advanced(by: budget)
        var lanes: [Lane] = []
        var laneOfView: [Int] = []
        for expectation in expectations {
            let asked = expectation.resolver.map { [$0.forAllNames] } ?? groups
            let index = lanes.firstIndex { $0.groups == asked } ?? lanes.count
            if index == lanes.count { lanes.append(Lane(asked, loop: loop, timing: timing)) }
            lanes[index].add(expectation.names.map(Self.question))
            laneOfView.append(index)
        }
        defer { for lane in lanes { lane.close() } }
        while true {
            for lane in lanes { lane.advance() }
            let left = Instant.now() < deadline
            guard left, !lanes.allSatisfy(\.isDone) else { break }
            loop.runOnce(maxWait: .milliseconds(20))
        }
        var drifts: [DNSDrift] = []
        for (expectation, index) in zip(expectations, laneOfView) {
            for name in expectation.names {
                let found = lanes[index].findings[Self.question(name)]
                drifts +=
                    found.map { expectation.drift(of: name, $0) }
                    ?? [expectation.notAsked(name)]
            }
        }
        return Report(drifts: drifts, asked: lanes.reduce(0) { $0 + $1.findings.count })
    }

    private static func question(_ name: String) -> String {
        name.hasPrefix("*.") ? probe + name.dropFirst() : name
    }
}

/// One resolver and what it is still to be asked. A name is tracked until there is an answer.
private final class Lane {
    let groups: [ResolverGroup]
    private let resolver: Resolver
    /// All questions, each once; from `next` on they have not been asked.
    private var questions: [String] = []
    private var known: Set<String> = []
    private var next = 0
    private var open: Set<String> = []
    /// By question.
    private(set) var findings: [String: DNSFinding] = [:]

    init(_ groups: [ResolverGroup], loop: PollLoop, timing: NameTiming) {
        self.groups = groups
        // What is asked for is our own address, and hosts files are no DNS.
        resolver = Resolver(loop: loop, groups: groups, timing: timing, seed: 1) { _ in }
    }

    var isDone: Bool { open.isEmpty && next == questions.count }

    func add(_ names: [String]) {
        for name in names where known.insert(name).inserted { questions.append(name) }
    }

    func close() { resolver.close() }

    /// Takes answers, and asks for as many more.
    func advance() {
        guard !isDone else { return }
        let before = open
        for report in resolver.report where open.contains(report.name) {
            let addresses = report.addresses + report.suspects
            guard !addresses.isEmpty || report.lastError != nil else { continue }
            open.remove(report.name)
            findings[report.name] = DNSFinding(
                addresses: addresses, failure: report.lastError, resolver: report.resolver)
        }
        while open.count < Resolver.outstandingMax, next < questions.count {
            open.insert(questions[next])
            next += 1
        }
        if open != before { resolver.track(names: open) }
    }
}

extension ResolverGroup {
    /// The same servers, for whatever name.
    fileprivate var forAllNames: ResolverGroup {
        ResolverGroup(name: name, servers: servers, domains: [])
    }
}
