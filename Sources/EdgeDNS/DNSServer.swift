internal import EdgeCore
internal import EdgeSystem

/// One server of a group as the resolver uses it: its channel, what is out, what it is worth.
final class DNSServer {
    /// Unique in a resolver, also over changes of the configuration.
    let number: Int
    /// Index into the resolver's groups; -1: the system's.
    let group: Int
    let groupName: String
    /// Nil: the system's own list, asked as c-ares does.
    let address: SocketAddress?
    var watch = ServerWatch()
    /// At most one query per subject is out: a slow server gets no second one.
    var pending: [QuerySubject: DNSQuery] = [:]
    private(set) var channel: DNSChannel?

    init(number: Int, group: Int, groupName: String, address: SocketAddress?) {
        self.number = number
        self.group = group
        self.groupName = groupName
        self.address = address
    }

    /// As status and log have it.
    var name: String { address?.description ?? "system" }

    /// Sends a query, unless one for this subject is out.
    func ask(
        _ subject: QuerySubject, now: Instant, finished: FinishedQueries,
        open: () -> DNSChannel
    ) {
        guard pending[subject] == nil else { return }
        let query = DNSQuery(subject, server: number, now: now, finished: finished)
        pending[subject] = query
        // A channel that could not be set up is tried again.
        if channel?.isOpen != true { channel = open() }
        guard let channel else { return query.fail(.noChannel) }
        channel.send(query)
    }

    /// Ends what is out; it is not heard of again.
    func close() {
        pending = [:]
        channel?.close()
        channel = nil
    }
}
