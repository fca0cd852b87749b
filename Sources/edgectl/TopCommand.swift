import ArgumentParser
import EdgeControlAPI
import Foundation

/// `edgectl top`: rates, errors and times by site and upstream, once a second, until `q`. Where the
/// output is no terminal: one page.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch rates, errors and response times by site and upstream.",
        discussion: """
            q ends it. If the output is not a terminal, or with --once, it is one page about the \
            interval that has passed.
            """)

    @ParentCommand var root: EdgeCtl
    @OptionGroup var options: ConnectionOptions

    @Option(
        help: ArgumentHelp("Between two pages: 200ms to 1m.", valueName: "time"))
    var interval = TimeSpan.second

    @Flag(help: "One page, and the end.")
    var once = false

    func validate() throws {
        guard (.milliseconds(200) ... .seconds(60)).contains(interval.duration) else {
            throw ValidationError("--interval takes 200ms to 1m")
        }
    }

    func run() throws {
        let connection = options.merged(with: root.connection)
        let first = try sample(connection)
        guard !once, !connection.json, let terminal = Terminal() else {
            usleep(useconds_t(milliseconds * 1000))
            return try printPage(first.figures, connection)
        }
        // What goes wrong is said on the shell's own screen.
        let failure = watch(terminal, first, connection)
        terminal.restore()
        if let failure { throw failure }
    }

    private var milliseconds: Int64 {
        let parts = interval.duration.components
        return parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000
    }

    private typealias Sample = (figures: FiguresReply, status: StatusReply)

    private func sample(_ connection: ConnectionOptions) throws -> Sample {
        try connection.ask(within: .seconds(5)) { client throws(ControlFailure) in
            (try client.figures(), try client.status())
        }
    }

    private func printPage(_ before: FiguresReply, _ connection: ConnectionOptions) throws {
        let next = try sample(connection)
        if connection.json { return print(next.figures.json.prettyText) }
        let page = TopPage(FigureRates(from: before, to: next.figures), next.status)
        for line in page.lines(width: .max, height: .max) { print(line) }
    }

    /// - Returns: why it ended, if not by `q`.
    private func watch(
        _ terminal: Terminal, _ first: Sample, _ connection: ConnectionOptions
    ) -> (any Error)? {
        var screen = TerminalScreen()
        var before: FiguresReply?
        var latest = first
        while true {
            let page = TopPage(FigureRates(from: before, to: latest.figures), latest.status)
            let due = DispatchTime.now().uptimeNanoseconds + UInt64(milliseconds) * 1_000_000
            // A resized window shows the same page at once.
            repeat {
                let (width, height) = terminal.size
                let lines = page.lines(width: width, height: height)
                terminal.write(screen.frame(lines, width: width, height: height))
                let now = DispatchTime.now().uptimeNanoseconds
                let left = due > now ? Int32(clamping: (due - now) / 1_000_000 + 1) : 0
                if terminal.isQuit(within: left) { return nil }
            } while DispatchTime.now().uptimeNanoseconds < due
            before = latest.figures
            do {
                latest = try sample(connection)
            } catch {
                return error
            }
        }
    }
}

extension TimeSpan {
    static let second = TimeSpan(text: "1s", duration: .seconds(1))
}

extension TimeSpan: CustomStringConvertible {
    var description: String { text }
}
