import Testing

@testable import EdgeControl

/// Manual pages and completions are made of what the program says of itself, so they cannot be out
/// of date; here is whether they can be made and read.
@Suite("Manual pages and completions", .serialized) struct ManualTests {
    /// The repository.
    private static let root = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast(3).joined(separator: "/")
    private static let pages = root + "/deploy/man/pages.py"

    /// Every verb that does something, as it is called.
    private static let verbs = [
        "status", "cert list", "cert check", "upstream list", "upstream drain", "upstream ready",
        "upstream maint",
        "dns export", "explain", "config show", "reload", "confirm", "upgrade", "node drain",
        "node undrain", "cert list", "cert check", "check", "pair init", "pair status", "doctor",
        "incidents", "top", "version", "vip status", "vip yield",
    ]

    private static let makers = [
        ("edgectl", "\(pages) edgectl \(EdgeCtlTests.program)"),
        ("edged.yaml", "\(pages) configuration \(root)/docs/configuration.md"),
        ("edged", "cat \(root)/deploy/man/edged.8"),
    ]

    @Test("Every page is rendered without a warning", arguments: 0..<makers.count)
    func rendered(index: Int) {
        let (name, command) = Self.makers[index]

        let (status, warnings) = shell("\(command) | groff -man -Tutf8 -ww -z")
        #expect(status == 0 && warnings.isEmpty, "\(warnings)")
        let (_, page) = shell("\(command) | groff -man -Tutf8 -P-cbou -rLL=200n")
        #expect(page.contains("\(name) - "), "\(page.prefix(500))")
        for part in ["NAME", "DESCRIPTION", "SEE ALSO"] { #expect(page.contains("\n\(part)\n")) }
    }

    @Test("edgectl(1) has every verb with its options, and the exit codes")
    func verbs() {
        let (status, page) = shell("\(Self.makers[0].1) | groff -man -Tutf8 -P-cbou -rLL=200n")

        #expect(status == 0)
        for verb in Self.verbs { #expect(page.contains("\n   \(verb)"), "\(verb)") }
        for word in [
            "--plan", "--confirm TIME", "--markdown", "--interval TIME", "--format FORMAT",
        ] {
            #expect(page.contains(word), "\(word)")
        }
        #expect(page.contains("4      configuration rejected"))
        #expect(page.contains("5      done, but there are findings"))
    }

    @Test("Completions know every verb", arguments: ["bash", "zsh", "fish"])
    func completions(name: String) {
        let command = "\(EdgeCtlTests.program) --generate-completion-script \(name)"
        let (status, script) = shell(command)

        #expect(status == 0 && script.utf8.count > 1000)
        for word in Set(Self.verbs.flatMap { $0.split(separator: " ") }) {
            #expect(script.contains(word), "\(word)")
        }
        guard name == "bash" else { return }
        #expect(shell("\(command) | bash -n") == (0, ""))
        // What a shell makes of a word that has been begun.
        let reply = shell(
            "bash -c 'source <(\(command)); COMP_WORDS=(edgectl re); COMP_CWORD=1; "
                + "COMP_LINE=\"edgectl re\"; COMP_POINT=10; _edgectl edgectl re edgectl; "
                + "echo \"${COMPREPLY[@]}\"'")
        #expect(reply.output.contains("reload"), "\(reply.output)")
    }
}
