/// Finds a text in what comes in pieces, without keeping any of it: each byte is looked at once,
/// however the text repeats itself (Knuth, Morris, Pratt 1977).
struct TextSearch {
    private let text: [UInt8]
    /// By count of matched bytes: how many are still matched when the next one does not fit.
    private let shorter: [Int]
    private var matched = 0

    init(_ text: [UInt8]) {
        self.text = text
        var shorter = [Int](repeating: 0, count: text.count + 1)
        var length = 0
        for index in text.indices.dropFirst() {
            while length > 0, text[index] != text[length] { length = shorter[length] }
            if text[index] == text[length] { length += 1 }
            shorter[index + 1] = length
        }
        self.shorter = shorter
    }

    /// An empty text is found before the first byte.
    var isFound: Bool { matched == text.count }

    /// - Returns: the text has been found, in this piece or before.
    mutating func take(_ bytes: Span<UInt8>) -> Bool {
        for index in 0..<bytes.count {
            if isFound { return true }
            while matched > 0, bytes[index] != text[matched] { matched = shorter[matched] }
            if bytes[index] == text[matched] { matched += 1 }
        }
        return isFound
    }
}
