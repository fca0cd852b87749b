extension ReloadPlanReply {
    /// For a person, as diff tools show it: `+` what comes, `-` what goes, `~` what changes, and
    /// behind it whom it concerns.
    package var text: String {
        var text = ""
        for change in changes { text += lines(of: change) }
        switch outcome {
        case .unchanged: text += "unchanged: a reload changes nothing\n"
        case .refused: text += "refused: a reload changes nothing, epoch \(epoch) goes on\n"
        case .planned: text += "\(summary); nothing has been done, epoch \(epoch) goes on\n"
        }
        return text
    }

    /// `2 added, 1 changed, 1 removed`.
    private var summary: String {
        let parts = [PlannedChange.Action.added, .changed, .removed].compactMap { action in
            let count = changes.count { $0.action == action }
            return count == 0 ? nil : "\(count) \(action.rawValue)"
        }
        return parts.isEmpty ? "no change" : parts.joined(separator: ", ")
    }

    private func lines(of change: PlannedChange) -> String {
        let title = "\(Self.mark(change.action)) \(change.kind.rawValue) \(change.name)"
        let words = consequence(of: change)
        var text = Self.printable(title)
        if !words.isEmpty {
            text += String(repeating: " ", count: max(44 - title.count, 2)) + words
        }
        text += "\n"
        for value in change.values { text += Self.lines(of: value) }
        return text
    }

    /// A single value changes on one line; of lists it is shown what comes and what goes.
    private static func lines(of value: PlannedValue) -> String {
        if value.before.count == 1, value.after.count == 1 {
            return "    ~ \(printable("\(value.key): \(value.before[0]) -> \(value.after[0])"))\n"
        }
        let gone = value.before.filter { !value.after.contains($0) }
        let new = value.after.filter { !value.before.contains($0) }
        var text = ""
        for entry in gone { text += "    - \(printable("\(value.key): \(entry)"))\n" }
        for entry in new { text += "    + \(printable("\(value.key): \(entry)"))\n" }
        if gone.isEmpty, new.isEmpty { text += "    ~ \(printable(value.key)): another order\n" }
        return text
    }

    private func consequence(of change: PlannedChange) -> String {
        guard !change.needsRestart else { return "needs a restart" }
        guard let count = change.connections else {
            return change.fate == .untouched ? "" : words(change.fate)
        }
        let isOfClients = change.kind == .listener || change.kind == .view
        let what = isOfClients ? "connection" : "request"
        return "\(count) \(what)\(count == 1 ? "" : "s")"
            + (count == 0 ? "" : ", \(words(change.fate))")
    }

    private func words(_ fate: PlannedFate) -> String {
        switch fate {
        case .untouched: "untouched"
        case .drained: drainSeconds > 0 ? "drained within \(drainSeconds) s" : "drained"
        case .closed: "closed"
        }
    }

    private static func mark(_ action: PlannedChange.Action) -> String {
        switch action {
        case .added: "+"
        case .removed: "-"
        case .changed: "~"
        }
    }

    private static func printable(_ text: String) -> String { StatusText.printable(text) }
}
