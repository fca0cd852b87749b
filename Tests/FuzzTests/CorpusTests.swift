internal import EdgeFuzz
internal import Foundation
internal import Testing

/// What the fuzzers have found, and what they begin with, without a fuzzer.
@Suite("Fuzzing corpus", .serialized)
struct CorpusTests {
    private static func folder(of target: FuzzTarget) -> URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Fuzz/corpus/\(target.rawValue)")
    }

    private static func files(of target: FuzzTarget) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(
            at: folder(of: target), includingPropertiesForKeys: nil
        ).sorted { $0.path < $1.path }
    }

    @Test("every file of the corpus keeps the rules of its target", arguments: FuzzTarget.allCases)
    func corpus(target: FuzzTarget) throws {
        let files = try Self.files(of: target)

        #expect(files.count >= 3, "a fuzzer without a beginning finds little")
        for file in files {
            let bytes = [UInt8](try Data(contentsOf: file))
            #expect(throws: Never.self, "\(file.lastPathComponent)") { try target.run(bytes) }
        }
    }

    @Test("every file cut off at any byte keeps them too", arguments: FuzzTarget.allCases)
    func truncated(target: FuzzTarget) throws {
        for file in try Self.files(of: target) {
            let bytes = [UInt8](try Data(contentsOf: file))
            // A TLS session takes a millisecond, a configuration several.
            let step = max(1, bytes.count / 40)
            for count in stride(from: 0, to: bytes.count, by: step) {
                #expect(throws: Never.self, "\(file.lastPathComponent) cut at \(count)") {
                    try target.run(Array(bytes.prefix(count)))
                }
            }
        }
    }
}
