/// What most likely happened where libyaml gives up: its own words name the grammar, not the
/// mistake.
enum SyntaxHint {
    /// - Parameters:
    ///   - problem: libyaml's words.
    ///   - context: what it was about, as `while parsing a block mapping`.
    ///   - begin: of that; nil: where the problem is.
    static func text(problem: String, context: String?, begin: Location?) -> String? {
        let place = begin.map { "; it begins at \($0)" } ?? ""
        switch (problem, context) {
        case ("mapping values are not allowed in this context", _):
            return "is the line indented too far? A text with ': ' in it is quoted"
        case (_, "while parsing a flow sequence"?):
            return begin.map { "is the '[' at \($0) closed?" }
        case (_, "while parsing a flow mapping"?):
            return begin.map { "is the '{' at \($0) closed?" }
        case (_, "while parsing a block collection"?):
            return "the line is not indented like its list entry" + place
        case (_, "while parsing a block mapping"?):
            return "the line is not indented like the others, or a value has something behind it"
                + place
        default: return context == nil ? nil : begin.map { "it begins at \($0)" }
        }
    }
}
