internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

extension Scenarios {
    /// BEHAVIOUR 29 to 34: what costs more than it brings is cut at once, with its reason counted,
    /// and another client notices nothing.
    @Suite("HTTP/2 abuse")
    struct HTTP2Abuse {}
}

/// A client that asks again and again on a connection of its own, and notes how it is served.
/// Sendable: the figures are guarded by `lock`.
final class Bystander: @unchecked Sendable {
    private let client: HTTP2Client
    private let lock = NSCondition()
    private var isStopped = false
    private var hasEnded = false
    private var served = 0
    private var worst = Duration.zero
    private var trouble: String?

    init(_ edged: Edged) throws {
        client = try edged.connectHTTP2()
        Thread.detachNewThread { [self] in run() }
        guard eventually({ lock.withLock { served > 3 } }) else {
            throw KitError("not served: \(trouble ?? "")")
        }
        lock.withLock { worst = .zero }
    }

    private func run() {
        while !lock.withLock({ isStopped }) {
            let begin = Instant.now()
            var fault: String?
            do {
                let answer = try client.get(within: .seconds(3))
                if answer.status != 200 { fault = "status \(answer.status)" }
            } catch {
                fault = "\(error)"
            }
            let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))
            lock.withLock {
                served += 1
                worst = max(worst, span)
                trouble = trouble ?? fault
            }
            if fault != nil { break }
            usleep(2000)
        }
        client.close()
        lock.withLock {
            hasEnded = true
            lock.broadcast()
        }
    }

    /// Its requests since the beginning, the slowest, and the first that failed.
    func stop() -> (served: Int, worst: Duration, trouble: String?) {
        lock.lock()
        defer { lock.unlock() }
        isStopped = true
        let deadline = Date(timeIntervalSinceNow: 5)
        while !hasEnded, lock.wait(until: deadline) {}
        return (served, worst, trouble)
    }
}

/// One way to abuse a connection, and what must come of it.
struct HTTP2Attack: Sendable {
    let name: String
    let codes: [RawFrame.Code]
    /// Labels of the reasons it may be counted under.
    let reasons: [String]
    /// The frames of a round.
    let round: @Sendable (Int) -> [RawFrame]
    /// Frames in front.
    var opening: [RawFrame] = []

    init(
        _ name: String, _ reasons: String..., codes: [RawFrame.Code] = [.enhanceYourCalm],
        opening: [RawFrame] = [], _ round: @escaping @Sendable (Int) -> [RawFrame]
    ) {
        self.name = name
        self.codes = codes
        self.reasons = reasons
        self.opening = opening
        self.round = round
    }
}

extension Scenarios.HTTP2Abuse {
    /// From the first frame to the end of the connection, on a machine that does other things too.
    static let cutMax = Duration.milliseconds(1500)
    /// How long another client's request may take meanwhile.
    static let worstMax = Duration.milliseconds(1500)
    static let growthKiBMax = 20 << 10
    /// Far more than anybody takes.
    static let roundsMax = 50_000

    /// Runs each attack, beside a client that behaves, on one worker.
    static func check(
        _ attacks: [HTTP2Attack], more: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let upstream = try Nginx()
        var options = Edged.Options()
        options.workers = 1
        let edged = try Edged(oneSite(upstream.server, more: more), options)
        defer { edged.stop() }
        try "ok".write(
            toFile: upstream.file("index.html"), atomically: false, encoding: .utf8)
        let pid = try edged.proxyPID()
        let bystander = try Bystander(edged)
        let before = ProcessFigures(of: pid)

        for attack in attacks {
            try run(attack, edged, sourceLocation)
        }

        let seen = bystander.stop()
        #expect(seen.trouble == nil, sourceLocation: sourceLocation)
        #expect(
            seen.worst < worstMax, "another client waited \(seen.worst)",
            sourceLocation: sourceLocation)
        #expect(try edged.proxyPID() == pid, sourceLocation: sourceLocation)
        #expect(try edged.failures("internal_error") == 0, sourceLocation: sourceLocation)
        #expect(
            eventually { (try? edged.metric("edged_requests_active")) == 0 },
            sourceLocation: sourceLocation)
        let grown = (ProcessFigures(of: pid)?.residentKiB ?? .max) - (before?.residentKiB ?? 0)
        #expect(
            grown < growthKiBMax || isSanitized, "\(grown) KiB more",
            sourceLocation: sourceLocation)
    }

    private static let isSanitized =
        ProcessInfo.processInfo.environment.keys.contains { $0.hasSuffix("SAN_OPTIONS") }

    private static func run(
        _ attack: HTTP2Attack, _ edged: Edged, _ sourceLocation: SourceLocation
    ) throws {
        func count() throws -> Int {
            try attack.reasons.reduce(0) { $0 + (try edged.failures($1)) }
        }
        let counted = try count()
        let client = try edged.connectHTTP2()
        defer { client.close() }
        _ = client.isAlive()

        let begin = Instant.now()
        try? client.send(attack.opening)
        let sent = client.flood(roundsMax, attack.round)
        _ = client.wait { client.ending != nil }
        let span = Duration(nanoseconds: Instant.now().nanoseconds(since: begin))

        let name = Comment(rawValue: attack.name)
        #expect(client.ending != nil, name, sourceLocation: sourceLocation)
        let code = client.goAway?.code
        #expect(
            code.map(attack.codes.contains) == true,
            "\(attack.name): \(code.map { "\($0)" } ?? "no GOAWAY")", sourceLocation: sourceLocation
        )
        #expect(
            span < cutMax, "\(attack.name): cut after \(span), \(sent) rounds",
            sourceLocation: sourceLocation)
        #expect(
            try eventually { try count() > counted },
            "\(attack.name): \(attack.reasons) is not counted", sourceLocation: sourceLocation)
    }
}
