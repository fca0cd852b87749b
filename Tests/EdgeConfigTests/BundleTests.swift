import Glibc
import Testing

@testable import EdgeConfig

/// The diagnostics of reading `path`.
private func readErrors(_ path: String) -> [String] {
    do throws(ConfigError) {
        _ = try ConfigurationBundle.read(path: path)
        return []
    } catch {
        return error.diagnostics.map(\.description)
    }
}

@Suite("Reading the configuration's files")
struct InclusionTests {
    let folder = TemporaryFolder()

    @Test("Patterns are read in the order written, their matches sorted by name")
    func order() throws {
        for name in ["b.part", "a.part", "C.part", "z.yaml"] {
            try folder.write("# \(name)", to: name)
        }
        let main = try folder.write("include: [z.yaml, '*.part']\n", to: "main.yaml")

        let bundle = try ConfigurationBundle.read(path: main)

        let expected = ["main.yaml", "z.yaml", "C.part", "a.part", "b.part"]
        #expect(bundle.files.map(\.path) == expected.map { folder.path + $0 })
        #expect(bundle.included[0].bytes == Array("# z.yaml".utf8))
    }

    @Test("One string may stand for the list, and an absolute path for itself")
    func single() throws {
        let part = try folder.write("", to: "part.yaml")
        let main = try folder.write("include: \(part)\n", to: "main.yaml")

        #expect(try ConfigurationBundle.read(path: main).included.map(\.path) == [part])
    }

    @Test("A pattern may match nothing")
    func noMatch() throws {
        let main = try folder.write("include: ['*.none']\n", to: "main.yaml")

        #expect(try ConfigurationBundle.read(path: main).included == [])
    }

    @Test("A folder whose name looks like a pattern is taken literally")
    func literalFolder() throws {
        let nested = folder.path + "[ab]*"
        mkdir(nested, 0o700)
        defer { rmdir(nested) }
        let part = try folder.write("", to: "[ab]*/a.part")
        let main = try folder.write("include: ['*.part']\n", to: "[ab]*/main.yaml")
        defer { for file in [part, main] { unlink(file) } }

        #expect(try ConfigurationBundle.read(path: main).included.map(\.path) == [part])
    }

    @Test("A pattern in a folder that does not exist is refused")
    func noFolder() throws {
        let main = try folder.write("include: ['none.d/*.yaml']\n", to: "main.yaml")

        #expect(
            readErrors(main) == [
                "\(main):1:11: the files of '\(folder.path)none.d/*.yaml' cannot be listed "
                    + "(the folder must exist and be readable)"
            ])
    }

    @Test("A missing main file is an error about the file as a whole")
    func missingMain() {
        let path = folder.path + "none.yaml"

        #expect(
            readErrors(path) == ["\(path):1:1: cannot open '\(path)': No such file or directory"])
    }

    @Test("Every entry that cannot be read is reported where it stands")
    func missing() throws {
        let main = try folder.write("version: 1\ninclude:\n  - a.yaml\n  - b.yaml\n", to: "m")

        #expect(
            readErrors(main) == [
                "\(main):3:5: cannot open '\(folder.path)a.yaml': No such file or directory",
                "\(main):4:5: cannot open '\(folder.path)b.yaml': No such file or directory",
            ])
    }

    @Test("A file that includes itself is refused, by whatever name")
    func cycle() throws {
        let main = try folder.write("include: ['*.yaml']\n", to: "main.yaml")

        #expect(
            readErrors(main) == [
                "\(main):1:11: the file includes itself as '\(folder.path)main.yaml'"
            ])
    }

    @Test("A file that is included twice is refused, naming the first place")
    func twice() throws {
        try folder.write("", to: "a.part")
        let main = try folder.write("include: [a.part, '*.part']\n", to: "main.yaml")

        #expect(
            readErrors(main) == [
                "\(main):1:19: '\(folder.path)a.part' is included twice (first at \(main):1:11)"
            ])
    }

    @Test("An included file includes nothing")
    func nested() throws {
        try folder.write("include: [other.yaml]\n", to: "a.part")
        let main = try folder.write("version: 1\ninclude: [a.part]\n", to: "main.yaml")

        let bundle = try ConfigurationBundle.read(path: main)

        #expect(
            errors(bundle).first { $0.contains("a.part") }
                == "\(folder.path)a.part:1:1: 'include' is not allowed in an included file "
                + "(allowed: listeners, sites, upstreams, resolvers)")
    }

    @Test("A folder, a FIFO and a device are not files")
    func notFiles() throws {
        let fifo = folder.path + "fifo"
        mkfifo(fifo, 0o600)
        defer { unlink(fifo) }

        for path in ["/tmp", fifo, "/dev/zero"] {
            #expect(readErrors(path) == ["\(path):1:1: '\(path)' is not a file"])
        }
    }

    @Test("4 MiB are read, one byte more is refused")
    func size() throws {
        let line = String(repeating: "#", count: 1023) + "\n"
        let full = String(repeating: line, count: 4096)
        let main = try folder.write(full, to: "main.yaml")

        #expect(try ConfigurationBundle.read(path: main).main.bytes.count == 4 << 20)

        try folder.write(full + "\n", to: "main.yaml")
        #expect(readErrors(main) == ["\(main):1:1: '\(main)' is larger than 4 MiB"])
    }

    @Test("64 files are read, one more is refused")
    func count() throws {
        for number in 0..<63 { try folder.write("", to: "\(number).part") }
        let main = try folder.write("include: '*.part'\n", to: "main.yaml")

        #expect(try ConfigurationBundle.read(path: main).files.count == 64)

        try folder.write("", to: "63.part")
        #expect(readErrors(main) == ["\(main):1:10: more than 64 files in one configuration"])
    }

    @Test("A syntax error of the main file is reported when it is read")
    func syntax() throws {
        let main = try folder.write("a: [\n", to: "main.yaml")

        #expect(readErrors(main).count == 1)
    }
}

