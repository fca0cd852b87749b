internal import EdgeCore
internal import Foundation

/// One side of an HTTP/2 connection that sends whatever it is told to, and keeps and checks all
/// that comes. Blocking with deadlines; used by one thread.
package class HTTP2Peer {
    let stream: PeerStream
    private let isServer: Bool
    private var buffer: [UInt8] = []
    private var inflater: HPACKInflater
    private var block: (stream: UInt32, bytes: [UInt8], end: Bool)?
    private var awaitsPreface: Bool
    private var pingCount = 0

    // What came.

    /// Every frame, in order.
    package private(set) var frames: [RawFrame] = []
    package private(set) var messages: [UInt32: HTTP2Message] = [:]
    /// Streams in the order in which their messages ended.
    private(set) var completed: [UInt32] = []
    /// The far side's settings.
    package private(set) var settings: [UInt16: UInt32] = [:]
    package private(set) var goAway: RawFrame?
    package private(set) var ending: StreamEnd?
    /// What the far side did against RFC 9113 or RFC 7541.
    package private(set) var faults: [String] = []

    // What is answered by itself.

    package var acknowledgesSettings = true
    package var answersPings = true
    /// Bytes that came are given back by WINDOW_UPDATE at once.
    package var returnsCredit = true

    // Windows for what is sent (RFC 9113 §5.2), and for what comes.

    package private(set) var connectionWindow = 65_535
    private var windows: [UInt32: Int] = [:]
    private var initialWindow: Int {
        settings[RawFrame.Setting.initialWindowSize].map(Int.init) ?? 65_535
    }
    private var receiveWindow = 65_535
    private var receiveWindows: [UInt32: Int] = [:]
    private var receiveInitial = 65_535
    /// Our settings that were not acknowledged yet.
    private var announced: [[UInt16: Int]] = []

    init(_ stream: PeerStream, isServer: Bool) throws {
        self.stream = stream
        self.isServer = isServer
        awaitsPreface = isServer
        inflater = try HPACKInflater()
    }

    /// Runs after everything that came.
    func progressed() {}

    // MARK: Sending

    /// In one write, so that they arrive together.
    package func send(_ frames: RawFrame...) throws { try send(frames) }

    package func send(_ frames: [RawFrame]) throws {
        for frame in frames { noteSent(frame) }
        try send(bytes: frames.flatMap(\.bytes))
    }

    package func send(bytes: [UInt8], within span: Duration = .seconds(5)) throws {
        if let end = stream.write(bytes, until: .now().advanced(by: span)) {
            throw KitError("not sent: \(end)")
        }
    }

    /// Accounts for a frame that was sent as bytes.
    package func noteSent(_ frame: RawFrame) {
        switch frame.kind {
        case .data:
            connectionWindow -= frame.payload.count
            windows[frame.stream, default: initialWindow] -= frame.payload.count
        case .windowUpdate:
            let increment = frame.increment ?? 0
            if frame.stream == 0 {
                receiveWindow += increment
            } else {
                receiveWindows[frame.stream, default: receiveInitial] += increment
            }
        case .settings where !frame.has(.acknowledge):
            let values = frame.settingValues.map { ($0.0, Int($0.1)) }
            announced.append(Dictionary(values) { $1 })
            // Growth counts at once, shrinking when the far side knows.
            if let size = announced.last?[RawFrame.Setting.initialWindowSize],
                size > receiveInitial
            {
                setReceiveInitial(size)
            }
        default: break
        }
    }

    /// Bytes of content that may be sent on a stream.
    package func window(_ stream: UInt32) -> Int { windows[stream] ?? initialWindow }

    private func setReceiveInitial(_ size: Int) {
        for key in receiveWindows.keys { receiveWindows[key]! += size - receiveInitial }
        receiveInitial = size
    }

    /// Sends content as the windows allow, waiting for more where it must.
    package func sendContent(
        _ stream: UInt32, _ content: [UInt8], end: Bool = true, within span: Duration = .seconds(10)
    ) throws {
        let deadline = Instant.now().advanced(by: span)
        var offset = 0
        while offset < content.count {
            let room = min(
                connectionWindow, windows[stream, default: initialWindow], RawFrame.payloadMax,
                content.count - offset)
            guard room > 0 else {
                let left = Duration(nanoseconds: deadline.nanoseconds(since: .now()))
                guard messages[stream]?.reset == nil, read(within: left) else {
                    throw KitError("content not taken: \(offset) of \(content.count)")
                }
                continue
            }
            let part = Array(content[offset..<offset + room])
            offset += room
            try send(.data(stream, part, end: end && offset == content.count))
        }
        if content.isEmpty, end { try send(.data(stream, end: true)) }
    }

    // MARK: Receiving

    /// Takes in what comes next; false if nothing came in time, or the end.
    @discardableResult
    package func read(within span: Duration) -> Bool {
        guard ending == nil else { return false }
        switch stream.read(until: .now().advanced(by: span)) {
        case .bytes(let bytes):
            buffer += bytes
            if awaitsPreface {
                guard buffer.count >= RawFrame.preface.count else { return true }
                if !buffer.starts(with: RawFrame.preface) { faults.append("no preface") }
                buffer.removeFirst(RawFrame.preface.count)
                awaitsPreface = false
            }
            while let frame = RawFrame.take(from: &buffer) { receive(frame) }
        case .end(let end): ending = end
        case .timeout: return false
        }
        progressed()
        return ending == nil
    }

    /// Reads until `condition` holds; false if it did not in time.
    package func wait(
        within span: Duration = .seconds(3), until condition: () -> Bool
    ) -> Bool {
        let deadline = Instant.now().advanced(by: span)
        while !condition() {
            let left = deadline.nanoseconds(since: .now())
            guard left > 0, ending == nil else { return false }
            read(within: Duration(nanoseconds: left))
        }
        return true
    }

    /// Takes in what is there already.
    package func readAvailable() { while read(within: .zero) {} }

    /// The first frame for which `isWanted` holds, of those that came and come.
    package func frame(
        within span: Duration = .seconds(3), where isWanted: (RawFrame) -> Bool
    ) -> RawFrame? {
        var found: RawFrame?
        var looked = 0
        _ = wait(within: span) {
            found = frames[looked...].first(where: isWanted)
            looked = frames.count
            return found != nil
        }
        return found
    }

    /// True when the far side has answered a PING of ours: it has seen all that was sent before.
    package func isAlive(within span: Duration = .seconds(3)) -> Bool {
        pingCount += 1
        let content =
            Array("alive".utf8) + [0, UInt8(pingCount >> 8 & 0xFF), UInt8(pingCount & 0xFF)]
        guard (try? send(.ping(content))) != nil else { return false }
        return frame(within: span) {
            $0.kind == .ping && $0.has(.acknowledge) && $0.payload == content
        } != nil
    }

    private func receive(_ frame: RawFrame) {
        if frames.isEmpty, frame.kind != .settings || frame.has(.acknowledge) {
            faults.append("\(frame) before SETTINGS")
        }
        frames.append(frame)
        if frame.payload.count > RawFrame.payloadMax { faults.append("\(frame) is too long") }
        if let block, frame.kind != .continuation || frame.stream != block.stream {
            faults.append("\(frame) inside a field block")
        }
        switch frame.kind {
        case .data: receiveData(frame)
        case .headers, .continuation: receiveBlock(frame)
        case .settings: receiveSettings(frame)
        case .reset:
            guard let code = frame.code else { return faults.append("\(frame)") }
            if messages[frame.stream]?.isOver != true { completed.append(frame.stream) }
            messages[frame.stream, default: .init()].reset = code
        case .ping where !frame.has(.acknowledge):
            if answersPings { try? send(.ping(frame.payload, acknowledge: true)) }
        case .goAway: goAway = frame
        case .windowUpdate: receiveUpdate(frame)
        case .pushPromise: faults.append("\(frame)")
        default: break
        }
    }

    private func receiveData(_ frame: RawFrame) {
        let count = frame.payload.count
        receiveWindow -= count
        receiveWindows[frame.stream, default: receiveInitial] -= count
        if count > 0, receiveWindow < 0 || receiveWindows[frame.stream]! < 0 {
            faults.append("\(frame) is more than its window")
        }
        guard let content = frame.content else { return faults.append("padding of \(frame)") }
        guard var message = messages.removeValue(forKey: frame.stream), !message.fields.isEmpty
        else { return faults.append("\(frame) without a head") }
        if message.isEnded { faults.append("\(frame) behind the end") }
        message.body += content
        message.dataFrameCount += 1
        if frame.has(.endStream) {
            message.isEnded = true
            completed.append(frame.stream)
        }
        let isOver = message.isOver
        messages[frame.stream] = message
        guard returnsCredit, count > 0 else { return }
        var updates = [RawFrame.windowUpdate(0, UInt32(count))]
        if !isOver { updates.append(.windowUpdate(frame.stream, UInt32(count))) }
        try? send(updates)
    }

    private func receiveBlock(_ frame: RawFrame) {
        if frame.kind == .headers {
            guard let content = frame.content else { return faults.append("padding of \(frame)") }
            block = (frame.stream, content, frame.has(.endStream))
        } else if block == nil {
            return faults.append("\(frame) without HEADERS")
        } else {
            block!.bytes += frame.payload
        }
        guard frame.has(.endHeaders), let whole = block else { return }
        block = nil
        do {
            receiveFields(try inflater.decode(whole.bytes), whole.stream, end: whole.end)
        } catch {
            faults.append("stream \(whole.stream): \(error)")
        }
    }

    private func receiveFields(_ fields: [HTTP2Field], _ stream: UInt32, end: Bool) {
        var message = messages[stream] ?? HTTP2Message()
        if message.isEnded { faults.append("a head behind the end of stream \(stream)") }
        let isTrailer = !message.fields.isEmpty
        var pseudo: Set<String> =
            isServer ? [":method", ":scheme", ":path", ":authority"] : [":status"]
        if isServer { pseudo.insert(":protocol") }
        if let fault = HTTP2Message.fault(in: fields, allowed: isTrailer ? [] : pseudo) {
            faults.append("stream \(stream): \(fault)")
        }
        let status = fields.first { $0.name == ":status" }?.value ?? ""
        if isTrailer {
            message.trailers = fields
            if !end { faults.append("trailers of stream \(stream) do not end it") }
        } else if !isServer, status.hasPrefix("1"), status.count == 3 {
            message.interim.append(fields)
            if end { faults.append("an interim answer ends stream \(stream)") }
        } else {
            if !isServer, status.count != 3 { faults.append("stream \(stream): no :status") }
            message.fields = fields
        }
        if end {
            message.isEnded = true
            completed.append(stream)
        }
        messages[stream] = message
    }

    private func receiveSettings(_ frame: RawFrame) {
        if frame.has(.acknowledge) {
            guard !announced.isEmpty else { return faults.append("an ACK for nothing") }
            let ours = announced.removeFirst()
            if let size = ours[RawFrame.Setting.initialWindowSize] {
                let later = announced.compactMap { $0[RawFrame.Setting.initialWindowSize] }
                setReceiveInitial(later.reduce(size, max))
            }
            // From here on a block that does not begin with the new size is a fault.
            if let size = ours[RawFrame.Setting.headerTableSize] { inflater.limitTable(size) }
            return
        }
        for (key, value) in frame.settingValues {
            if key == RawFrame.Setting.initialWindowSize {
                let change = Int(value) - initialWindow
                for open in windows.keys { windows[open]! += change }
            }
            settings[key] = value
        }
        if acknowledgesSettings { try? send(.settingsAcknowledge) }
    }

    private func receiveUpdate(_ frame: RawFrame) {
        guard let increment = frame.increment, increment > 0 else {
            return faults.append("\(frame) by nothing")
        }
        if frame.stream == 0 {
            connectionWindow += increment
        } else {
            windows[frame.stream, default: initialWindow] += increment
        }
    }

    /// Drops what is known of streams that are over, and frames but the first: for connections that
    /// live long. Which frames came before is not to be asked then.
    package func forgetOver() {
        for (stream, message) in messages where message.isOver {
            messages[stream] = nil
            windows[stream] = nil
            receiveWindows[stream] = nil
        }
        completed = []
        if frames.count > 1 { frames.removeLast(frames.count - 1) }
    }

    // MARK: Ending

    /// FIN after close_notify.
    package func close() { stream.close() }
    package func finishSending() { stream.finishSending() }
    /// RST.
    package func abort() { stream.reset() }
}
