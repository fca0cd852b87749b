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
    /// The newest query of each subject that is out.
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

    /// Sends a query, unless one for this subject is out: a slow server gets no second one.
    ///
    /// - Parameter lostAfter: what is out for so long while others are answered is not waited for.
    func ask(
        _ subject: QuerySubject, now: Instant, lostAfter: Duration, finished: FinishedQueries,
        open: () -> DNSChannel
    ) {
        if let query = pending[subject], !isLost(query, after: lostAfter) { return }
        let query = DNSQuery(subject, server: number, now: now, finished: finished)
        pending[subject] = query
        // A channel that could not be set up is tried again.
        if channel?.isOpen != true { channel = open() }
        guard let channel else { return query.fail(.noChannel) }
        channel.send(query)
    }

    /// Whether the server lives, and will not answer this. What it has said to a part of it may be
    /// old by now.
    private func isLost(_ query: DNSQuery, after span: Duration) -> Bool {
        guard !query.isHalfEnded else { return true }
        guard let answer = watch.lastAnswer else { return false }
        return answer.nanoseconds(since: query.sent) > span.nanoseconds
    }

    /// Ends what is out; it is not heard of again.
    func close() {
        pending = [:]
        channel?.close()
        channel = nil
    }
}
