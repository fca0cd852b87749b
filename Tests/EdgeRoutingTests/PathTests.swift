import EdgeTesting
import Testing

@testable import EdgeRouting

@Suite("Path prefixes") struct PathTests {
    /// The prefix that is found and how sure it is.
    private static func match(_ prefixes: [String], _ path: [UInt8]) -> (String?, PathReading) {
        var table = PathTable()
        _ = table.add(["/zzz", "/zzz/a"])
        let added = table.add(prefixes)
        _ = table.add(["/", "/a", "/api"])
        let match = table.match(path.span, in: added.range)
        return (match.prefix < 0 ? nil : table.prefix(match.prefix), match.reading)
    }

    private static func match(_ prefixes: [String], _ path: String) -> (String?, PathReading) {
        match(prefixes, Array(path.utf8))
    }

    private static let common = ["/api", "/", "/api/v2", "/api-v2", "/static/img", "/ä"]

    @Test(
        "The longest prefix on whole segments is found",
        arguments: [
            ("/", "/"), ("/x", "/"), ("/api", "/api"), ("/api/", "/api"), ("/api/x", "/api"),
            ("/apix", "/"), ("/ap", "/"), ("/api/v2", "/api/v2"), ("/api/v2/x/y", "/api/v2"),
            ("/api/v20", "/api"), ("/api-v2", "/api-v2"), ("/api-v2/v2", "/api-v2"),
            ("/api-", "/"), ("/API", "/"), ("/static", "/"), ("/static/img/1", "/static/img"),
            ("*", "/"), ("", "/"), ("/api.json", "/"), ("/api/v1/v2", "/api"),
        ])
    func longest(path: String, prefix: String) {
        let (found, reading) = Self.match(Self.common, path)

        #expect(found == prefix)
        #expect(reading == .literal)
    }

    @Test("Without a prefix that fits there is none")
    func none() {
        #expect(Self.match(["/api"], "/x") == (nil, .literal))
        #expect(Self.match(["/api"], "/apix") == (nil, .literal))
        #expect(Self.match(["/api"], "*") == (nil, .literal))
        #expect(Self.match([], "/%2e%2e/;x") == (nil, .literal))
    }

    @Test(
        "Another spelling of a path is the same path, and not literal",
        arguments: [
            ("/%61pi", "/api"), ("/%61%70%69/x", "/api"), ("//api", "/api"), ("///api//", "/api"),
            ("/./api", "/api"), ("/.//api", "/api"), ("/%2e/api", "/api"), ("/%2E//api", "/api"),
            ("/api/./v2", "/api/v2"), ("/api//v2/x", "/api/v2"), ("/api/%762", "/api/v2"),
            ("/%C3%A4", "/ä"), ("/%c3%a4/", "/ä"), ("/api%2Dv2", "/api-v2"),
            ("/./api/k%2Fx", "/api"),
        ])
    func spelling(path: String, prefix: String) {
        let (found, reading) = Self.match(Self.common, path)

        #expect(found == prefix)
        #expect(reading == .normalised)
    }

    @Test(
        "Where upstreams may see another prefix, the path is ambiguous",
        arguments: [
            "/x/../api", "/api/../x", "/x/%2e%2e/api", "/api/.%2E/x", "/x//../api", "/api/..",
            "/api%2Fv2", "/api%2fx", "/%2Fapi", "/api/v2%2F", "/api%5Cv2", "/api\\v2", "/\\api",
            "/api;x", "/api;x=1/v2", "/;/api", "/api%3Bx", "/api/;/v2", "/api%00", "/api%00.png",
            "/api/%0a", "/api%0D%0A/v2", "/api%3Fx", "/api%23", "/%2561pi", "/api%252Fv2",
            "/api/%2e%2e%2fx", "/x/..;/api", "/x/..%2fapi", "/x/..%5capi", "/x/..\\api",
            "/x/%252e%252e/api", "/x/%25252e%25252e/api", "/static/a%2F..%2F../../api",
            "/api/.;/v2", "/api/.%2Fv2", "/x/%%32%65%%32%65/api", "/x/..%00/api", "/x/..%3F",
            "/x/%2525252525252e/",
        ])
    func ambiguous(path: String) {
        #expect(Self.match(Self.common, path).1 == .ambiguous)
    }

    @Test(
        "Where no prefix goes on, what some take for a slash is data",
        arguments: [
            ("/api/k%2Fx", "/api"), ("/files;a/b", "/"), ("/x%00", "/"),
            ("/api/v2/a%2Fb;c", "/api/v2"),
            ("/100%25", "/"), ("/q%3F%23", "/"), ("/api/v2/%2Fx", "/api/v2"), ("/x\\y", "/"),
            ("/api/x/%252e", "/api"), ("/api/x%2F..y", "/api"), ("/%zz", nil), ("/api/x%", "/api"),
        ] as [(String, String?)])
    func data(path: String, prefix: String?) {
        let (found, reading) = Self.match(Self.common, path)
        guard let prefix else {
            #expect(reading == .ambiguous)
            return
        }

        #expect(found == prefix)
        #expect(reading == .literal)
    }

    @Test("A path that leaves its prefix and comes back is never literal")
    func comesBack() {
        #expect(Self.match(["/api"], "/api/../api/x") == ("/api", .normalised))
        #expect(Self.match(["/api"], "/api/x/../y") == ("/api", .normalised))
        #expect(Self.match(["/"], "/../x") == ("/", .normalised))
        #expect(Self.match(["/"], "/a%2F..%2F..%2Fx") == ("/", .normalised))
        #expect(Self.match(["/"], "/..x/.../x..") == ("/", .literal))
    }

