import EdgeControlAPI
import EdgeTesting
import Testing

@Suite("Rates of figures") struct FigureRatesTests {
    private static func reply(
        at milliseconds: Int64, started: Int64 = 800, requests: Int64, failed: Int64 = 0,
        durations: [Int64] = [], sites: [FigureRow] = []
    ) -> FiguresReply {
        FiguresReply(
            nowMilliseconds: milliseconds, started: started, connections: 7,
            bounds: [250, 500, 1000],
            node: FigureRow(
                name: "", requests: requests,
                results: [NamedCount("2xx", requests - failed), NamedCount("failed", failed)],
                durations: durations),
            sites: sites)
    }

    @Test("Counts between two answers are per second, in tenths")
    func rates() {
        let before = Self.reply(at: 1_000_000, requests: 100)
        let after = Self.reply(at: 1_002_000, requests: 125, failed: 5)

        let node = FigureRates(from: before, to: after).node
        #expect(node.requests == 125 && node.errors == 25 && node.total == 125)
    }

    @Test("Another proxy's counts are not subtracted, and nothing is negative")
    func restarted() {
        let before = Self.reply(at: 1_000_000, requests: 10_000)
        let after = Self.reply(at: 1_001_000, started: 1000, requests: 50)
        let odd = Self.reply(at: 1_000_500, requests: 9000)

        #expect(FigureRates(from: before, to: after).node.requests == 500)
        #expect(FigureRates(from: before, to: odd).node.requests == 0)
        #expect(FigureRates(from: nil, to: before).node.requests == 500)
        // A clock that goes back divides nothing by 0.
        #expect(
            FigureRates(from: before, to: Self.reply(at: 999_000, requests: 10_001)).node.requests
                == 10_000)
    }

    static let quantiles: [([Int64], FigureRates.Span?, FigureRates.Span?)] = [
        ([], nil, nil), ([0, 0, 0, 0], nil, nil),
        ([100, 0, 0, 0], .microseconds(125), .microseconds(247)),
        ([50, 50, 0, 0], .microseconds(250), .microseconds(495)),
        ([98, 0, 2, 0], .microseconds(127), .microseconds(750)),
        ([98, 0, 0, 2], .microseconds(127), .beyond(1000)),
        ([0, 0, 0, 1], .beyond(1000), .beyond(1000)),
    ]

    @Test(
        "Half of the requests take no longer than p50, all but one in a hundred than p99",
        arguments: quantiles)
    func quantile(
        counts: [Int64], median: FigureRates.Span?, tail: FigureRates.Span?
    ) {
        let rates = FigureRates(
            from: Self.reply(at: 0, requests: 0, durations: [1, 1, 1, 1]),
            to: Self.reply(
                at: 1000, requests: 100,
                durations: counts.map { $0 + 1 }))

        #expect(rates.node.median == median)
        #expect(rates.node.tail == tail)
    }

    @Test(
        "Spans are short",
        arguments: [
            (950, "950 µs"), (1250, "1.2 ms"), (35_900, "35 ms"), (2_150_000, "2.1 s"),
            (65_536_000, "65 s"),
        ] as [(Int64, String)])
    func spans(span: Int64, text: String) {
        #expect(FigureRates.Span.microseconds(span).text == text)
        #expect(FigureRates.Span.beyond(span).text == ">" + text)
    }

    @Test("The busiest come first; a site is told by its view, too")
    func order() {
        func site(_ name: String, _ view: String?, _ count: Int64) -> FigureRow {
            FigureRow(name: name, view: view, requests: count)
        }
        let before = Self.reply(
            at: 0, requests: 0, sites: [site("a", "lan", 90), site("a", "wan", 10)])
        let after = Self.reply(
            at: 1000, requests: 0,
            sites: [site("a", "lan", 91), site("a", "wan", 30), site("b", nil, 5)])

        let sites = FigureRates(from: before, to: after).sites
        #expect(sites.map(\.view) == ["wan", nil, "lan"])
        #expect(sites.map(\.requests) == [200, 50, 10])
    }
}

@Suite("What top shows") struct TopPageTests {
    private static var page: TopPage {
        TopPage(FigureRates(from: nil, to: OperationSamples.figures), Samples.status)
    }

