extension VIPReply {
    /// For a person: who has what, why, since when, and what the others say.
    package var text: String {
        var rows = [["node", node], ["fitness", fitness]]
        if isInMaintenance { rows.append(["drained", "the addresses belong elsewhere"]) }
        if !handover.isEmpty { rows.append(["handover", handover]) }
        if !scheduling.isEmpty { rows.append(["thread", scheduling]) }
        var text = StatusText.aligned(rows)
        if !instances.isEmpty {
            text += "\naddresses\n"
            text += StatusText.aligned(
                [["  name", "state", "since", "addresses", "interface", "priority", "why"]]
                    + instances.map(row))
        }
        let notes = instances.flatMap(\.notes)
        if !notes.isEmpty { text += "\n" + notes.map { "  \($0)\n" }.joined() }
        if !peers.isEmpty {
            text += "\nnodes\n"
            text += StatusText.aligned(
                [["  name", "heard", "fitness", "states", "version", "differs"]]
                    + peers.map(row))
        }
        let last = transitions.suffix(5)
        if !last.isEmpty {
            text += "\nmoves\n"
            text += StatusText.aligned(
                last.map { name, transition in
                    [
                        "  " + UTCTime.text(transition.atMilliseconds / 1000), name,
                        "\(transition.from.rawValue) → \(transition.to.rawValue)",
                        transition.cause,
                    ]
                })
        }
        return text
    }

    /// Nothing is in it that somebody should look at: each group belongs to a node, no two nodes
    /// contradict each other, this node is fit, and the others are there.
    package var isSound: Bool {
        fitness == "fit" && peers.allSatisfy { $0.isLive && $0.differences.isEmpty }
            && instances.allSatisfy {
                ($0.state == .master || $0.state == .backup) && $0.rival == nil
            }
    }

    /// One line of `edgectl status` for each group.
    package var summary: [[String]] {
        instances.map { instance in
            [
                instance.name, instance.state.rawValue,
                "for \(StatusText.span(now - instance.since))",
                instance.addresses.joined(separator: " "), instance.cause,
            ]
        }
    }

    /// Of all groups, the oldest first.
    private var transitions: [(name: String, transition: VIPTransition)] {
        instances.flatMap { instance in instance.transitions.map { (instance.name, $0) } }
            .sorted { $0.1.atMilliseconds < $1.1.atMilliseconds }
    }

    private func row(_ instance: VIPInstance) -> [String] {
        [
            "  " + instance.name, instance.state.rawValue,
            StatusText.span(now - instance.since), instance.addresses.joined(separator: " "),
            instance.link == "up" ? instance.interface : "\(instance.interface) \(instance.link)",
            String(instance.priority), instance.cause,
        ]
    }

    private func row(_ peer: VIPPeer) -> [String] {
        let states = peer.states.map { state in
            "\(state.instance) \(state.state.rawValue)" + (state.isReady ? ", ready" : "")
        }
        return [
            "  " + peer.name,
            peer.isLive ? "now" : "\(StatusText.span(now - peer.heard)) ago",
            peer.fitness + (peer.isInMaintenance ? ", drained" : ""),
            states.joined(separator: "; "), peer.version,
            peer.differences.joined(separator: ", "),
        ]
    }
}

extension VIPPeer {
    /// In what it is not as this node is, and should be.
    fileprivate var differences: [String] {
        var list = hasSameFiles ? [] : ["configuration"]
        if clockMilliseconds.magnitude > 2000 { list.append("clock by \(clockMilliseconds) ms") }
        return list
    }
}

extension VIPInstance {
    /// What somebody should look at.
    fileprivate var notes: [String] {
        var notes: [String] = []
        if let waitsFor {
            notes.append("\(name) waits: \(String(waitsFor.map { $0 == "_" ? " " : $0 }))")
        }
        if let rival { notes.append("\(name): \(rival) says that it is master, too") }
        return notes
    }
}

extension VIPYieldReply {
    package var text: String { lines.map { $0 + "\n" }.joined() }
}
