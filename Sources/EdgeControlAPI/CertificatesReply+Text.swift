extension CertificatesReply {
    /// For a person: those that need one first, then those that end first.
    package var text: String {
        var rows = [["file", "view", "key", "ends in", "state", "names"]]
        let order = certificates.sorted {
            ($0.state.isFinding ? 0 : 1, $0.notAfter, $0.file)
                < ($1.state.isFinding ? 0 : 1, $1.notAfter, $1.file)
        }
        for row in order {
            let left = row.notAfter - now
            rows.append([
                row.file, row.view.isEmpty ? "all" : row.view, row.key.isEmpty ? "-" : row.key,
                row.key.isEmpty ? "-" : left > 0 ? StatusText.span(left) : "expired",
                row.words, Self.names(row.names),
            ])
        }
        var result = certificates.isEmpty ? "no certificates\n" : Self.table(rows)
        for row in order where !row.reason.isEmpty { result += "\n\(row.reason)\n" }
        if clock != "synchronised" { result += "\nclock: \(clock)\n" }
        return result
    }

    private static func names(_ names: [String]) -> String {
        let shown = names.prefix(3).joined(separator: " ")
        return names.count > 3 ? "\(shown) and \(names.count - 3) more" : shown
    }

    private static func table(_ rows: [[String]]) -> String {
        let columns = rows.first?.count ?? 0
        let widths = (0..<columns).map { column in rows.map { $0[column].count }.max() ?? 0 }
        var text = ""
        for row in rows {
            var line = ""
            for (cell, width) in zip(row, widths) {
                line += cell + String(repeating: " ", count: width - cell.count + 2)
            }
            while line.last == " " { line.removeLast() }
            text += line + "\n"
        }
        return text
    }
}

extension CertificateRow {
    fileprivate var words: String {
        let word = String(state.rawValue.map { $0 == "_" ? " " : $0 })
        switch state {
        case .quarantined, .waiting: return word + (isServed ? ", old one serves" : ", not served")
        case .serving, .expired, .notYetValid, .unusable: return word
        }
    }
}
