internal import EdgeCore
internal import EdgeHTTP
internal import Glibc

/// A worker's part of the access log: the records of its exchanges, and the half of the buffer that
/// it fills. Nothing of it is touched while the log is off.
final class AccessLogStage {
    private(set) var isOn = false
    private var includesQuery = false
    private var sample = 1
    /// Requests that went well since the last line of one.
    private var skipped = 0
    private var log: AccessLog?
    private var buffer: AccessLogBuffer?
    /// The half that is being filled.
    private var index = 0
    private var start: UnsafeMutableRawPointer?
    private var count = 0
    private var half = 0

    var format = AccessLogFormat()
    private let slots: ReservedArray<AccessSlot>
    /// The record for lines that have no exchange.
    let spare: Int

    /// - Returns: nil if the address space can't be had.
    init?(exchanges: Int) {
        guard let slots = ReservedArray<AccessSlot>(capacity: exchanges + 1) else { return nil }
        self.slots = slots
        spare = exchanges
    }

    func record(_ exchange: Int) -> UnsafeMutablePointer<AccessRecord> {
        UnsafeMutableRawPointer(slots[exchange]).assumingMemoryBound(to: AccessRecord.self)
    }

    private func text(_ exchange: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(slots[exchange]) + MemoryLayout<AccessRecord>.size
    }

    // MARK: - On and off

    /// From now on lines go to `log`; what was put together for another is handed over.
    func use(_ log: AccessLog?, buffer number: Int) {
        guard log !== self.log else { return }
        leave()
        guard let log else { return }
        let buffer = log.buffers[number]
        self.log = log
        self.buffer = buffer
        includesQuery = log.settings.includesQuery
        sample = log.settings.sample
        skipped = 0
        format.kind = log.settings.format
        index = 0
        count = 0
        half = buffer.half
        start = buffer.start(of: 0)
        isOn = true
    }

    /// Hands over what there is, for good.
    func leave() {
        guard let log, let buffer else { return }
        // The half is this worker's, whatever has become of the other.
        if count > 0 { buffer.publish(index, count: count) }
        buffer.leave()
        log.notify()
        isOn = false
        self.log = nil
        self.buffer = nil
        start = nil
        count = 0
    }

    // MARK: - Lines

    /// Whether a request that went well has its line: one in `sample` has.
    func takesSample() -> Bool {
        guard sample > 1 else { return true }
        skipped += 1
        guard skipped >= sample else { return false }
        skipped = 0
        return true
    }

    /// Appends a line, or drops it.
    ///
    /// - Returns: false if there was no room.
    // hot: once per request; no allocation, and a system call only when the half is half full.
    func append(_ line: AccessLine, _ exchange: Int) -> Bool {
        guard let start else { return true }
        let record = UnsafePointer(record(exchange))
        if half - count < format.room(record) {
            guard handOver(), let next = self.start else {
                buffer?.addDropped()
                return false
            }
            count = format.write(line, record, text(exchange), to: next)
            return true
        }
        count += format.write(line, record, text(exchange), to: start + count)
        if count >= half / 2 { _ = handOver() }
        return true
    }

    /// Gives the half to the writer if the other one is free.
    @discardableResult
    func handOver() -> Bool {
        guard count > 0, let log, let buffer, buffer.isFree(1 - index) else { return false }
        buffer.publish(index, count: count)
        index = 1 - index
        start = buffer.start(of: index)
        count = 0
        log.notify()
        return true
    }

    /// Lines that the writer could not write, since this was last asked.
    func takeLost() -> Int { buffer?.takeLost() ?? 0 }

    // MARK: - Texts

    /// Keeps what a line needs of a request's head.
    ///
    /// - Parameter name: SNI; nil: none.
    // hot: once per request; copies the host, the path and, where it is another, the name.
    func keep(
        _ exchange: Int, _ request: borrowing RequestHead, _ head: Span<UInt8>,
        tlsVersion: UInt16, name: UnsafeRawBufferPointer?, number: UInt32
    ) {
        let record = record(exchange)
        record.pointee = .empty
        record.pointee.tlsVersion = tlsVersion
        record.pointee.number = number
        record.pointee.version = 10 + request.versionMinor
        let start = text(exchange)
        head.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var used = 0
            func take(_ range: Range<Int>, _ most: Int) -> UInt16 {
                let count = min(range.count, most)
                if count < range.count { record.pointee.isTruncated = true }
                (start + used).copyMemory(from: base + range.lowerBound, byteCount: count)
                used += count
                return UInt16(count)
            }
            record.pointee.methodCount = take(request.methodRange.indices, AccessText.methodMax)
            record.pointee.hostCount = take(request.host.indices, AccessText.hostMax)
            if request.isAsterisk {
                (start + used).storeBytes(of: UInt8(ascii: "*"), as: UInt8.self)
                used += 1
                record.pointee.pathCount = 1
            } else {
                record.pointee.pathCount = take(
                    path(base, request.target.indices), AccessText.pathMax)
            }
        }
        if let name { keep(name, record, start) }
    }

    /// Keeps SNI in a record that may have a host already.
    private func keep(
        _ name: UnsafeRawBufferPointer, _ record: UnsafeMutablePointer<AccessRecord>,
        _ start: UnsafeMutableRawPointer
    ) {
        let count = min(name.count, AccessText.nameMax)
        guard count > 0, let first = name.baseAddress else { return }
        let host = Int(record.pointee.hostCount)
        if host == count, memcmp(start + Int(record.pointee.methodCount), first, count) == 0 {
            record.pointee.isNameHost = true
            return
        }
        (start + record.pointee.textCount).copyMemory(from: first, byteCount: count)
        record.pointee.nameCount = UInt16(count)
    }

    /// Keeps what is known of a connection whose bytes are passed on.
    func keep(_ exchange: Int, name: UnsafeRawBufferPointer) {
        let record = record(exchange)
        record.pointee = .empty
        keep(name, record, text(exchange))
    }

    /// Fills the spare record for a line that has no request.
    func keepSpare(tlsVersion: UInt16, name: UnsafeRawBufferPointer?, number: UInt32) {
        let record = record(spare)
        record.pointee = .empty
        record.pointee.tlsVersion = tlsVersion
        record.pointee.number = number
        if let name { keep(name, record, text(spare)) }
    }

    /// The target, without its query unless that is wanted.
    private func path(_ base: UnsafeRawPointer, _ target: Range<Int>) -> Range<Int> {
        guard !includesQuery else { return target }
        for index in target
        where base.load(fromByteOffset: index, as: UInt8.self) == UInt8(ascii: "?") {
            return target.lowerBound..<index
        }
        return target
    }
}
