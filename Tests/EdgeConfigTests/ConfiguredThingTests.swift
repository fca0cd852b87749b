import EdgeTesting
import Foundation
import Testing

@testable import EdgeConfig

@Suite("What files say of each thing") struct ConfiguredThingTests {
    private static let folder = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("conf").path

    private static func things(_ text: String) throws -> [ConfiguredThing] {
        try ConfiguredThing.all(
            of: ConfigurationBundle(main: .init(path: "a.yaml", bytes: Array(text.utf8))))
    }

    @Test("Everything has its name, and its keys by their paths")
    func names() throws {
        let things = try Self.things(
            """
            version: 1
            workers: 2
            timeouts: { body: 5s }
            views: { lan: {} }
            listeners: [{ name: web, port: 80 }]
            sites:
              - { hosts: [a.example, b.example], upstream: app, paths: [{ prefix: /x, strip: yes }] }
              - { hosts: { lan: c.example, wan: d.example }, alpn: h2 }
            upstreams: { app: { servers: ["a:1", { address: "b:1" }], tls: { name: x } } }
            """)

        #expect(
            things.map { "\($0.section) \($0.name) \($0.detail)" } == [
                "workers workers ", "timeouts timeouts ", "views lan ", "listeners web ",
                "sites a.example ", "sites c.example lan, wan, h2", "upstreams app ",
            ])
        #expect(
            things.flatMap(\.settings).map { "\($0.key)=\($0.values.joined(separator: "|"))" } == [
                "workers=2", "timeouts.body=5s", "name=web", "port=80",
                "hosts=a.example|b.example", "upstream=app", "paths[/x].prefix=/x",
                "paths[/x].strip=yes", "hosts.lan=c.example", "hosts.wan=d.example", "alpn=h2",
                "servers=a:1|{ address: b:1 }", "tls.name=x",
            ])
        #expect(things[0].settings.first?.defaultText == "auto")
    }

    @Test(
        "Whatever character of an example is changed, something is said differently",
        arguments: ["minimal", "edged", "bridging", "views", "reference"])
    func everything(name: String) throws {
        let text = try String(contentsOfFile: "\(Self.folder)/\(name).yaml", encoding: .utf8)
        let whole = try Self.things(text)
        let lines = text.components(separatedBy: "\n")
        var random = SeededRandom(seed: 11)
        var checked = 0
        // The longest has hundreds: some of them, the same every time.
        for (number, line) in lines.enumerated().shuffled(using: &random) where checked < 40 {
            let code = line.components(separatedBy: " #")[0]
            let places = code.indices.filter { code[$0].isLetter || code[$0].isNumber }
            guard !line.hasPrefix("#"), !line.hasPrefix("version"), !line.hasPrefix("include"),
                let place = places.randomElement(using: &random)
            else { continue }
            var changed = code
            changed.replaceSubrange(place...place, with: code[place] == "q" ? "w" : "q")
            var all = lines
            all[number] = changed
            // Not every change is YAML still, or the key of anything.
            guard let other = try? Self.things(all.joined(separator: "\n")) else { continue }
            checked += 1
            #expect(other != whole, "line \(number + 1): \(changed)")
        }
        #expect(checked >= 8)
    }
}
