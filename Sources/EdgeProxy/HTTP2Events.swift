internal import EdgeHTTP2

/// What sessions tell, passed on to the worker; nothing is passed on for a connection that is
/// closed already.
final class HTTP2Events: HTTP2Handler {
    // The worker owns the engine, which owns this: it lives longer.
    unowned(unsafe) let worker: Worker

    init(_ worker: Worker) { self.worker = worker }

    private func isLive(_ connection: Int32) -> Bool {
        let channel = worker.channels[Int(connection)]
        return channel.pointee.http2 != nil && channel.pointee.phase == .established
    }

    override func headReceived(
        connection: Int32, stream: Int32, id: Int32, text: UnsafeRawBufferPointer, isLast: Bool,
        isExtendedConnect: Bool
    ) {
        guard isLive(connection) else { return }
        if worker.isDownstream(Int(connection)) {
            worker.requestReceived(
                Int(connection), id, text, isLast: isLast, isExtendedConnect: isExtendedConnect)
        } else if stream >= 0 {
            worker.streamAnswered(Int(stream), text, isLast: isLast)
        }
    }

    override func headTooLarge(connection: Int32, stream: Int32, id: Int32, isLast: Bool) {
        guard isLive(connection) else { return }
        worker.requestTooLarge(Int(connection), id, isLast: isLast)
    }

    override func trailersReceived(
        connection: Int32, stream: Int32, text: UnsafeRawBufferPointer
    ) {
        guard stream >= 0, isLive(connection) else { return }
        worker.streamEnded(Int(stream), trailers: text)
    }

    override func contentReceived(
        connection: Int32, stream: Int32, id: Int32, bytes: UnsafeRawBufferPointer
    ) {
        guard isLive(connection) else { return }
        worker.contentReceived(Int(connection), Int(stream), id, bytes)
    }

    override func streamEnded(connection: Int32, stream: Int32) {
        guard stream >= 0, isLive(connection) else { return }
        worker.streamEnded(Int(stream), trailers: nil)
    }

    override func streamClosed(connection: Int32, stream: Int32, code: UInt32) {
        guard isLive(connection), worker.isStream(stream, of: connection) else { return }
        worker.streamClosed(Int(stream), code)
    }

    override func requestSent(connection: Int32, stream: Int32, id: Int32) {
        guard isLive(connection), worker.isStream(stream, id, of: connection) else { return }
        worker.stream(Int(stream)).pointee.flags.insert(.requestSent)
    }

    override func endSent(connection: Int32, stream: Int32, id: Int32) {
        guard isLive(connection) else { return }
        worker.streamEndSent(Int(connection), Int(stream), id)
    }

    override func goAwayReceived(connection: Int32, last: Int32, code: UInt32) {
        guard isLive(connection) else { return }
        worker.goAwayReceived(Int(connection), code)
    }

    override func settingsReceived(connection: Int32) {
        guard isLive(connection) else { return }
        worker.settingsReceived(Int(connection))
    }

    override func pingAnswered(connection: Int32) {
        guard isLive(connection) else { return }
        worker.links[Int(connection)].pointee.isPinged = false
        worker.links[Int(connection)].pointee.wasPinged = true
    }

    override func awaitsTrailers(stream: Int32) -> Bool {
        stream >= 0 && worker.stream(Int(stream)).pointee.flags.contains(.gotHead)
    }

    override func isHeadRequest(stream: Int32) -> Bool {
        stream >= 0 && worker.stream(Int(stream)).pointee.flags.contains(.isHead)
    }

    override func contentWaiting(
        connection: Int32, stream: Int32, id: Int32, max: Int
    ) -> WaitingContent {
        guard isLive(connection), worker.isStream(stream, id, of: connection) else { return .none }
        return worker.contentWaiting(Int(stream), max)
    }

    override func isContentGone(
        connection: Int32, stream: Int32, id: Int32, count: Int
    ) -> Bool {
        guard isLive(connection), worker.isStream(stream, id, of: connection) else { return true }
        return worker.isContentGone(Int(stream), count)
    }

    override func writeContent(
        connection: Int32, stream: Int32, id: Int32, header: UnsafePointer<UInt8>, count: Int
    ) -> Bool {
        guard isLive(connection), worker.isStream(stream, id, of: connection) else { return false }
        return worker.writeContent(Int(connection), Int(stream), header, count)
    }
}
