import EdgeCore
import EdgeRouting
import EdgeSystem
import EdgeTLS

@testable import EdgeProxy

/// Two views that differ in priority: `lan` by interface 2, and `public`, of low priority, by
/// interface 3. The host `home.example` is in both.
enum RankedViews {
    enum Place: Int32 {
        case lan = 2
        case open = 3
    }

    static func routing(pool: Int32 = 0, isLow: Bool = true) -> Routing {
        let configurations = [("lan", "eth0"), ("public", "wg0")].map { name, interface in
            var view = ViewConfiguration(name: name)
            view.interfaces = [interface]
            return view
        }
        return Routing(
            views: [
                (0, ClientView(name: "lan", index: 0)),
                (1, ClientView(name: "public", index: 1, profile: 1, isLow: isLow)),
            ],
            isDivided: true,
            places: ViewTable(configurations, listeners: [nil, nil, nil, nil], interfaces: [:]),
            router: Router([
                Router.View(hosts: [Router.Host(pattern: "home.example", site: 0, pool: pool)]),
                Router.View(
                    hosts: [Router.Host(pattern: "home.example", site: 0, pool: pool)],
                    hostPolicy: 1),
            ]),
            profiles: [ServerProfile(fallback: nil), ServerProfile(fallback: nil)])
    }

    static func bench(_ change: (inout Bench.Options) -> Void = { _ in }) throws -> Bench {
        var options = Bench.Options()
        use(&options)
        change(&options)
        return try Bench(options)
    }

    static func use(_ options: inout Bench.Options) {
        options.routing = routing()
        options.interfaces = {
            [
                NetworkInterface(index: 1, name: "lo"), NetworkInterface(index: 2, name: "eth0"),
                NetworkInterface(index: 3, name: "wg0"),
            ]
        }
    }
}

extension Bench {
    /// Where a client comes from is in its port: those with odd ones are the public.
    func arriveByPort() {
        ring.arrival = { $0.port % 2 == 0 ? Place.lan.rawValue : Place.open.rawValue }
    }

    private typealias Place = RankedViews.Place

    /// Connections that begin from now on come from there.
    func comeFrom(_ place: RankedViews.Place) { ring.arrival = { _ in place.rawValue } }

    /// A client from there that has been accepted; -1 if it waits in the queue.
    func client(
        from place: RankedViews.Place, _ listener: Int32 = Bench.listener
    ) -> Int32 {
        comeFrom(place)
        return client(listener)
    }

    /// One that has had an answer and is idle.
    func idleClient(from place: RankedViews.Place) -> Int32 {
        let client = client(from: place)
        serve(client)
        return client
    }

    /// A request and its answer.
    func serve(_ client: Int32) { _ = isServed(client) }

    func isServed(_ client: Int32) -> Bool {
        guard client >= 0, !ring.isClosed(client) else { return false }
        let others = Set(asked)
        send(client, get())
        guard let server = asked.first(where: { !others.contains($0) }) else { return false }
        send(server, Bench.ok)
        _ = ring.takeSent(to: server)
        return ring.takeSent(to: client).hasSuffix("ok")
    }

    /// Connections to the upstream on which a request has gone that no test has taken.
    private var asked: [Int32] {
        ring.opened.filter { !ring.isClosed($0) && !ring.sent(to: $0).isEmpty }
    }
}
