internal import CEdge
internal import EdgeCore
internal import Foundation

/// The connections of a lane and what they wait for. One epoll and no list that is gone through:
/// a thousand requests that get no answer must not make the client late for the others.
final class LaneTable {
    private let poller: Int32
    private var all: [Int32: Entry] = [:]
    private var idle: [LaneConnection] = []
    private var ready = [epoll_event](repeating: epoll_event(), count: 256)
    /// In the order of the requests, which is that of their deadlines: all wait as long.
    private var deadlines: [Due] = []
    private var firstDeadline = 0
    /// Connections that carry a request.
    private(set) var busyCount = 0

    private struct Entry {
        let connection: LaneConnection
        var events: Int16
    }

    private struct Due {
        let deadline: Instant
        let descriptor: Int32
        let index: Int
    }

    init() {
        poller = epoll_create1(Int32(EPOLL_CLOEXEC))
        precondition(poller >= 0, "a lane has a descriptor left for its epoll")
    }

    deinit { close(poller) }

    var count: Int { all.count }

    // MARK: Connections

    func add(_ connection: LaneConnection) {
        all[connection.descriptor] = Entry(connection: connection, events: connection.events)
        control(EPOLL_CTL_ADD, connection)
    }

    func remove(_ connection: LaneConnection) {
        guard all.removeValue(forKey: connection.descriptor) != nil else { return }
        control(EPOLL_CTL_DEL, connection)
        idle.removeAll { $0 === connection }
    }

    /// The connection waits for something else now.
    func update(_ connection: LaneConnection) {
        guard var entry = all[connection.descriptor], entry.events != connection.events else {
            return
        }
        entry.events = connection.events
        all[connection.descriptor] = entry
        control(EPOLL_CTL_MOD, connection)
    }

    private func control(_ operation: Int32, _ connection: LaneConnection) {
        // poll's numbers are epoll's.
        var event = epoll_event()
        event.events = UInt32(UInt16(bitPattern: connection.events))
        event.data.fd = connection.descriptor
        epoll_ctl(poller, operation, connection.descriptor, &event)
    }

    // MARK: Requests

    /// A request has been put on a connection.
    func assigned(_ connection: LaneConnection) {
        guard let assignment = connection.current else { return }
        busyCount += 1
        deadlines.append(
            Due(
                deadline: assignment.deadline, descriptor: connection.descriptor,
                index: assignment.index))
    }

    /// A request has come to its end.
    func finished() { busyCount -= 1 }

    /// The connection can carry another request.
    func rest(_ connection: LaneConnection) { idle.append(connection) }

    /// The connection used last of those that carry nothing.
    func takeIdle() -> LaneConnection? { idle.popLast() }

    /// When the first request under way has to be answered.
    func nextDeadline() -> Instant {
        skipFinished()
        return firstDeadline < deadlines.count ? deadlines[firstDeadline].deadline : .never
    }

    /// A connection whose request is late; nil when there is none (left).
    func takeExpired(_ now: Instant) -> LaneConnection? {
        guard nextDeadline() <= now else { return nil }
        let due = deadlines[firstDeadline]
        firstDeadline += 1
        return all[due.descriptor]?.connection
    }

    private func skipFinished() {
        while firstDeadline < deadlines.count {
            let due = deadlines[firstDeadline]
            if all[due.descriptor]?.connection.current?.index == due.index { break }
            firstDeadline += 1
        }
        if firstDeadline > 4096 {
            deadlines.removeFirst(firstDeadline)
            firstDeadline = 0
        }
    }

    // MARK: Events

    /// Waits, then hands over whatever has an event and is still there.
    func wait(milliseconds: Int32, _ body: (LaneConnection) -> Void) {
        let count = epoll_wait(poller, &ready, Int32(ready.count), milliseconds)
        guard count > 0 else { return }
        for event in ready[..<Int(count)] {
            if let connection = all[event.data.fd]?.connection { body(connection) }
        }
    }
}
