import EdgeConfig
import EdgeSystem
import Glibc
import Testing

@testable import EdgeGuardian

@Suite("Memory for what clients have used up", .serialized)
struct LimitFileTests {
    /// Number and size of the file that each proxy was given, in order.
    private static func given(_ rig: GuardianRig) -> [String] {
        let fd = open(rig.marker + ".limits", O_RDONLY)
        defer { close(fd) }
        let bytes = (try? Descriptor.readAll(fd, byteCountMax: 4096)) ?? []
        return String(decoding: bytes, as: UTF8.self).split(separator: " ").map(String.init)
    }

    @Test("Every proxy is given the same file, of the configured size, and the next guardian too")
    func same() throws {
        let rig = try GuardianRig(mode: "good")
        #expect(rig.turn { rig.isServing })
        let first = try #require(rig.service.proxyProcessID)

        kill(first, SIGKILL)
        #expect(rig.turn { rig.isServing && rig.service.proxyProcessID != first })

        let files = Self.given(rig)
        #expect(files.count == 2)
        #expect(Set(files).count == 1)
        let size = Configuration.RateLimits().memoryByteCount
        #expect(files.first?.hasSuffix(":\(size)") == true, "\(files)")
        var status = stat()
        #expect(fstat(rig.service.property.limitFile.raw, &status) == 0)
        #expect(files.first == "\(status.st_ino):\(status.st_size)")

        // What an exec would leave.
        #expect(rig.service.succession.limits == rig.service.property.limitFile.raw)
        #expect(rig.service.succession.descriptors.contains(rig.service.property.limitFile.raw))
        rig.service.deliver(.terminate)
        #expect(rig.turn { rig.service.exitCode != nil })
    }
}