    @Test("Everything at one glance")
    func whole() {
        let lines = Self.page.lines(width: 200, height: 100)

        #expect(
            lines == [
                "edged 0.1.0  serving  up 3 min 20 s  epoch 3",
                "clients 12  requests 0.4/s  errors 0.0/s  p50 250 µs  p99 >1.0 ms  active 2",
                "workers  1: 0.4/s 12",
                "",
                "upstreams",
                "  upstream  up   req/s  err/s  p50  p99  active",
                "  empty",
                "  ingress   1/2",
                "",
                "sites",
                "  site           view  req/s  err/s  p50     p99     total",
                "  a.example.org  lan   0.2    0.0    150 µs  500 µs  60",
            ], "\(lines.joined(separator: "\n"))")
    }

    @Test("No line is wider and no page higher than the window", arguments: [0, 1, 5, 8, 12, 24])
    func bounds(height: Int) {
        var figures = OperationSamples.figures
        figures.sites = (0..<300).map { FigureRow(name: "site\($0).example.org", requests: 5) }
        var status = Samples.status
        status.upstreams = (0..<40).map { UpstreamStatus(name: "up\($0)", tls: false) }
        let lines = TopPage(FigureRates(from: nil, to: figures), status)
            .lines(width: 30, height: height)

        #expect(lines.count <= height && lines.allSatisfy { $0.count <= 30 })
        if height == 24 {
            #expect(lines.contains { $0.hasPrefix("sites, ") })
            #expect(lines.contains { $0.hasPrefix("upstreams, ") })
            #expect(lines.count == 24)
        }
    }

    @Test("A hostile name cannot steer the terminal")
    func escapes() {
        var figures = OperationSamples.figures
        figures.sites = [FigureRow(name: "a\u{1B}[2J", view: "\u{9B}", requests: 1)]
        let lines = TopPage(FigureRates(from: nil, to: figures), Samples.status)
            .lines(width: 80, height: 24)

        for scalar in lines.joined().unicodeScalars {
            #expect(scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value))
        }
    }
}

/// The part of a terminal that `TerminalScreen` uses.
private struct StandInTerminal {
    var rows: [[Character]]
    let width: Int

    init(width: Int, height: Int) {
        self.width = width
        rows = Array(repeating: [], count: height)
    }

    var text: [String] {
        rows.map { row in
            var row = row
            while row.last == " " { row.removeLast() }
            return String(row)
        }
    }

    mutating func take(_ frame: String) {
        var rest = frame[...]
        var (row, column) = (0, 0)
        while let character = rest.popFirst() {
            guard character == "\u{1B}" else {
                while rows[row].count <= column { rows[row].append(" ") }
                rows[row][column] = character
                column += 1
                continue
            }
            rest.removeFirst()
            let digits = rest.prefix { $0.isNumber || $0 == ";" }
            rest = rest.dropFirst(digits.count)
            switch rest.popFirst() {
            case "H":
                let parts = digits.split(separator: ";").compactMap { Int($0) }
                (row, column) = (parts[0] - 1, parts[1] - 1)
            case "J": for index in rows.indices { rows[index] = [] }
            case "K": rows[row].removeLast(max(rows[row].count - column, 0))
            default: Issue.record("unknown sequence")
            }
        }
    }
}

@Suite("Drawing on a terminal") struct TerminalScreenTests {
    @Test("Only changed lines are sent; the same page costs nothing")
    func changes() {
        var screen = TerminalScreen()
        let first = screen.frame(["one", "two", "three"], width: 80, height: 24)
        #expect(first.hasPrefix("\u{1B}[2J"))

        #expect(screen.frame(["one", "two", "three"], width: 80, height: 24).isEmpty)
        #expect(
            screen.frame(["one", "2", "three"], width: 80, height: 24) == "\u{1B}[2;1H2\u{1B}[K")
        #expect(screen.frame(["one"], width: 80, height: 24).split(separator: "\u{1B}").count == 4)
        #expect(screen.frame(["one"], width: 40, height: 24).hasPrefix("\u{1B}[2J"))
    }

    @Test(
        "Whatever comes, the terminal shows the last page", arguments: 1...8 as ClosedRange<UInt64>)
    func walk(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var screen = TerminalScreen()
        var (width, height) = (20, 10)
        var terminal = StandInTerminal(width: width, height: height)
        for _ in 0..<300 {
            if Int.random(in: 0..<20, using: &random) == 0 {
                (width, height) = (
                    Int.random(in: 1...40, using: &random), Int.random(in: 1...20, using: &random)
                )
                terminal = StandInTerminal(width: width, height: height)
            }
            let lines = (0..<Int.random(in: 0...25, using: &random)).map { _ in
                String(
                    repeating: "abµ".randomElement(using: &random) ?? "x",
                    count: Int.random(in: 0...50, using: &random))
            }

            terminal.take(screen.frame(lines, width: width, height: height))

            var wanted = lines.prefix(height).map { String($0.prefix(width)) }
            wanted += Array(repeating: "", count: height - wanted.count)
            #expect(terminal.text.elementsEqual(wanted))
        }
    }
}
