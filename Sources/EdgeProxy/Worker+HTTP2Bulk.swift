internal import EdgeCore
internal import EdgeHTTP2
internal import EdgeTLS

/// Bulk over HTTP/2 without copies: content is encrypted where it was received. The nine bytes of a
/// frame's header go in front of its content, over bytes that have gone already.
extension Worker {
    /// Content from which on that is worth a flush of its own.
    static let directContentMin = 32 * 1024
    /// Content of a frame that fits a TLS record with its header.
    static let directFrameBytes = 16 * 1024 - 9
    /// What a record adds at most, and what the session itself may have to say.
    private static let recordBytes = 17 * 1024

    /// Content that a stream's session may take from where it lies.
    struct DirectContent {
        var slot: Int32
        var start: UnsafeMutableRawPointer
        var count: Int
    }

    /// Sends as much of the content as windows and socket let go.
    ///
    /// - Returns: bytes that have gone.
    func sendDirectly(_ slot: Int, _ bytes: UnsafeRawPointer, count: Int) -> Int {
        let connection = Int(stream(slot).pointee.connection)
        let channel = channels[connection]
        guard direct == nil, channels[slot].pointee.output.isEmpty,
            let start = writable(bytes), let session = channel.pointee.http2, !session.isBusy,
            let wire = channel.pointee.session, !wire.hasSmallRecords,
            channel.pointee.phase == .established, channel.pointee.output.isEmpty,
            channel.pointee.flags.isDisjoint(with: [.owesTicket, .broken, .tlsFailed])
        else { return 0 }
        flushStage()
        guard channel.pointee.output.isEmpty else { return 0 }
        let piece = min(count, chunks.roundMax(count))
        guard
            let chunk = chunks.take(
                piece + (piece / Worker.directFrameBytes + 1) * 64 + 2 * Worker.recordBytes)
        else { return 0 }
        engine.wire.redirectOutput(to: chunk.bytes, capacity: Int(chunk.pointee.capacity))
        direct = DirectContent(slot: Int32(slot), start: start, count: count)
        if stream(slot).pointee.flags.contains(.deferred) {
            stream(slot).pointee.flags.remove(.deferred)
            session.resume(stream(slot).pointee.id)
        }
        while hasDirectRoom(chunk), let bytes = session.output(), let first = bytes.baseAddress {
            writeRecord(connection, wire, first, count: bytes.count)
        }
        let left = direct?.count ?? 0
        direct = nil
        chunk.pointee.end = Int32(engine.wire.endRedirection())
        sendChunk(connection, chunk)
        if !channel.pointee.flags.contains(.broken) { touchHTTP2(connection) }
        return count - left
    }

    /// The same memory, if it is one of the worker's own with room in front.
    private func writable(_ bytes: UnsafeRawPointer) -> UnsafeMutableRawPointer? {
        let inRounds = bytes - UnsafeRawPointer(rounds)
        if inRounds >= Worker.headRoom,
            inRounds < Worker.headRoom + Worker.roundBytes(Worker.receiveLevelMax)
        {
            return rounds + inRounds
        }
        let inScratch = bytes - UnsafeRawPointer(scratch)
        if inScratch >= Worker.headRoom, inScratch < Worker.headRoom + Worker.scratchBytes {
            return scratch + inScratch
        }
        return nil
    }

    private func hasDirectRoom(_ chunk: ChunkPointer) -> Bool {
        Int(chunk.pointee.capacity) - engine.wire.outputCount >= 2 * Worker.recordBytes
    }

    private func writeRecord(
        _ connection: Int, _ wire: TLSSession, _ bytes: UnsafeRawPointer, count: Int
    ) {
        guard wire.write(bytes, count: count) != .done else { return }
        _ = TLSFailure.takeErrorText()
        markBroken(connection, .clientTLSError)
    }

    /// A frame of content while a connection is sent to directly.
    ///
    /// - Returns: false if there is no room.
    func writeDirectFrame(
        _ connection: Int, _ slot: Int, _ header: UnsafePointer<UInt8>, _ count: Int
    ) -> Bool {
        guard let wire = channels[connection].pointee.session,
            engine.wire.outputRoom >= count + Worker.recordBytes,
            !channels[connection].pointee.flags.contains(.broken)
        else { return false }
        if let content = direct, content.slot == Int32(slot), count > 0 {
            (content.start - 9).copyMemory(from: header, byteCount: 9)
            writeRecord(connection, wire, content.start - 9, count: 9 + count)
            direct?.start += count
            direct?.count -= count
            channels[slot].pointee.pace.moved &+= count
            return true
        }
        stage.copyMemory(from: header, byteCount: 9)
        if let chunk = channels[slot].pointee.output.first, count > 0 {
            (stage + 9).copyMemory(from: chunk.waiting, byteCount: count)
            consumeOutput(slot, count)
        }
        writeRecord(connection, wire, stage, count: 9 + count)
        return true
    }
}
