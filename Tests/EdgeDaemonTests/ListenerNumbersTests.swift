import EdgeProxy
import Testing

@testable import EdgeDaemon

@Suite("Numbers of listeners")
struct ListenerNumbersTests {
    private typealias Listener = RuntimeSnapshot.Listener

    private static func listener(_ name: String, port: UInt16 = 443) -> Listener {
        Listener(name: name, isTLS: true, redirectPort: nil, port: port)
    }

    @Test("A listener keeps its number wherever it stands in the configuration")
    func stable() {
        var numbers = ListenerNumbers()
        let (a, b, c) = (Self.listener("a"), Self.listener("b"), Self.listener("c"))
        #expect(numbers.use([a, b]) { _ in false } == [0, 1])
        #expect(numbers.use([b, c, a]) { _ in false } == [1, 2, 0])
    }

    @Test("One that has gone keeps its meaning while it has connections, then its number is free")
    func retired() {
        var numbers = ListenerNumbers()
        let (a, b, c) = (Self.listener("a"), Self.listener("b"), Self.listener("c"))
        _ = numbers.use([a, b]) { _ in false }
        #expect(numbers.use([a, c]) { $0 == 1 } == [0, 2])
        #expect(numbers.listeners[1].name == "b")
        #expect(numbers.listeners.map(\.isRetired) == [false, true, false])

        #expect(numbers.use([a, Self.listener("d")]) { $0 == 2 } == [0, 1])
        #expect(numbers.listeners.map(\.name) == ["a", "d", "c"])
        #expect(numbers.use([a, c]) { _ in true } == [0, 2], "it comes back as it was")
        #expect(!numbers.listeners[2].isRetired)
    }

    @Test("Another kind of the same name is another listener; other views are not")
    func changed() {
        var numbers = ListenerNumbers()
        _ = numbers.use([Self.listener("a")]) { _ in false }
        #expect(numbers.use([Self.listener("a", port: 8443)]) { $0 == 0 } == [1])
        let seen = Listener(name: "a", isTLS: true, redirectPort: nil, port: 8443, views: ["lan"])
        #expect(numbers.use([seen]) { _ in true } == [1])
        #expect(numbers.listeners[1].views == ["lan"])
    }

    @Test("A thousand reloads that change everything use few numbers")
    func bounded() {
        var numbers = ListenerNumbers()
        for round in 0..<1000 {
            _ = numbers.use((0..<4).map { Self.listener("l\(round % 7)-\($0)") }) { _ in false }
        }
        #expect(numbers.listeners.count <= 32)
        #expect(numbers.hasRoom(for: 64) { _ in false })
        #expect(!numbers.hasRoom(for: 128) { _ in true })
    }

    @Test("A thousand reloads that move a listener to another port use few numbers and no socket")
    func moving() {
        var numbers = ListenerNumbers()
        var sockets = ListenerSockets()
        var used: Set<Int> = []
        for round in 0..<1000 {
            let wanted = [Self.listener("a"), Self.listener("b", port: UInt16(1000 + round))]
            let group = 1 + round % 4
            sockets.place(.init(listener: 0, address: 0, group: 0))
            sockets.take(
                .init(listener: 1, address: 0, group: group, firstSocket: 0, count: 0), [],
                isPrepared: true)
            sockets.usePrepared()
            let held = sockets.heldNumbers
            #expect(numbers.hasRoom(for: 2) { held.contains($0) })
            let given = numbers.use(wanted) { held.contains($0) }
            sockets.number(given)
            used.formUnion(given)
            #expect(given[0] == 0)
        }
        #expect(used.count <= 8)
    }
}
