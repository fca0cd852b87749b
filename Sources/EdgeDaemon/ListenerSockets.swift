internal import EdgeProxy
internal import EdgeSystem
internal import Glibc

/// The listening sockets that the guardian has lent to this proxy, and whose they are: by groups,
/// one for each address. Owns the descriptors.
struct ListenerSockets {
    private typealias Place = ProxyCommand.ListenerPlace

    /// By group.
    private var descriptors: [Int: [Int32]] = [:]
    private var places: [Place] = []
    /// Of the configuration that is prepared.
    private var prepared: [Place] = []
    private var preparedGroups: Set<Int> = []
    /// The listener's number that a group's connections were last accepted with.
    private var numberOf: [Int: Int] = [:]
    /// Groups that workers are leaving: the sockets they still have.
    private var leaving: [Int: [Int32]] = [:]

    /// - Parameter isPrepared: they belong to the configuration that is prepared.
    mutating func take(
        _ given: ProxyCommand.ListenerSockets, _ sockets: [Int32], isPrepared: Bool
    ) {
        descriptors[given.group, default: []] += sockets
        let place = Place(listener: given.listener, address: given.address, group: given.group)
        if isPrepared {
            preparedGroups.insert(given.group)
            if !prepared.contains(place) { prepared.append(place) }
        } else if !places.contains(place) {
            places.append(place)
        }
    }

    /// In the configuration that is prepared, an address has sockets of ours.
    mutating func place(_ place: ProxyCommand.ListenerPlace) { prepared.append(place) }

    /// The configuration is not used, or its preparation begins.
    mutating func forgetPrepared() {
        for group in preparedGroups { close(descriptors.removeValue(forKey: group) ?? []) }
        preparedGroups = []
        prepared = []
    }

    mutating func usePrepared() {
        places = prepared
        prepared = []
        preparedGroups = []
    }

    /// Socket i of every address is worker i's; sockets beyond the workers go round.
    ///
    /// - Parameters:
    ///   - worker: 0…
    ///   - numbers: of the configuration's listeners.
    func sockets(of worker: Int, workers: Int, numbers: [Int]) -> [ListeningSocket] {
        var result: [ListeningSocket] = []
        for place in places.sorted(by: { ($0.listener, $0.address) < ($1.listener, $1.address) })
        where place.listener < numbers.count && leaving[place.group] == nil {
            for (index, descriptor) in (descriptors[place.group] ?? []).enumerated()
            where index % workers == worker {
                result.append(
                    ListeningSocket(
                        listener: numbers[place.listener], descriptor: descriptor))
            }
        }
        return result
    }

    /// Workers take from the sockets of the configuration in use with these numbers from now on.
    mutating func number(_ numbers: [Int]) {
        for place in places where place.listener < numbers.count {
            numberOf[place.group] = numbers[place.listener]
        }
    }

    /// Numbers of sockets that no listener of the configuration has, and workers still take from.
    var heldNumbers: Set<Int> {
        let placed = Set(places.map(\.group))
        return Set(descriptors.keys.filter { !placed.contains($0) }.compactMap { numberOf[$0] })
    }

    /// Sockets that no listener of the configuration has, and workers still take from.
    var unplaced: [Int32] {
        let placed = Set(places.map(\.group))
        return descriptors.filter { !placed.contains($0.key) && leaving[$0.key] == nil }
            .flatMap(\.value)
    }

    /// Workers are to leave a group.
    ///
    /// - Returns: false if there is nothing to leave.
    mutating func leave(_ group: Int) -> Bool {
        guard let sockets = descriptors[group], !places.contains(where: { $0.group == group })
        else { return false }
        leaving[group] = sockets
        return true
    }

    /// A worker has left a socket.
    ///
    /// - Returns: the group that this was the last one of: its sockets are closed.
    mutating func left(_ descriptor: Int32) -> Int? {
        for (group, sockets) in leaving where sockets.contains(descriptor) {
            leaving[group] = sockets.filter { $0 != descriptor }
            guard leaving[group]?.isEmpty == true else { return nil }
            leaving[group] = nil
            numberOf[group] = nil
            close(descriptors.removeValue(forKey: group) ?? [])
            return group
        }
        return nil
    }

    private func close(_ sockets: [Int32]) {
        for socket in sockets { Glibc.close(socket) }
    }
}
