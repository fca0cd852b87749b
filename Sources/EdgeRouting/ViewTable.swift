package import EdgeCore

/// Which view a connection belongs to: the first one, in the order of the configuration, whose
/// interfaces and sources it fits. Where a connection comes from is decided among all views; what
/// its listener serves is asked only then, so that a client who is kept out of one view never ends
/// up in a later, laxer one. Immutable: `withInterfaces` makes another when interfaces come or go.
package struct ViewTable: Sendable {
    /// What is decided about a connection.
    package enum Verdict: Sendable, Equatable, BitwiseCopyable {
        /// Index of its view.
        case view(Int32)
        /// It belongs to this view, which its listener does not serve: it is closed.
        case notServed(Int32)
        /// It fits no view: it is closed.
        case nowhere
    }

    private struct Rule: Sendable {
        /// In `indexes`. Empty although the view names interfaces: they are not there, and nothing
        /// arrives on them.
        var firstIndex: Int32
        var indexCount: Int32
        var isAnywhere: Bool
        var hasSources: Bool
    }

    /// `lo`, in every network namespace.
    static let loopback: Int32 = 1

    package let names: [String]
    private let interfaceNames: [[String]]
    private let sources: CIDRSets
    private var rules: [Rule] = []
    private var indexes: [Int32] = []
    /// Whether a listener serves a view, at `listener * names.count + view`.
    private let served: [Bool]

    /// - Parameters:
    ///   - views: in the order of the configuration.
    ///   - listeners: per listener the indexes of the views it serves; nil: all of them.
    ///   - interfaces: per name the kernel's indexes that stand for it: its own, and those of our
    ///     macvlans on it. A name that is not there has none at present.
    package init(
        _ views: [ViewConfiguration], listeners: [[Int]?], interfaces: [String: [Int32]]
    ) {
        names = views.map(\.name)
        interfaceNames = views.map(\.interfaces)
        sources = CIDRSets(views.map(\.sources))
        served = listeners.flatMap { allowed in
            views.indices.map { allowed?.contains($0) ?? true }
        }
        resolve(interfaces)
    }

    /// The same views with what their interfaces are called now. To be in place before a kernel's
    /// index can stand for another interface.
    package func withInterfaces(_ interfaces: [String: [Int32]]) -> ViewTable {
        var copy = self
        copy.resolve(interfaces)
        return copy
    }

    private mutating func resolve(_ interfaces: [String: [Int32]]) {
        rules = []
        indexes = []
        for (view, names) in interfaceNames.enumerated() {
            // 0 is what the kernel calls no interface.
            let found = names.flatMap { interfaces[$0] ?? [] }.filter { $0 > 0 }
            rules.append(
                Rule(
                    firstIndex: Int32(indexes.count), indexCount: Int32(found.count),
                    isAnywhere: names.isEmpty, hasSources: !sources.isEmpty(view)))
            indexes += found
        }
    }

    /// - Parameters:
    ///   - listener: its index; one that the table does not know serves nothing.
    ///   - interface: the kernel's index of the interface that the connection arrived on; 0:
    ///     unknown, then only views for any interface fit.
    ///   - source: the socket's peer, never an address that a PROXY header tells.
    // hot: once per connection; no allocation.
    package func verdict(listener: Int, interface: Int32, source: SocketAddress) -> Verdict {
        for view in 0..<rules.count where fits(view, interface, source) {
            let isServed = serves(listener: listener, view: view)
            return isServed ? .view(Int32(view)) : .notServed(Int32(view))
        }
        return .nowhere
    }

    /// Whether a listener serves a view; one that the table does not know serves nothing.
    // hot: once per connection; no allocation.
    func serves(listener: Int, view: Int) -> Bool {
        let place = listener * rules.count + view
        return listener >= 0 && place < served.count && served[place]
    }

    /// The index of its view; nil: the connection is closed, and counted.
    package func view(listener: Int, interface: Int32, source: SocketAddress) -> Int? {
        switch verdict(listener: listener, interface: interface, source: source) {
        case .view(let view): Int(view)
        case .notServed, .nowhere: nil
        }
    }

    private func fits(_ view: Int, _ interface: Int32, _ source: SocketAddress) -> Bool {
        let rule = rules[view]
        // This machine's own clients are in no view that does not ask for them.
        let isOwn = interface == Self.loopback && !rule.hasSources
        guard rule.isAnywhere ? !isOwn : arrives(rule, interface) else { return false }
        return !rule.hasSources || sources.contains(source, in: view)
    }

    private func arrives(_ rule: Rule, _ interface: Int32) -> Bool {
        for index in 0..<Int(rule.indexCount)
        where indexes[Int(rule.firstIndex) + index] == interface {
            return true
        }
        return false
    }

    /// Why a connection is in no view before `view`, and in `view` itself, one line each.
    func reasons(upTo view: Int, _ interface: Int32, _ source: SocketAddress) -> [String] {
        (0..<min(view + 1, rules.count)).map { index in
            let rule = rules[index]
            let named = interfaceNames[index].joined(separator: ", ")
            let place =
                rule.isAnywhere
                ? "any interface"
                : "interface \(interface) is \(arrives(rule, interface) ? "" : "not ")of \(named)"
            let origin =
                !rule.hasSources
                ? "any source"
                : "\(source.addressText) is "
                    + (sources.contains(source, in: index) ? "" : "not ") + "in its sources"
            let verb = fits(index, interface, source) ? "fits" : "does not fit"
            return "view \(names[index]) \(verb): \(place), \(origin)"
        }
    }
}