    @Test("A path that is too long to be read is ambiguous, a plain one has no limit")
    func long() {
        let plain = "/api/" + String(repeating: "a", count: 100_000)
        let most = "/api/%61" + String(repeating: "a", count: PathText.bytesMax - 8)

        #expect(Self.match(["/api"], plain) == ("/api", .literal))
        #expect(Self.match(["/api"], most) == ("/api", .literal))
        #expect(Self.match(["/api"], most + "a") == ("/api", .ambiguous))
    }

    @Test("Of equal prefixes the first counts, a final slash does not")
    func equal() {
        var table = PathTable()
        let added = table.add(["/b/", "/a", "/a/", "/b", "/%61"])

        #expect(added.origins == [1, 0])
        #expect(added.range.count == 2)
    }

    @Test(
        "A prefix that leaves doubt is not plain",
        arguments: [
            ("/", true), ("/api", true), ("/api/", true), ("/%61", true), ("/ä", true),
            ("/.well-known", true), ("/a b", true), ("/a:@!$&'()*+,=~", true), ("", false),
            ("api", false), ("//", false), ("/a//b", false), ("/a/./b", false), ("/..", false),
            ("/%2e%2e/a", false), ("/a%2Fb", false), ("/a;b", false), ("/a\\b", false),
            ("/a%00", false), ("/a%25", false), ("/a?b", false), ("/a#b", false), ("/a%3Fb", false),
        ])
    func plain(prefix: String, isPlain: Bool) { #expect(Router.isPlainPrefix(prefix) == isPlain) }

    @Test("A prefix that leaves doubt refuses what might be meant")
    func doubt() {
        #expect(Self.match(["/a;b", "/"], "/a;b").1 == .ambiguous)
        #expect(Self.match(["/a%2Fb", "/"], "/a%2Fb").1 == .ambiguous)
        #expect(Self.match(["/a%2Fb", "/"], "/x") == ("/", .literal))
    }

    @Test("A thousand prefixes each find their own")
    func many() throws {
        let prefixes = (0..<1_000).map {
            "/p\($0 % 10)" + (0..<($0 / 100)).map { "/q\($0)" }.joined() + "/r\($0)"
        }
        var table = PathTable()
        let range = table.add(prefixes).range
        for prefix in prefixes {
            let below = table.match(Array((prefix + "/x").utf8).span, in: range)
            let beside = table.match(Array((prefix + "x").utf8).span, in: range)
            try #require(table.prefix(below.prefix) == prefix)
            try #require(beside.prefix == -1)
        }
    }
}

@Suite("Path prefixes against every reading of a path") struct PathReadingTests {
    private static let tokens = [
        "/", "/", "/", "/", "/", "a", "b", "api", "..", "..", ".", "%2e", "%2E%2e", "%2f", "%2F",
        "%5c", "\\", ";", ";x=1", "%3b", "%00", "%3f", "%25", "%252e", "%252f", "%61", "%zz", "%",
        "%%32%65", "%255c", "%2561", "%253b",
    ]

    private static func prefixes(_ random: inout SeededRandom) -> [String] {
        var prefixes: Set<String> = []
        for _ in 0..<Int.random(in: 1...5, using: &random) {
            let segments = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                ["a", "b", "api"].randomElement(using: &random) ?? ""
            }
            prefixes.insert("/" + segments.joined(separator: "/"))
        }
        return prefixes.sorted()
    }

    @Test("What is not called ambiguous is the same to every upstream, or deeper for the rules")
    func everyReading() {
        seeded(45) { random in
            var counts: [PathReading: Int] = [:]
            for _ in 0..<4_000 {
                let prefixes = Self.prefixes(&random)
                let few = random.chance(1, of: 2) ? 10 : Self.tokens.count
                let path =
                    "/"
                    + (0..<Int.random(in: 0...8, using: &random)).map { _ in
                        Self.tokens[Int.random(in: 0..<few, using: &random)]
                    }.joined()
                let bytes = Array(path.utf8)
                var table = PathTable()
                let range = table.add(prefixes).range
                let match = table.match(bytes.span, in: range)
                let found = match.prefix < 0 ? nil : table.prefix(match.prefix)
                counts[match.reading, default: 0] += 1

                let place = "\(path) in \(prefixes), \(random)"
                #expect(UpstreamReading().longest(prefixes, bytes) == found, "\(place)")
                guard match.reading != .ambiguous else { continue }
                let written = UpstreamReading(resolvesDots: false).segments(bytes)
                let isDeeper =
                    match.reading == .normalised && !written.contains([0x2E, 0x2E])
                for reading in UpstreamReading.all(for: bytes) {
                    let theirs = reading.longest(prefixes, bytes)
                    let isAbove =
                        isDeeper && theirs?.utf8.count ?? 0 < found?.utf8.count ?? 0
                    #expect(theirs == found || isAbove, "\(place): \(reading)")
                }
            }
            for reading in [PathReading.literal, .normalised, .ambiguous] {
                #expect(counts[reading, default: 0] > 200, "\(counts)")
            }
        }
    }

    @Test("A prefix that is replaced is what every upstream sees in front, and nothing leads out")
    func replaced() {
        seeded(46) { random in
            for _ in 0..<3_000 {
                let path =
                    "/a"
                    + (0..<Int.random(in: 0...8, using: &random)).map { _ in
                        Self.tokens.randomElement(using: &random) ?? ""
                    }.joined()
                var table = PathTable()
                let range = table.add(["/a"]).range
                let match = table.match(Array(path.utf8).span, in: range)
                guard match.prefix >= 0, match.reading == .literal else { continue }
                let sent = Array(("/new/place" + path.dropFirst(2)).utf8)

                for reading in UpstreamReading.all(for: sent) {
                    #expect(
                        reading.longest(["/new/place"], sent) != nil,
                        "\(path), \(random): \(reading)")
                }
            }
        }
    }
}
