import EdgeCore
import Foundation
import Testing

@testable import EdgeConfig

/// SplitMix64: a failing case is repeated from its seed.
private struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

@Suite("Hostile bytes")
struct RobustnessTests {
    private static let isLong = ProcessInfo.processInfo.environment["EDGED_LONG"] != nil

    /// What text is likely to go wrong on, inserted whole.
    private static let tokens: [[UInt8]] = [
        "&a ", "*a", "!!str ", "<<: ", "---\n", "...\n", "%YAML 1.1\n", "\t", "\n", "'", "\"", "[",
        "]", "{", "}", ": ", "- ", "? ", "|\n", ">\n", "#", ",", "\u{0}", "\u{FEFF}", "\u{85}",
        "\u{2028}", "99999999999999999999", "-1", "1e9", "null", "yes", "0x10", "1h", "64KiB",
        "*.example.org", "::", "[::]:443", "\\x00", "\"\\0\"", "https", "tls: {}", "version: 1\n",
        "${host}", "$", "${", "views: ", "lan: ", "*.a: ", "/a/../b", "//", "redirect: /\n",
    ].map { Array($0.utf8) }

    private static func example(_ name: String) throws -> ConfigurationBundle {
        try ConfigurationBundle.read(path: Repository.conf + name, node: "lb-01")
    }

    private static func mutate(_ bytes: [UInt8], _ random: inout Random) -> [UInt8] {
        var bytes = bytes
        for _ in 0...random.below(4) where !bytes.isEmpty {
            let place = random.below(bytes.count)
            let count = min(1 + random.below(12), bytes.count - place)
            switch random.below(6) {
            case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
            case 1: bytes[place] ^= 1 << UInt8(random.below(8))
            case 2: bytes.removeSubrange(place..<place + count)
            case 3:
                bytes.insert(contentsOf: bytes[place..<place + count], at: random.below(place + 1))
            case 4: bytes.insert(contentsOf: tokens[random.below(tokens.count)], at: place)
            default:
                bytes.replaceSubrange(
                    place..<place + count, with: tokens[random.below(tokens.count)])
            }
        }
        return bytes
    }

    /// Loads, and checks that a refusal says where and why.
    private static func probe(_ bundle: ConfigurationBundle, _ name: String) -> Bool {
        let files = Dictionary(
            bundle.files.map { ($0.path, $0.bytes) }, uniquingKeysWith: { first, _ in first })
        func isValid(_ diagnostic: Diagnostic) -> Bool {
            guard let bytes = files[diagnostic.location.file], !diagnostic.reason.isEmpty else {
                return false
            }
            // Breaks that YAML 1.1 counts: LF, CR, and those beyond ASCII by their last byte.
            let breaks = bytes.count { [0x0A, 0x0D, 0x85, 0xA8, 0xA9].contains($0) }
            return (1...breaks + 1).contains(diagnostic.location.line)
                && (1...bytes.count + 1).contains(diagnostic.location.column)
                && !diagnostic.description.contains("\n")
        }
        do throws(ConfigError) {
            let (_, warnings) = try Configuration.load(bundle)
            guard warnings.allSatisfy(isValid) else {
                Issue.record("\(name): \(warnings)")
                return false
            }
            return true
        } catch {
            let count = error.diagnostics.count
            guard (1...ConfigError.diagnosticsMax).contains(count),
                error.diagnostics.allSatisfy(isValid)
            else {
                Issue.record("\(name): \(error)")
                return false
            }
            return false
        }
    }

    @Test(
        "An example cut off anywhere is a configuration or an error",
        arguments: ExampleTests.names)
    func truncated(name: String) throws {
        let bundle = try Self.example(name)

        // Each cut reads all that is in front of it: of large files a quarter of a thousand are
        // made, at other places in each, and with EDGED_LONG all.
        let step = Self.isLong ? 1 : 1 + bundle.main.bytes.count / 256
        var random = Random(state: UInt64(bundle.main.bytes.count))
        for start in stride(from: 0, to: bundle.main.bytes.count, by: step) {
            let count = start + random.below(step)
            let main = ConfigurationBundle.File(
                path: bundle.main.path, bytes: Array(bundle.main.bytes.prefix(count)))
            _ = Self.probe(
                ConfigurationBundle(main: main, included: bundle.included, node: bundle.node),
                "cut at \(count)")
        }
    }

    @Test("A damaged example is a configuration or an error", arguments: ExampleTests.names)
    func mutated(name: String) throws {
        let bundle = try Self.example(name)
        var accepted = 0
        let rounds = Self.isLong ? 20_000 : 500

        for seed in 0..<rounds {
            var random = Random(state: UInt64(seed))
            let files = bundle.files.map {
                ConfigurationBundle.File(path: $0.path, bytes: Self.mutate($0.bytes, &random))
            }
            let damaged = ConfigurationBundle(
                main: files[0], included: Array(files.dropFirst()), node: bundle.node)
            if Self.probe(damaged, "\(name), seed \(seed)") { accepted += 1 }
        }

        #expect(accepted > 0 && accepted < rounds, "the damage reaches neither side: \(accepted)")
    }

    @Test("A damaged bundle is decoded or refused")
    func mutatedBundle() throws {
        let bytes = try Self.example("edged.yaml").encode()

        for seed in 0..<20_000 {
            var random = Random(state: UInt64(seed))
            var damaged = bytes
            // The lengths are at the front: that is where damage is interesting.
            for _ in 0...random.below(3) {
                let place = random.below(random.below(2) == 0 ? 32 : damaged.count)
                damaged[place] = UInt8(truncatingIfNeeded: random.next() >> 7)
            }
            do throws(ConfigError) {
                let bundle = try damaged.decoded()
                #expect(bundle.encode() == damaged, "seed \(seed)")
            } catch {
                #expect(error.diagnostics.count == 1, "seed \(seed)")
            }
        }
    }

    @Test("Thousands of errors are counted, twenty are shown")
    func bounded() {
        let keys = (0..<5000).map { "key\($0): 1\n" }.joined()

        do throws(ConfigError) {
            _ = try Configuration.load(ConfigurationBundle("version: 1\n" + keys))
            Issue.record("accepted")
        } catch {
            #expect(error.diagnostics.count == 20)
            #expect(error.diagnostics.map(\.location.line) == Array(2...21))
            #expect(error.omittedCount == 5001 - 20)
            #expect(error.description.hasSuffix("\n… and 4981 more errors"))
        }
    }
}

extension [UInt8] {
    func decoded() throws(ConfigError) -> ConfigurationBundle {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        defer { buffer.deallocate() }
        buffer.copyBytes(from: self)
        return try ConfigurationBundle(decoding: UnsafeRawBufferPointer(buffer))
    }
}
