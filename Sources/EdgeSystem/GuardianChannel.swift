internal import EdgeCore
internal import Glibc

/// The guardian's end: sends commands, hears reports.
package typealias ProxyChannel = GuardianChannel<ProxyCommand, ProxyReport>
/// The proxy's end: hears commands, sends reports.
package typealias SupervisorChannel = GuardianChannel<ProxyReport, ProxyCommand>

/// What the other end did wrong. The message concerned is dropped and its descriptors are closed.
package enum ChannelViolation: Equatable {
    case message(GuardianMessageError)
    /// Longer than a message, or more descriptors than fit.
    case oversized
    /// More messages than `messagesPerSecondMax`; the rest wait in the kernel.
    case flood
}

/// One end of the socket between guardian and proxy, on a `PollLoop`. Sending never waits: what
/// the socket does not take is queued, up to `queuedMax` messages. The callbacks run on the loop;
/// after `closed` none follows.
package final class GuardianChannel<Sent: GuardianMessage, Received: GuardianMessage> {
    /// Messages that wait for a peer which does not read; one more and it is given up on.
    package static var queuedMax: Int { 1024 }
    /// Messages taken from the peer in a second.
    package static var messagesPerSecondMax: Int { 512 }

    package struct Handlers {
        package var received: (Received, OwnedDescriptors) -> Void
        package var violated: (ChannelViolation) -> Void
        /// The peer is gone or unusable; nothing can be sent any more.
        package var closed: () -> Void

        package init(
            received: @escaping (Received, OwnedDescriptors) -> Void,
            violated: @escaping (ChannelViolation) -> Void,
            closed: @escaping () -> Void
        ) {
            self.received = received
            self.violated = violated
            self.closed = closed
        }
    }

    /// How often the peer broke the rules.
    package private(set) var violations = 0
    package private(set) var isOpen = true
    /// Nothing waits to be sent.
    package var isIdle: Bool { queue.isEmpty }
    /// Its number, for a program that this process becomes; nil: it is closed.
    package var descriptor: Int32? { isOpen ? socket : nil }

    private let loop: PollLoop
    private let socket: Int32
    private let handlers: Handlers
    private var queue: [(bytes: [UInt8], descriptors: OwnedDescriptors)] = []
    private var windowStart: Instant
    private var windowMessages = 0
    private var resume: TimerID?

    /// Takes ownership of a non-blocking SOCK_SEQPACKET socket and reads from it at once.
    package init(
        loop: PollLoop, socket: consuming FileDescriptor, handlers: Handlers
    ) throws(SystemError) {
        self.loop = loop
        self.handlers = handlers
        windowStart = loop.now
        self.socket = socket.release()
        try loop.watch(self.socket, events: .readable) { [weak self] in self?.handle($0) }
    }

    deinit { shut() }

    /// Sends, or queues for when the socket takes it. The descriptors stay the caller's and may be
    /// closed at once.
    ///
    /// - Returns: false if the channel is closed or its queue full; nothing was sent then.
    @discardableResult
    package func send(_ message: Sent, descriptors: [Int32] = []) -> Bool {
        invariant(
            message.descriptorCounts.contains(descriptors.count),
            "a message is sent with the descriptors it names")
        guard isOpen else { return false }
        let bytes = message.wire.bytes
        if queue.isEmpty {
            switch transmit(bytes, descriptors) {
            case .sent: return true
            case .wouldBlock: break
            case .closed: return false
            }
        }
        guard queue.count < Self.queuedMax else { return false }
        var copies: [Int32] = []
        for fd in descriptors {
            let copy = fcntl(fd, F_DUPFD_CLOEXEC, 3)
            if copy >= 0 { copies.append(copy) }
        }
        let owned = OwnedDescriptors(copies)
        guard copies.count == descriptors.count else { return false }
        queue.append((bytes, owned))
        updateEvents()
        return true
    }

    /// Closes without telling; `closed` is not called.
    package func close() { shut() }

    // MARK: - Events

    private func handle(_ events: PollEvents) {
        if events.contains(.writable) { flush() }
        if isOpen, !events.isDisjoint(with: [.readable, .hangUp, .error]) { receive() }
    }

    private func flush() {
        while let next = queue.first {
            switch transmit(next.bytes, next.descriptors.borrowed) {
            case .sent: queue.removeFirst()
            case .wouldBlock: return
            case .closed:
                end()
                return
            }
        }
        updateEvents()
    }

    private func transmit(_ bytes: [UInt8], _ descriptors: [Int32]) -> DescriptorPassing.Sent {
        do throws(SystemError) {
            return try DescriptorPassing.send(socket, bytes: bytes, descriptors: descriptors)
        } catch {
            // A message is lost (too many descriptors in flight, say): better no channel than one
            // with a gap. The loop then hears the end like any other.
            Log.error("guardian channel: \(error)")
            shutdown(socket, Int32(SHUT_RDWR))
            return .closed
        }
    }

    private func receive() {
        while isOpen {
            guard isWithinBudget() else { return }
            let result: DescriptorPassing.Received
            do throws(SystemError) {
                result = try DescriptorPassing.receive(
                    socket, byteCountMax: GuardianWire.byteCount)
            } catch {
                Log.error("guardian channel: \(error)")
                end()
                return
            }
            switch result {
            case .wouldBlock: return
            case .closed: end()
            case .refused:
                windowMessages += 1
                violate(.oversized)
            case .message(let bytes, let descriptors):
                windowMessages += 1
                decode(bytes, descriptors)
            }
        }
    }

    private func decode(_ bytes: [UInt8], _ descriptors: OwnedDescriptors) {
        let message: Received
        do throws(GuardianMessageError) {
            message = try Received(wire: GuardianWire(bytes: bytes))
            guard message.descriptorCounts.contains(descriptors.count) else {
                throw .wrongDescriptorCount(descriptors.count)
            }
        } catch {
            violate(.message(error))
            return
        }
        handlers.received(message, descriptors)
    }

    /// Whether one more may be read; at the bound, reading pauses until the second is over.
    private func isWithinBudget() -> Bool {
        if loop.now.nanoseconds(since: windowStart) >= 1_000_000_000 {
            windowStart = loop.now
            windowMessages = 0
        }
        guard windowMessages >= Self.messagesPerSecondMax else { return true }
        if resume == nil {
            resume = loop.schedule(at: windowStart.advanced(by: .seconds(1))) { [weak self] in
                self?.resume = nil
                self?.updateEvents()
            }
            updateEvents()
            violate(.flood)
        }
        return false
    }

    private func violate(_ violation: ChannelViolation) {
        violations += 1
        handlers.violated(violation)
    }

    private func updateEvents() {
        guard isOpen else { return }
        var events: PollEvents = resume == nil ? .readable : []
        if !queue.isEmpty { events.insert(.writable) }
        loop.change(socket, events: events)
    }

    private func end() {
        guard isOpen else { return }
        shut()
        handlers.closed()
    }

    private func shut() {
        guard isOpen else { return }
        isOpen = false
        if let resume { loop.cancel(resume) }
        loop.unwatch(socket)
        Glibc.close(socket)
        queue = []
    }
}
