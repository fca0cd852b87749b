extension Schema.ValueType {
    /// What the value of a key that is missing may be, for a hint; nil: the key's name says it.
    var example: String? {
        switch self {
        case .integer(let range):
            range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
        case .choice(let words): words.joined(separator: ", ")
        case .text(.name): nil
        case .text(let kind): kind.plainText
        case .texts(let kind, _), .textsByView(let kind), .textsOrMappings(let kind):
            "[\(kind.plainText), …]"
        case .integerOrAuto, .duration, .durationOrUnlimited, .size, .sizeOrUnlimited, .statuses,
            .mapping, .mappingOrOff, .mappings, .named, .textOrMapping, .fields:
            nil
        }
    }
}

extension Schema.Text {
    /// For a terminal: the reference's marks are left out.
    fileprivate var plainText: String { rawValue.filter { $0 != "`" } }
}
