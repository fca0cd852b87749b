import EdgeTesting
import Testing

@testable import EdgeHealth

@Suite("Looking for a text in pieces") struct TextSearchTests {
    private func finds(_ text: String, in content: [UInt8], piece: Int) -> Bool {
        var search = TextSearch(Array(text.utf8))
        var found = search.isFound
        var start = 0
        while start < content.count {
            let end = min(start + piece, content.count)
            found = search.take(Array(content[start..<end]).span)
            start = end
        }
        return found
    }

    @Test("a text that repeats itself is found where it begins within itself")
    func repeating() {
        for piece in 1...6 {
            #expect(finds("aab", in: Array("aaaab".utf8), piece: piece))
            #expect(finds("abab", in: Array("xababab".utf8), piece: piece))
            #expect(finds("abcabd", in: Array("abcabcabd".utf8), piece: piece))
            #expect(!finds("abcabd", in: Array("abcabcabc".utf8), piece: piece))
        }
        #expect(finds("", in: [], piece: 1))
    }

    @Test("it finds what a search in the whole content finds")
    func sameAsWhole() {
        for seed in 0..<2000 {
            seeded(UInt64(seed)) { random in
                let text = (0..<Int.random(in: 1...5, using: &random)).map { _ in
                    UInt8.random(in: 97...98, using: &random)
                }
                let content = (0..<Int.random(in: 0...30, using: &random)).map { _ in
                    UInt8.random(in: 97...98, using: &random)
                }
                let isThere = content.indices.contains { content[$0...].starts(with: text) }

                let found = finds(
                    String(decoding: text, as: UTF8.self), in: content,
                    piece: Int.random(in: 1...7, using: &random))

                #expect(found == isThere, "\(random)")
            }
        }
    }
}
