internal import CEdge
internal import EdgeCore

/// The ticket keys of one worker, ready for use: AES-256-CBC and HMAC-SHA-256, fetched once from
/// the worker's own library context.
final class TicketKeys {
    /// What a ticket's name led to.
    enum Found {
        case newest, older, unknown
    }

    private let library: OpaquePointer
    private let cipher: OpaquePointer
    /// `digest=SHA256`, for every MAC.
    private let parameters: UnsafeMutablePointer<OSSL_PARAM>
    /// Newest first; room for `TicketKeyRing.keysMax`.
    private let keys: UnsafeMutablePointer<TicketKey>
    private var count = 0
    /// OSSL_MAC_PARAM_DIGEST, and its value.
    private static let name: StaticString = "digest"
    private static let digest: StaticString = "SHA256"

    init(library: OpaquePointer) throws(TLSFailure) {
        guard let cipher = EVP_CIPHER_fetch(library, "AES-256-CBC", nil) else {
            throw .library("EVP_CIPHER_fetch")
        }
        self.library = library
        self.cipher = cipher
        keys = .allocate(capacity: TicketKeyRing.keysMax)
        parameters = .allocate(capacity: 2)
        // OpenSSL only reads the texts, which live as long as the program.
        (parameters + 0).initialize(
            to: OSSL_PARAM_construct_utf8_string(
                UnsafeRawPointer(Self.name.utf8Start).assumingMemoryBound(to: CChar.self),
                UnsafeMutableRawPointer(mutating: Self.digest.utf8Start)
                    .assumingMemoryBound(to: CChar.self), 0))
        (parameters + 1).initialize(to: OSSL_PARAM_construct_end())
    }

    deinit {
        wipe()
        keys.deallocate()
        parameters.deallocate()
        EVP_CIPHER_free(cipher)
    }

    private func wipe() {
        OPENSSL_cleanse(keys, TicketKeyRing.keysMax * MemoryLayout<TicketKey>.stride)
        count = 0
    }

    /// - Parameter fresh: newest first.
    func replace(_ fresh: [TicketKey]) {
        wipe()
        count = min(fresh.count, TicketKeyRing.keysMax)
        for index in 0..<count { (keys + index).initialize(to: fresh[index]) }
    }

    /// Prepares both contexts for a new ticket under the newest key.
    ///
    /// - Parameters:
    ///   - name: 16 bytes for the key's id. - vector: 16 bytes for the initialisation vector.
    /// - Returns: OpenSSL's word for it: 1, 0 without a key (no ticket is made), -1 on failure.
    func seal(
        _ name: UnsafeMutablePointer<UInt8>, _ vector: UnsafeMutablePointer<UInt8>,
        _ encryption: OpaquePointer, _ mac: OpaquePointer
    ) -> Int32 {
        guard count > 0 else { return 0 }
        withUnsafeBytes(of: keys[0].id) {
            UnsafeMutableRawBufferPointer(start: name, count: 16).copyMemory(from: $0)
        }
        guard RAND_bytes_ex(library, vector, 16, 0) == 1 else { return -1 }
        return withUnsafeBytes(of: &keys[0].cipherKey) { bytes in
            EVP_EncryptInit_ex2(
                encryption, cipher, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
                vector, nil)
        } == 1 && start(mac, 0) ? 1 : -1
    }

    /// Prepares both contexts for opening a ticket.
    func open(
        _ name: UnsafePointer<UInt8>, _ vector: UnsafePointer<UInt8>,
        _ decryption: OpaquePointer, _ mac: OpaquePointer
    ) -> Found {
        for index in 0..<count {
            let asked = UnsafeRawBufferPointer(start: name, count: 16)
            guard withUnsafeBytes(of: keys[index].id, { $0.elementsEqual(asked) }) else {
                continue
            }
            let isReady =
                withUnsafeBytes(of: &keys[index].cipherKey) { bytes in
                    EVP_DecryptInit_ex2(
                        decryption, cipher,
                        bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), vector, nil)
                } == 1 && start(mac, index)
            guard isReady else {
                ERR_clear_error()
                return .unknown
            }
            return index == 0 ? .newest : .older
        }
        return .unknown
    }

    private func start(_ mac: OpaquePointer, _ index: Int) -> Bool {
        withUnsafeBytes(of: &keys[index].macKey) { bytes in
            EVP_MAC_init(
                mac, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), 32, parameters)
        } == 1
    }
}
