import EdgeTesting
import Glibc
import Testing

@testable import EdgeSystem

@Suite("Memory's figures and descriptors kept") struct PressureTests {
    @Test("The kernel's files are read as they are written")
    func files() {
        #expect(
            MemoryFigures.residentOwn(
                status: "VmRSS:\t    9000 kB\nRssAnon:\t    1000 kB\nRssFile:\t     200 kB\n"
                    + "RssShmem:\t    7800 kB\n") == 1_200 << 10)
        #expect(MemoryFigures.residentPages(statm: "5123 1042 900 12 0 300 0\n") == 1042)
        #expect(
            MemoryFigures.total(meminfo: "MemTotal:        8052136 kB\nMemFree: 1 kB\n")
                == 8_052_136 << 10)
        #expect(
            MemoryFigures.unifiedGroup(cgroup: "12:cpu:/x\n0::/system.slice/edged.service\n")
                == "/system.slice/edged.service")
        #expect(MemoryFigures.limit(memoryMax: "536870912\n") == 536_870_912)
    }

    @Test("What they do not say is nothing", arguments: ["", "x", "MemTotal:\n", "0::\n", "max\n"])
    func damaged(text: String) {
        #expect(MemoryFigures.residentPages(statm: text) == nil)
        #expect(MemoryFigures.residentOwn(status: text) == nil)
        #expect(MemoryFigures.total(meminfo: text) == nil)
        #expect(MemoryFigures.unifiedGroup(cgroup: text) == nil)
        #expect(MemoryFigures.limit(memoryMax: text) == nil)
    }

    @Test("This process has some memory, and less than there is")
    func own() throws {
        let resident = try #require(MemoryFigures.resident())
        let own = try #require(MemoryFigures.residentOwn())
        #expect(own > 0 && own <= resident + resident / 4)
        let available = try #require(MemoryFigures.available())
        #expect(resident > 1 << 20)
        #expect(resident < available)
    }

    /// What a reserve says after each step: how many it has, and whether it lacks some.
    private func told(_ reserve: borrowing DescriptorReserve) -> String {
        "\(reserve.count)\(reserve.isShort ? " short" : "")"
    }

    @Test("A reserve gives its descriptors up one by one and takes them back")
    func reserve() {
        var reserve = DescriptorReserve(size: 3)
        var steps = [told(reserve)]
        for _ in 0..<4 {
            let isGiven = reserve.release()
            steps.append(told(reserve) + (isGiven ? "" : ", none given"))
        }
        let isWhole = reserve.refill()
        steps.append(told(reserve))
        #expect(steps == ["3", "2 short", "1 short", "0 short", "0 short, none given", "3"])
        #expect(isWhole)
    }

    @Test("Of no size, it never lacks anything and never has anything")
    func empty() {
        var reserve = DescriptorReserve(size: 0)
        let isGiven = reserve.release()
        let words = told(reserve)
        #expect(words == "0")
        #expect(!isGiven)
    }
}