@Suite("The bundle of configuration files")
struct BundleTests {
    private static let bundle = ConfigurationBundle(
        "version: 1\n", included: ["", "sites: []\n# ä\u{0}\n"])

    @Test("What is decoded is what was encoded, byte for byte")
    func roundTrip() throws {
        #expect(try Self.bundle.encode().decoded() == Self.bundle)
    }

    @Test("A bundle cut off at any byte, or with one more, is refused")
    func truncated() throws {
        let bytes = Self.bundle.encode()

        for count in 0..<bytes.count {
            #expect(throws: ConfigError.self) { try Array(bytes.prefix(count)).decoded() }
        }
        #expect(throws: ConfigError.self) { try (bytes + [0]).decoded() }
    }

    @Test("A bundle of another version, or of no files, is refused with the reason")
    func foreign() {
        func reason(_ change: (inout [UInt8]) -> Void) -> String? {
            var bytes = Self.bundle.encode()
            change(&bytes)
            do throws(ConfigError) {
                _ = try bytes.decoded()
                return nil
            } catch {
                return error.diagnostics.first?.reason
            }
        }

        #expect(reason { $0[0] = 0 } == "the configuration bundle is not one")
        #expect(reason { $0[8] = 3 } == "the configuration bundle has version 3, expected 2")
        #expect(
            reason { $0[12] = 0 } == "the configuration bundle has 0 files, expected 1 to 64")
        #expect(
            reason { $0[12] = 65 } == "the configuration bundle has 65 files, expected 1 to 64")
        #expect(
            reason { $0[23] = 0xFF } == "the configuration bundle has a file of impossible size")
        #expect(
            reason { $0[24] = 0xFF } == "the configuration bundle has a path that is not UTF-8")
    }

    @Test("A sealed descriptor gives the bundle, again and again, and takes no more bytes")
    func sealed() throws {
        let descriptor = try Self.bundle.sealed()
        defer { close(descriptor) }

        #expect(try ConfigurationBundle(descriptor: descriptor) == Self.bundle)
        #expect(try ConfigurationBundle(descriptor: descriptor) == Self.bundle)
        #expect(pwrite(descriptor, "x", 1, 0) == -1)
        #expect(ftruncate(descriptor, 0) == -1)
        #expect(fcntl(descriptor, F_GETFD, 0) & FD_CLOEXEC != 0)
    }

    @Test("A descriptor that is not sealed is refused, and so is one that is none")
    func unsealed() throws {
        let pair = UnsafeMutablePointer<Int32>.allocate(capacity: 2)
        defer { pair.deallocate() }
        pipe(pair)
        let file = open(Repository.conf + "minimal.yaml", O_RDONLY)
        defer { for descriptor in [pair[0], pair[1], file] { close(descriptor) } }

        for descriptor in [pair[0], file, -1] {
            #expect(throws: ConfigError.self) { try ConfigurationBundle(descriptor: descriptor) }
        }
    }

    @Test("A file's folder is its path up to the last slash")
    func folder() {
        func folder(_ path: String) -> String {
            ConfigurationBundle.File(path: path, bytes: []).folder
        }

        #expect(folder("/etc/edged/edged.yaml") == "/etc/edged")
        #expect(folder("/edged.yaml") == "/")
        #expect(folder("conf/edged.yaml") == "conf")
        #expect(folder("edged.yaml") == "")
    }
}
