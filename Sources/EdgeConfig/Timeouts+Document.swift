extension Configuration.Timeouts {
    static func decode(_ section: Section) -> Self {
        Self(
            handshake: section.duration("handshake"),
            requestHead: section.duration("request_head"),
            keepAlive: section.duration("keep_alive"),
            body: section.duration("body"),
            tcp: section.duration("tcp"))
    }
}

extension Configuration.Process {
    /// From the same section as the clients' timeouts: to the operator all of them are times.
    static func decode(_ section: Section) -> Self {
        Self(
            serveDeadline: section.duration("serve_deadline"),
            hangTimeout: section.duration("hang"),
            drainDeadline: section.duration("drain"))
    }
}
