import EdgeCore
import Testing

@testable import EdgeConfig

@Suite("The pair, as it is read")
struct PairKeyTests {
    private static let base = """
        version: 1
        listeners: [{ name: web, port: 80, protocol: http }]
        sites: [{ hosts: "*", upstream: app }]
        upstreams: { app: { servers: ["10.0.0.1:80"] } }

        """
    private static let nodes = """
        nodes:
          lb-01: { address: [192.168.1.11, "fd00::11"] }
          lb-02: { address: 192.168.1.12 }

        """

    private static func load(_ text: String, node: String? = "lb-01") throws -> Configuration {
        try Configuration.load(
            ConfigurationBundle(
                main: .init(path: "/etc/edged/main.yaml", bytes: Array((base + text).utf8)),
                node: node)
        ).0
    }

    private static func errors(_ text: String) -> [String] {
        do {
            _ = try load(text)
            return []
        } catch let error as ConfigError {
            return error.diagnostics.map { $0.reason }
        } catch {
            return ["\(error)"]
        }
    }

    @Test("Without it there is no link")
    func nothing() throws {
        #expect(try Self.load("").pair == nil)
    }

    @Test("One file serves both nodes: each has its own address, and the other's")
    func nodes() throws {
        let text = Self.nodes + "pair: {}\n"
        let first = try #require(try Self.load(text).pair)
        let second = try #require(try Self.load(text, node: "lb-02").pair)

        #expect(first.own == SocketAddress("192.168.1.11:8947"))
        #expect(first.peer == second.own)
        #expect(second.peer == first.own)
        #expect(first.name == "lb-01")
        #expect(first.peerName == "lb-02")
        #expect(first.directory == "/etc/edged/pair")
        #expect(first.key == "/etc/edged/pair/node.key")
    }

    @Test("Without nodes both addresses are said")
    func said() throws {
        let pair = try #require(
            try Self.load(
                "pair: { listen: \"127.0.0.1:7001\", peer: \"127.0.0.2:7002\", directory: p }\n"
            )
            .pair)

        #expect(pair.own == SocketAddress("127.0.0.1:7001"))
        #expect(pair.peer == SocketAddress("127.0.0.2:7002"))
        #expect(pair.peerName == "127.0.0.2")
        #expect(pair.directory == "/etc/edged/p")
    }

    @Test(
        "What cannot be a pair is refused",
        arguments: [
            ("pair: {}\n", "pair: it is not known where the other node is"),
            (
                "pair: { listen: \"10.0.0.1:7001\" }\n",
                "pair.listen has no effect without peer"
            ),
            ("pair: { peer: \"10.0.0.1:7001\" }\n", "pair.peer has no effect without listen"),
            (
                "pair: { listen: \"10.0.0.1:1\", peer: \"[fd00::1]:1\" }\n",
                "pair: 10.0.0.1:1 and [fd00::1]:1 are not of one family"
            ),
            (
                "pair: { listen: \"10.0.0.1:1\", peer: \"10.0.0.1:2\" }\n",
                "pair: both nodes have the address 10.0.0.1"
            ),
            (
                "pair: { listen: \"10.0.0.1:80\", peer: \"10.0.0.2:80\" }\n",
                "pair uses the port of listener 'web'"
            ),
            (
                "pair: { listen: \"0.0.0.0:7000\", peer: \"10.0.0.2:7000\" }\n",
                "pair.listen: 0.0.0.0:7000 is no address of a machine"
            ),
            (
                "nodes: { lb-01: { address: 10.0.0.1 } }\npair: {}\n",
                "pair: there is no other node"
            ),
        ])
    func refused(text: String, reason: String) {
        #expect(Self.errors(text) == [reason])
    }
}
