import EdgeCore
import EdgeNet
import EdgeSystem
import EdgeTesting
import EdgeVRRP
import Foundation
import Testing

@testable import EdgeFailover

@Suite("Presence exchange", .serialized) struct PresenceExchangeTests {
    @Test("a port that somebody else has is tried once a second, however often settings come")
    func taken() throws {
        let pair = try PairNetwork()
        defer { pair.network.tearDown() }
        let other = try inNamespace(pair.left.namespace) {
            try PresenceSocket(local: SocketAddress(ipv4: 0, port: 9113))
        }
        let thread = try LoopThread(in: pair.left.namespace) { loop in
            let driver = try FailoverDriver(
                settings: PairNetwork.settings(node: 1), options: .init(), loop: loop,
                readiness: [], standing: Standing(fitness: .fit), tell: { _ in })
            driver.presence = PresenceExchange(driver: driver, nil)
            return driver
        }
        defer { thread.stop() }

        thread.sync { driver in for _ in 0..<10 { driver.presence?.apply() } }
        usleep(1_300_000)

        let attempts = thread.sync { $0.presence?.attempts ?? 0 }
        #expect(attempts == 11)
        withExtendedLifetime(other) {}
    }
}
