internal import EdgeTesting
internal import Foundation
internal import Testing

@Suite("Process figures")
struct ProcessFiguresTests {
    @Test("descriptors, memory and children of a process are counted")
    func counts() throws {
        let process = try RunningProcess(
            "sh", ["-c", "exec 7</dev/null; sleep 30 & echo up; wait"])
        try process.waitForLine(containing: "up", on: .output)
        #expect(eventually { process.figures?.children.count == 1 })

        let figures = try #require(process.figures)

        // Standard three, one more; the kit leaks none of its own into children.
        #expect(figures.descriptorCount == 4)
        #expect(figures.residentKiB > 100 && figures.privateKiB <= figures.residentKiB)
        #expect(figures.cpu > .zero)
        process.stop()
        #expect(process.figures == nil)
    }

    @Test("the way the kit ties a program to its owner works: it dies with it")
    func parentDeath() throws {
        // The kit's own way to ask for it: the shell stands for a test process that is killed.
        let parent = try RunningProcess(
            "sh", ["-c", "setpriv --pdeathsig KILL sh -c 'echo $$; exec sleep 30' & wait"])
        #expect(eventually { parent.standardOutput.hasSuffix("\n") })
        let child = try #require(
            Int32(parent.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)))

        parent.signal(SIGKILL)

        #expect(eventually { ProcessFigures(of: child) == nil })
    }

    @Test("a thousand idle connections fit into one test process")
    func descriptors() { #expect(raiseDescriptorLimit() >= 4096) }
}
