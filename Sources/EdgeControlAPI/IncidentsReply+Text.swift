extension IncidentsReply {
    /// What clients saw of it.
    private static func behaviour(_ incident: Incident) -> String {
        guard let requests = incident.requests, let failures = incident.failures else { return "" }
        guard requests > 0 else { return "no requests" }
        return failures == 0 ? "0 of \(requests) failed" : "\(failures) of \(requests) failed"
    }

    /// For a person, the newest last.
    package var text: String {
        guard !incidents.isEmpty else {
            return "no incidents for \(StatusText.span(now - since))\n"
        }
        let rows = incidents.map { incident in
            [
                UTCTime.text(incident.begun), Self.length(incident, now: now),
                Self.words(incident.kind), incident.subject, incident.text,
                Self.behaviour(incident),
            ]
        }
        var text = StatusText.aligned(
            [["begun", "took", "what", "affected", "cause", "requests"]] + rows)
        if dropped > 0 { text += "\(dropped) older ones were dropped\n" }
        return text
    }

    /// A table for a report.
    package var markdown: String {
        var text = "| Date (UTC) | Duration | What | Affected | Cause | Behaviour |\n"
        text += "|---|---|---|---|---|---|\n"
        for incident in incidents {
            let cells = [
                UTCTime.text(incident.begun), Self.length(incident, now: now),
                Self.words(incident.kind), incident.subject, incident.text,
                Self.behaviour(incident),
            ]
            text += "| " + cells.map(Self.cell).joined(separator: " | ") + " |\n"
        }
        text += "\nNoted since \(UTCTime.text(since)), as of \(UTCTime.text(now))"
        return text + (dropped > 0 ? "; \(dropped) older ones were dropped.\n" : ".\n")
    }

    private static func words(_ kind: Incident.Kind) -> String {
        String(kind.rawValue.map { $0 == "_" ? " " : $0 })
    }

    private static func length(_ incident: Incident, now: Int64) -> String {
        guard let ended = incident.ended else {
            return "\(StatusText.span(now - incident.begun)) so far"
        }
        return ended == incident.begun ? "" : StatusText.span(ended - incident.begun)
    }

    /// Nothing of it ends the cell, or is markup.
    private static func cell(_ text: String) -> String {
        var result = ""
        for character in StatusText.printable(text) {
            if "|\\`*_<>[]".contains(character) { result += "\\" }
            result.append(character)
        }
        return result
    }
}

/// A moment as a person writes it, without a time zone's help.
package enum UTCTime {
    /// `2026-11-23 12:07:37`.
    package static func text(_ seconds: Int64) -> String {
        let day = seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400
        let rest = seconds - day * 86400
        let (year, month, date) = civil(day)
        return "\(year)-\(two(month))-\(two(date)) "
            + "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))"
    }

    private static func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }

    /// The date of a day since 1970 (proleptic Gregorian; years begin in March).
    private static func civil(_ day: Int64) -> (Int64, Int64, Int64) {
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let date = dayOfYear - (153 * month + 2) / 5 + 1
        let calendar = month < 10 ? month + 3 : month - 9
        return (yearOfEra + era * 400 + (calendar <= 2 ? 1 : 0), calendar, date)
    }
}
