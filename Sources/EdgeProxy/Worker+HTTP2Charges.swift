/// A client that resets a stream is done with it; the upstream may not be. Until it is, the stream
/// counts as one of the client's (BEHAVIOUR: 29): resets can't make more work than streams may.
extension Worker {
    /// The stream of a request has gone; its upstream may take longer to be let go of.
    ///
    /// - Parameter upstream: what the request had; -1: nothing.
    func charge(_ connection: Int, for upstream: Int) {
        guard upstream >= 0 else { return }
        let isHeld =
            isStream(upstream)
            ? stream(upstream).pointee.flags.contains(.wasReset)
            : channels[upstream].pointee.phase == .closing
        let row = self.upstream(upstream)
        guard isHeld, row.pointee.payer < 0 else { return }
        row.pointee.payer = Int32(connection)
        row.pointee.payerGeneration = channels[connection].pointee.generation
        links[connection].pointee.charged += 1
    }

    /// A connection to an upstream, or a stream of one, has been let go of.
    func discharge(_ upstream: Int) {
        let row = self.upstream(upstream)
        let connection = Int(row.pointee.payer)
        guard connection >= 0 else { return }
        row.pointee.payer = -1
        guard channels[connection].pointee.generation == row.pointee.payerGeneration else {
            return
        }
        links[connection].pointee.charged -= 1
    }
}
