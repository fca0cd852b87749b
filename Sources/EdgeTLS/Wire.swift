internal import CEdge

/// Where OpenSSL reads and writes ciphertext: a view of the received bytes on one side, a scratch
/// buffer on the other. One per worker, shared by all its sessions: a session touches it only while
/// one of its functions runs, and the worker empties both sides before the next one does.
package final class Wire {
    /// Bytes of ciphertext that one step may produce before it must be flushed.
    package static let outCapacity = 96 * 1024

    struct View {
        var input: UnsafeRawPointer?
        var inputCount: Int
        var output: UnsafeMutableRawPointer
        var outputCount: Int
        var outputCapacity: Int
        /// Handshake messages that came since this was last asked: key updates, tickets.
        var handshakeMessages: Int
    }

    let view: UnsafeMutablePointer<View>
    let method: OpaquePointer
    /// The scratch that output goes to unless it is redirected.
    private let own: UnsafeMutableRawPointer

    package init?() {
        guard let method = Wire.makeMethod() else { return nil }
        self.method = method
        view = .allocate(capacity: 1)
        view.initialize(
            to: View(
                input: nil, inputCount: 0,
                output: .allocate(byteCount: Wire.outCapacity, alignment: 64),
                outputCount: 0, outputCapacity: Wire.outCapacity, handshakeMessages: 0))
        own = view.pointee.output
    }

    deinit {
        own.deallocate()
        view.deallocate()
        BIO_meth_free(method)
    }

    /// Offers received ciphertext to the next step; it must stay until `takeInput`.
    package func offer(_ bytes: UnsafeRawPointer, count: Int) {
        view.pointee.input = bytes
        view.pointee.inputCount = count
    }

    /// Ciphertext not yet read by OpenSSL; the view is empty afterwards.
    package func takeInput() -> (bytes: UnsafeRawPointer?, count: Int) {
        let rest = (view.pointee.input, view.pointee.inputCount)
        view.pointee.input = nil
        view.pointee.inputCount = 0
        return rest
    }

    package var hasInput: Bool { view.pointee.inputCount > 0 }

    /// Ciphertext to be sent; valid until the next step.
    package var output: UnsafeRawPointer { UnsafeRawPointer(view.pointee.output) }
    package var outputCount: Int { view.pointee.outputCount }
    /// What is to be sent begins with a HelloRetryRequest: a ServerHello whose random is the
    /// SHA-256 of that name (RFC 8446 §4.1.3).
    package var outputIsHelloRetry: Bool {
        // Behind the headers of record and message, and the version.
        let offset = 11
        guard outputCount >= offset + 32, output.load(as: UInt8.self) == 22,
            output.load(fromByteOffset: 5, as: UInt8.self) == 2
        else { return false }
        let words: [4 of UInt64] = [
            0xCF21_AD74_E59A_6111, 0xBE1D_8C02_1E65_B891, 0xC2A2_1116_7ABB_8C5E,
            0x079E_09E2_C8A8_339C,
        ]
        for index in 0..<4 {
            let word = output.loadUnaligned(
                fromByteOffset: offset + 8 * index, as: UInt64.self)
            guard UInt64(bigEndian: word) == words[index] else { return false }
        }
        return true
    }
    /// Bytes that still fit.
    package var outputRoom: Int { view.pointee.outputCapacity - view.pointee.outputCount }
    package func clearOutput() { view.pointee.outputCount = 0 }

    /// Puts ciphertext into the caller's memory until `endRedirection`. The wire's output is empty
    /// before.
    package func redirectOutput(to memory: UnsafeMutableRawPointer, capacity: Int) {
        view.pointee.output = memory
        view.pointee.outputCount = 0
        view.pointee.outputCapacity = capacity
    }

    /// - Returns: bytes put into the caller's memory.
    package func endRedirection() -> Int {
        defer {
            view.pointee.output = own
            view.pointee.outputCount = 0
            view.pointee.outputCapacity = Wire.outCapacity
        }
        return view.pointee.outputCount
    }

    /// Handshake messages received since the last call, whatever session they were for.
    package func takeHandshakeMessages() -> Int {
        let count = view.pointee.handshakeMessages
        view.pointee.handshakeMessages = 0
        return count
    }

    /// OpenSSL's message callback: counts what a peer makes us work for without sending data.
    static func countMessages(in context: OpaquePointer) {
        SSL_CTX_set_msg_callback(context) { isOurs, _, type, _, _, session, _ in
            guard isOurs == 0, type == SSL3_RT_HANDSHAKE, let session,
                let bio = SSL_get_rbio(session),
                let view = BIO_get_data(bio)?.assumingMemoryBound(to: View.self)
            else { return }
            view.pointee.handshakeMessages += 1
        }
    }

    /// A BIO for one session. OpenSSL frees it with the session.
    func makeBIO() -> OpaquePointer? {
        guard let bio = BIO_new(method) else { return nil }
        BIO_set_data(bio, view)
        BIO_set_init(bio, 1)
        return bio
    }

    private static func makeMethod() -> OpaquePointer? {
        guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire")
        else { return nil }
        BIO_meth_set_read_ex(method) { bio, data, size, done in
            guard let bio, let data, let done,
                let view = BIO_get_data(bio)?.assumingMemoryBound(to: View.self)
            else { return 0 }
            ce_bio_clear_retry(bio)
            let count = min(size, view.pointee.inputCount)
            guard count > 0, let input = view.pointee.input else {
                ce_bio_set_retry(bio, CE_BIO_READ)
                done.pointee = 0
                return 0
            }
            UnsafeMutableRawPointer(data).copyMemory(from: input, byteCount: count)
            view.pointee.input = input + count
            view.pointee.inputCount -= count
            done.pointee = count
            return 1
        }
        BIO_meth_set_write_ex(method) { bio, data, size, done in
            guard let bio, let data, let done,
                let view = BIO_get_data(bio)?.assumingMemoryBound(to: View.self)
            else { return 0 }
            ce_bio_clear_retry(bio)
            let count = min(size, view.pointee.outputCapacity - view.pointee.outputCount)
            guard count > 0 else {
                ce_bio_set_retry(bio, CE_BIO_WRITE)
                done.pointee = 0
                return 0
            }
            (view.pointee.output + view.pointee.outputCount)
                .copyMemory(from: data, byteCount: count)
            view.pointee.outputCount += count
            done.pointee = count
            return 1
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
        return method
    }
}
