internal import EdgeCore

/// The node is to be left by its clients, for as long as an administrator says so: each is told
/// with the next answer that it gets, nobody is turned away, and nothing is cut.
///
/// HTTP/1.1: answers close their connection (RFC 9112 §9.6). One that is unused stays until its
/// client asks once more, or its time is over: closed from here, it might cross with a request.
/// HTTP/2: GOAWAY, which takes requests for one more second (RFC 9113 §6.8); new connections get it
/// with their first request. Upgraded connections and relays know nothing of the kind, and stay.
extension Worker {
    func dismissClients(_ dismisses: Bool) {
        isDismissing = dismisses
        guard dismisses, phase != .stopped else { return }
        for slot in 0..<downstreamSlots.touched {
            let channel = channels[slot]
            guard channel.pointee.phase == .established, channel.pointee.http2 != nil,
                downstreams[slot].pointee.requestCount > 0
            else { continue }
            leaveHTTP2(slot)
        }
    }
}
