import CEdge
import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Real time") struct RealTimeTests {
    /// What /proc says of a thread of this process by its name: its policy and priority.
    private static func scheduling(_ name: String) -> [(policy: Int, priority: Int)] {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
        return tasks.compactMap { task -> (Int, Int)? in
            let path = "/proc/self/task/\(task)/stat"
            guard let text = try? String(contentsOfFile: path, encoding: .utf8),
                text.contains("(\(name))"), let end = text.lastIndex(of: ")")
            else { return nil }
            let fields = text[end...].split(separator: " ").dropFirst().map(String.init)
            // Counted from the state, which is field 3 of proc(5): 40 and 41.
            guard fields.count > 38, let priority = Int(fields[37]), let policy = Int(fields[38])
            else { return nil }
            return (policy, priority)
        }
    }

    @Test("the failover thread runs with real-time priority, its memory locked, and says so")
    func granted() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let node = try Node(pair.left, PairNetwork.settings(node: 1))
        #expect(node.becomes(.master))

        let grant = node.status.realTime
        #expect(grant.priority == RealTime.priority && grant.isLocked)
        let found = Self.scheduling("edged-vrrp")
        #expect(!found.isEmpty)
        #expect(found.allSatisfy { $0.policy == 1 && $0.priority == Int(RealTime.priority) })
        #expect(node.lines.contains { $0.contains("real-time priority 20, memory locked") })
        node.stop()
    }

    @Test("without the rights it runs as others do, and names what is missing")
    func refused() throws {
        let grant = try #require(Privileges.without { RealTime.apply() })

        #expect(grant.priority == nil && grant.schedulingRefusal?.code == EPERM)
        #expect(!grant.isLocked && grant.lockRefusal?.code == EPERM)
        #expect(
            grant.summary == "no real-time priority (EPERM), memory not locked (EPERM)")
        #expect(grant.schedulingRefusal?.hint?.contains("CAP_SYS_NICE") == true)
    }

    @Test("lateness is counted by how late")
    func lateness() {
        var lateness = Lateness()
        for span in [0, 1, 2, 5, 49, 50, 51, 900] { lateness.record(.milliseconds(span)) }

        #expect(lateness.counts == [2, 1, 1, 0, 0, 2, 2])
        #expect(lateness.max == .milliseconds(900))
    }
}
