/// A page on a terminal (ECMA-48, and xterm's alternate screen), redrawn without flicker: one
/// string per frame, with only the lines that have changed. Pure: nothing is written here.
package struct TerminalScreen {
    /// What the terminal shows; nil: not known.
    private var shown: [String]?
    private var size = (width: 0, height: 0)

    package init() {}

    /// Leaves the shell's screen alone, without a cursor and without wrapping.
    package static let enter = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l"
    /// Back to it, as it was.
    package static let leave = "\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"

    /// What makes the terminal show these lines, from the top; empty if it shows them already.
    ///
    /// - Parameter lines: without control characters.
    package mutating func frame(_ lines: [String], width: Int, height: Int) -> String {
        var text = ""
        if size != (width, height) {
            size = (width, height)
            shown = nil
        }
        let wanted = lines.prefix(height).map { String($0.prefix(width)) }
        if shown == nil { text += "\u{1B}[2J" }
        let known = shown ?? []
        for index in 0..<max(wanted.count, known.count) {
            let line = index < wanted.count ? wanted[index] : ""
            guard line != (index < known.count ? known[index] : "") else { continue }
            text += "\u{1B}[\(index + 1);1H\(line)\u{1B}[K"
        }
        shown = wanted
        return text
    }
}
