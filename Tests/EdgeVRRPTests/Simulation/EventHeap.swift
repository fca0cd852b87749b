import EdgeCore

/// What is to happen, by time; of the same time in the order in which it was put in.
struct EventHeap<Item> {
    private struct Entry {
        let at: Instant
        let serial: UInt64
        let item: Item

        func precedes(_ other: Entry) -> Bool { (at, serial) < (other.at, other.serial) }
    }

    private var entries: [Entry] = []
    private var serial: UInt64 = 0

    mutating func push(_ item: Item, at: Instant) {
        serial += 1
        entries.append(Entry(at: at, serial: serial, item: item))
        var index = entries.count - 1
        while index > 0, entries[index].precedes(entries[(index - 1) / 2]) {
            entries.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func pop() -> (at: Instant, item: Item)? {
        guard let first = entries.first, let last = entries.popLast() else { return nil }
        if !entries.isEmpty {
            entries[0] = last
            sift()
        }
        return (first.at, first.item)
    }

    private mutating func sift() {
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < entries.count && entries[child].precedes(entries[least]) {
                least = child
            }
            guard least != index else { return }
            entries.swapAt(index, least)
            index = least
        }
    }
}
