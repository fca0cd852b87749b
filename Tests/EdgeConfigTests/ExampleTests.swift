import EdgeCore
import Testing

@testable import EdgeConfig

@Suite("The examples in conf/")
struct ExampleTests {
    static let names = [
        "edged.yaml", "minimal.yaml", "bridging.yaml", "views.yaml", "reference.yaml",
    ]

    @Test(
        "Every example is accepted on either node without a warning", arguments: names,
        ["lb-01", "lb-02"])
    func accepted(name: String, node: String) throws {
        let bundle = try ConfigurationBundle.read(path: Repository.conf + name, node: node)

        let (configuration, warnings) = try Configuration.load(bundle)

        #expect(warnings.map(\.description) == [])
        #expect(!configuration.sites.isEmpty)
    }

    @Test("Every YAML file in conf/ is an example or included by one")
    func noneForgotten() throws {
        var read: Set<String> = []
        for name in Self.names {
            let bundle = try ConfigurationBundle.read(path: Repository.conf + name)
            read.formUnion(bundle.files.map(\.path))
        }

        let present = Repository.files(under: Repository.conf, suffix: ".yaml")

        #expect(Set(present) == read)
    }

    @Test("The minimal example has ten lines")
    func minimal() throws {
        let bundle = try ConfigurationBundle.read(path: Repository.conf + "minimal.yaml")

        #expect(bundle.main.bytes.count { $0 == UInt8(ascii: "\n") } == 10)
    }
}
