internal import CEdge
internal import EdgeCore
internal import EdgeSystem
internal import Glibc

/// One c-ares channel on the loop: one server, or all of the system's own list. `close` before the
/// last reference goes; it ends every query with `.cancelled`.
final class DNSChannel {
    /// Nil: as resolv.conf says.
    private let server: SocketAddress?
    private let loop: PollLoop
    private let didProcess: () -> Void
    private var channel: ares_channel?

    private let tryTimeout: Duration

    /// - Parameter didProcess: called after c-ares has handled a socket event.
    init(
        server: SocketAddress?, loop: PollLoop, tryTimeout: Duration,
        didProcess: @escaping () -> Void
    ) {
        self.server = server
        self.loop = loop
        self.didProcess = didProcess
        self.tryTimeout = tryTimeout
        _ = Self.library
        open()
    }

    /// c-ares wants one call before all others; on Linux it allocates nothing.
    static let library = ares_library_init(ARES_LIB_INIT_ALL.status)

    private func open() {
        var options = ares_options()
        // With one server there is no next one to go to on SERVFAIL: rather know that it was that.
        let isAlone = server != nil
        options.flags = (ARES_FLAG_NOSEARCH | (isAlone ? ARES_FLAG_NOCHECKRESP : 0)).status
        options.timeout = Int32(clamping: tryTimeout.nanoseconds / 1_000_000)
        // Rounds over all servers. Several are several tries in themselves; a query of a dead one
        // must not be there much longer than the resolver waits for it.
        options.tries = isAlone ? 2 : 1
        options.sock_state_cb = { context, socket, readable, writable in
            // Not retained: `close` destroys the c-ares channel before this object goes.
            let channel = Unmanaged<DNSChannel>.fromOpaque(context!).takeUnretainedValue()
            channel.watch(socket, readable: readable != 0, writable: writable != 0)
        }
        options.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
        let mask =
            ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB
            | ARES_OPT_LOOKUPS | ARES_OPT_NOROTATE
        let lookups = strdup("b")  // DNS only, not /etc/hosts. c-ares makes its own copy.
        defer { free(lookups) }
        options.lookups = lookups
        var status = ares_init_options(&channel, &options, mask.status)
        guard status == ARES_SUCCESS.status else {
            channel = nil
            return report(status)
        }
        guard let server else { return }
        status = ares_set_servers_ports_csv(channel, server.description)
        guard status == ARES_SUCCESS.status else {
            close()
            return report(status)
        }
    }

    private func report(_ status: Int32) {
        let reason = String(cString: ares_strerror(status))
        Log.error("dns: resolver \(serverName) cannot be set up: \(reason)")
    }

    private var serverName: String { server?.description ?? "of the system" }

    deinit { invariant(channel == nil, "a channel is closed before it is let go") }

    /// Ends every query of this channel with `.cancelled` and its sockets. Not from a callback.
    func close() {
        guard let channel else { return }
        self.channel = nil
        ares_destroy(channel)
    }

    /// False: c-ares could not be set up; queries fail with `.noChannel`.
    var isOpen: Bool { channel != nil }

    func send(_ query: DNSQuery) {
        let name = query.subject.name.utf8
        guard let channel else { return query.fail(.noChannel) }
        guard (1...254).contains(name.count), !name.contains(0) else {
            return query.fail(.badName)
        }
        query.send(on: channel)
    }

    /// When c-ares wants to be called although no socket is ready; `.never` if nothing is out.
    func nextTimeout(now: Instant) -> Instant {
        guard let channel else { return .never }
        var span = timeval()
        guard ares_timeout(channel, nil, &span) != nil else { return .never }
        // One more millisecond, as its clock and ours are rounded differently.
        let nanoseconds = UInt64(max(span.tv_sec, 0)) * 1_000_000_000
        return now.advanced(
            byNanoseconds: nanoseconds + UInt64(max(span.tv_usec, 0)) * 1000 + 1_000_000)
    }

    func processTimeouts() {
        guard let channel else { return }
        ares_process_fd(channel, Self.noSocket, Self.noSocket)
    }

    private static let noSocket: ares_socket_t = -1

    private func watch(_ socket: Int32, readable: Bool, writable: Bool) {
        guard readable || writable else { return loop.unwatch(socket) }
        var events: PollEvents = []
        if readable { events.insert(.readable) }
        if writable { events.insert(.writable) }
        do {
            try loop.watch(socket, events: events) { [weak self] in self?.process(socket, $0) }
        } catch {
            // The query runs into its timeout, which removes nothing.
            Log.error("dns: resolver \(serverName): \(error)")
        }
    }

    private func process(_ socket: Int32, _ events: PollEvents) {
        guard let channel else { return }
        // An error is for the read to find: c-ares then goes on to the next server.
        let canRead = !events.isDisjoint(with: [.readable, .error, .hangUp, .readHangUp])
        ares_process_fd(
            channel, canRead ? socket : Self.noSocket,
            events.contains(.writable) ? socket : Self.noSocket)
        didProcess()
    }
}
