internal import EdgeCore
internal import EdgeProxy
internal import EdgeSystem

/// Gives listeners the numbers that workers and connections know them by. A listener keeps its
/// number as long as it is configured the same; what it was goes on meaning what it meant for the
/// connections that it has, and its number is free when they are gone.
struct ListenerNumbers {
    /// By number; those that are free keep what they were last.
    private(set) var listeners: [RuntimeSnapshot.Listener] = []

    /// - Parameters:
    ///   - wanted: in the order of the configuration.
    ///   - hasConnections: whether a number is still in use by connections or sockets.
    /// - Returns: the number of each.
    mutating func use(
        _ wanted: [RuntimeSnapshot.Listener], hasConnections: (Int) -> Bool
    ) -> [Int] {
        var numbers = [Int?](repeating: nil, count: wanted.count)
        var taken: Set<Int> = []
        for (index, listener) in wanted.enumerated() {
            // One that is on its way out may come back as it was.
            let same = listeners.indices.first {
                !taken.contains($0) && listeners[$0].isSame(as: listener)
            }
            if let same {
                numbers[index] = same
                taken.insert(same)
            }
        }
        // One that retires now may be getting a connection at this moment.
        var free = listeners.indices.filter {
            listeners[$0].isRetired && !taken.contains($0) && !hasConnections($0)
        }[...]
        for number in listeners.indices where !taken.contains(number) {
            listeners[number].isRetired = true
        }
        return numbers.enumerated().map { index, known in
            let number = known ?? free.popFirst() ?? listeners.count
            invariant(number < SharedBoard.listenersMax, "room was found before")
            if number == listeners.count {
                listeners.append(wanted[index])
            } else {
                listeners[number] = wanted[index]
            }
            return number
        }
    }

    /// Whether so many listeners would have numbers, were all of them new.
    func hasRoom(for count: Int, hasConnections: (Int) -> Bool) -> Bool {
        // What retires with this reload keeps its number once more.
        let used = listeners.indices.count { !listeners[$0].isRetired || hasConnections($0) }
        return used + count <= SharedBoard.listenersMax
    }
}

extension RuntimeSnapshot.Listener {
    /// Whether it means the same for the connections it has: which views it serves is asked only
    /// when they begin.
    fileprivate func isSame(as other: RuntimeSnapshot.Listener) -> Bool {
        name == other.name && isTLS == other.isTLS && port == other.port
            && redirectPort == other.redirectPort && relayPool == other.relayPool
            && challengePool == other.challengePool
    }
}
