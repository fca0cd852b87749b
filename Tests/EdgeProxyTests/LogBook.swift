import EdgeTesting
import Foundation

@testable import EdgeProxy

/// An access log whose thread never runs: a test reads the lines from the buffer itself, at a
/// moment of its choice.
final class LogBook {
    let log: AccessLog
    let folder: TemporaryDirectory
    /// The half that comes next.
    private var next = 0

    init(
        bufferBytes: Int = 1 << 20, includesQuery: Bool = false,
        format: AccessLog.Format = .json, sample: Int = 1
    ) throws {
        folder = try TemporaryDirectory()
        log = try AccessLog(
            AccessLog.Settings(
                target: .file(folder.file("access.log")), format: format, sample: sample,
                bufferBytes: bufferBytes,
                includesQuery: includesQuery),
            workers: 1)
    }

    /// Everything logged so far, in its order; the buffer is empty then.
    func text(of bench: Bench) -> String {
        let older = take()
        bench.worker.accessLog.handOver()
        return older + take()
    }

    /// What the thread would write.
    private func take() -> String {
        let buffer = log.buffers[0]
        var text = ""
        while buffer.count(of: next) > 0 {
            let bytes = UnsafeRawBufferPointer(
                start: buffer.start(of: next), count: buffer.count(of: next))
            text += String(decoding: bytes, as: UTF8.self)
            buffer.free(next)
            next = 1 - next
        }
        return text
    }

    func lines(of bench: Bench) throws -> [[String: Any]] {
        try text(of: bench).split(separator: "\n").map { line in
            let value = try JSONSerialization.jsonObject(with: Data(line.utf8))
            guard let object = value as? [String: Any] else { throw KitError("no object: \(line)") }
            return object
        }
    }
}
