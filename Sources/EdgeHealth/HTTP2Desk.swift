internal import EdgeHTTP2

/// HTTP/2 for the checks of one thread: one engine, and the handler that finds the exchange which
/// an event is for. Each exchange has a connection of its own with one stream; both have the
/// exchange's number.
package final class HTTP2Desk {
    let engine: HTTP2Engine
    private let handler: Handler
    private var lastTag: Int32 = 0

    /// - Returns: nil without memory.
    package init?(seed: UInt64) {
        handler = Handler()
        guard let engine = HTTP2Engine(handler, seed: seed) else { return nil }
        self.engine = engine
    }

    func register(_ exchange: HTTP2Exchange) -> Int32 {
        repeat {
            lastTag = lastTag == .max ? 0 : lastTag + 1
        } while handler.exchanges[lastTag] != nil
        handler.exchanges[lastTag] = exchange
        return lastTag
    }

    func remove(_ tag: Int32) { handler.exchanges[tag] = nil }

    private final class Handler: HTTP2Handler {
        var exchanges: [Int32: HTTP2Exchange] = [:]

        override func headReceived(
            connection: Int32, stream: Int32, id: Int32, text: UnsafeRawBufferPointer,
            isLast: Bool, isExtendedConnect: Bool
        ) {
            exchanges[stream]?.head(text)
        }

        override func trailersReceived(
            connection: Int32, stream: Int32, text: UnsafeRawBufferPointer
        ) {
            exchanges[stream]?.trailers(text)
        }

        override func contentReceived(
            connection: Int32, stream: Int32, id: Int32, bytes: UnsafeRawBufferPointer
        ) {
            exchanges[stream]?.content(bytes)
        }

        override func streamEnded(connection: Int32, stream: Int32) {
            exchanges[stream]?.streamEnded()
        }

        override func streamClosed(connection: Int32, stream: Int32, code: UInt32) {
            exchanges[stream]?.streamClosed(code)
        }

        override func settingsReceived(connection: Int32) {
            exchanges[connection]?.settingsReceived()
        }

        override func awaitsTrailers(stream: Int32) -> Bool {
            exchanges[stream]?.awaitsTrailers ?? false
        }

        override func isHeadRequest(stream: Int32) -> Bool {
            exchanges[stream]?.isHeadRequest ?? false
        }

        override func contentWaiting(
            connection: Int32, stream: Int32, id: Int32, max: Int
        ) -> WaitingContent {
            exchanges[stream]?.contentWaiting(max) ?? .last(0)
        }

        override func writeContent(
            connection: Int32, stream: Int32, id: Int32, header: UnsafePointer<UInt8>, count: Int
        ) -> Bool {
            exchanges[stream]?.writeContent(header, count)
            return true
        }
    }
}
