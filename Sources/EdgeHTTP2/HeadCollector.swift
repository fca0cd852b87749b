internal import CEdge
internal import EdgeHTTP
internal import Glibc

/// Puts the fields of one header block together as the text of an HTTP/1.1 head, so that the one
/// strict parser judges what comes by either protocol, and nothing goes on that it has not seen:
/// a smuggled line end would have to pass nghttp2's checks and then be found to be one.
///
/// One per worker, used by one block at a time; a block that is cut by the end of what was received
/// is moved to its session (`suspend`, `resume`).
struct HeadCollector {
    enum Kind: UInt8 {
        case request, response, trailers
    }

    /// What is wrong with a block that nghttp2 let pass.
    enum Fault: UInt8 {
        case none
        /// More than may be kept; the rest is counted and dropped.
        case tooLarge
        /// RFC 9113 §8.1.1.
        case malformed
    }

    private(set) var stream: Int32 = 0
    private(set) var kind = Kind.request
    private(set) var fault = Fault.none
    /// Bytes as RFC 7541 §4.1 counts them.
    private var size = 0
    private var limit = 0
    /// `Transfer-Encoding` need not be made up.
    private(set) var hasLength = false
    private(set) var status: UInt16 = 0
    private var hasHost = false
    private var hasStart = false
    private(set) var isExtendedConnect = false
    /// Names of fields that came as never to be indexed.
    private(set) var neverIndexed = FieldNames()

    private let capacity: Int
    /// The text; pseudo fields wait in `pseudo` until the first line can be written.
    let text: UnsafeMutablePointer<UInt8>
    private(set) var count = 0
    private let pseudo: UnsafeMutablePointer<UInt8>
    private var pseudoCount = 0
    private var method = 0..<0
    private var path = 0..<0
    private var authority = 0..<0
    private var isConnect = false
    /// Crumbs, joined (RFC 9113 §8.2.3).
    private let cookies: UnsafeMutablePointer<UInt8>
    private var cookieCount = 0

    /// The largest head that can be configured, and what is written around its fields.
    static let textBytes = 1 << 20

    init(capacity: Int = Self.textBytes) {
        self.capacity = capacity
        text = .allocate(capacity: capacity)
        pseudo = .allocate(capacity: capacity)
        cookies = .allocate(capacity: capacity)
    }

    func deallocate() {
        text.deallocate()
        pseudo.deallocate()
        cookies.deallocate()
    }

    mutating func begin(_ stream: Int32, _ kind: Kind, limit: Int) {
        self.stream = stream
        self.kind = kind
        // Per field 32 bytes more are counted than kept, and what is added fits those.
        // A CONNECT's authority is written twice.
        self.limit = min(limit, capacity / 2 - 1024)
        fault = .none
        size = 0
        hasLength = false
        status = 0
        hasHost = false
        hasStart = kind == .trailers
        isExtendedConnect = false
        neverIndexed = FieldNames()
        isConnect = false
        count = 0
        pseudoCount = 0
        cookieCount = 0
        method = 0..<0
        path = 0..<0
        authority = 0..<0
    }

    mutating func end() { stream = 0 }

    /// One field, checked by nghttp2 (RFC 9113 §8.2, §8.3).
    // hot: once per field; two copies at most.
    ///
    /// - Parameter isSecret: RFC 7541 §7.1.3: it goes on only as it came.
    mutating func add(
        _ name: UnsafePointer<UInt8>, _ nameCount: Int, _ value: UnsafePointer<UInt8>,
        _ valueCount: Int, isSecret: Bool = false
    ) {
        if isSecret { neverIndexed.insert(UnsafeRawPointer(name), nameCount) }
        size += nameCount + valueCount + 32
        guard size <= limit else {
            fault = .tooLarge
            return
        }
        guard fault == .none else { return }
        if nameCount > 0, name[0] == UInt8(ascii: ":") {
            addPseudo(name, nameCount, value, valueCount)
            return
        }
        if !hasStart { writeStart() }
        switch nameCount {
        case 4 where kind == .request && isName(name, "host"):
            // `:authority` wins, and two different ones are nobody's (RFC 9113 §8.3.1).
            if !authority.isEmpty {
                let isSame =
                    valueCount == authority.count
                    && memcmp(pseudo + authority.lowerBound, value, valueCount) == 0
                if !isSame { fault = .malformed }
                return
            }
            if hasHost { fault = .malformed }
            hasHost = true
        case 6 where kind == .request && isName(name, "cookie"):
            addCookie(value, valueCount)
            return
        case 14 where isName(name, "content-length"): hasLength = true
        // Ours stands in for it (RFC 8441 §5).
        case 17 where isExtendedConnect && isName(name, "sec-websocket-key"): return
        default: break
        }
        put(name, nameCount)
        put(": ")
        put(value, valueCount)
        put("\r\n")
    }

    private mutating func addCookie(_ value: UnsafePointer<UInt8>, _ valueCount: Int) {
        if cookieCount > 0 {
            cookies[cookieCount] = UInt8(ascii: ";")
            cookies[cookieCount + 1] = UInt8(ascii: " ")
            cookieCount += 2
        }
        memcpy(cookies + cookieCount, value, valueCount)
        cookieCount += valueCount
    }

    private mutating func addPseudo(
        _ name: UnsafePointer<UInt8>, _ nameCount: Int, _ value: UnsafePointer<UInt8>,
        _ valueCount: Int
    ) {
        let start = pseudoCount
        memcpy(pseudo + start, value, valueCount)
        pseudoCount += valueCount
        let range = start..<pseudoCount
        switch nameCount {
        case 5: path = range
        case 10: authority = range
        case 9: isExtendedConnect = true
        case 7 where name[1] == UInt8(ascii: "m"):
            method = range
            isConnect = valueCount == 7 && memcmp(value, "CONNECT", 7) == 0
        case 7 where kind == .response:
            var number: UInt16 = 0
            for index in 0..<valueCount { number = number &* 10 &+ UInt16(value[index] & 15) }
            status = number
        case 7:
            let isKnown =
                (valueCount == 4 && memcmp(value, "http", 4) == 0)
                || (valueCount == 5 && memcmp(value, "https", 5) == 0)
            if !isKnown { fault = .malformed }
        default: break
        }
        if isExtendedConnect, nameCount == 9 {
            let isWebSocket = valueCount == 9 && memcmp(value, "websocket", 9) == 0
            // Another protocol than the one that we know (RFC 8441 §4).
            if !isWebSocket { fault = .malformed }
        }
    }

    /// The first line, once the pseudo fields are known; they come first (RFC 9113 §8.3).
    private mutating func writeStart() {
        hasStart = true
        switch kind {
        case .trailers: break
        case .response:
            put("HTTP/1.1 ")
            text[count] = UInt8(truncatingIfNeeded: 48 + status / 100)
            text[count + 1] = UInt8(truncatingIfNeeded: 48 + status / 10 % 10)
            text[count + 2] = UInt8(truncatingIfNeeded: 48 + status % 10)
            count += 3
            put(" \r\n")
        case .request:
            if isExtendedConnect {
                put("GET ")
                put(pseudo + path.lowerBound, path.count)
            } else if isConnect {
                put("CONNECT ")
                put(pseudo + authority.lowerBound, authority.count)
            } else {
                put(pseudo + method.lowerBound, method.count)
                put(" ")
                put(pseudo + path.lowerBound, path.count)
            }
            put(" HTTP/1.1\r\n")
            // Absolute-form is HTTP/1's (RFC 9113 §8.3.1).
            let isPath = !path.isEmpty && pseudo[path.lowerBound] == UInt8(ascii: "/")
            let isAsterisk = path.count == 1 && pseudo[path.lowerBound] == UInt8(ascii: "*")
            if !isConnect || isExtendedConnect, !isPath, !isAsterisk { fault = .malformed }
            if !authority.isEmpty {
                put("host: ")
                put(pseudo + authority.lowerBound, authority.count)
                put("\r\n")
            }
        }
    }

    /// The block is complete.
    ///
    /// - Parameters:
    ///   - isLast: no content follows (END_STREAM).
    ///   - hasNoContent: an answer without content whatever its fields say.
    ///   - key: what stands in for the client's Sec-WebSocket-Key (RFC 8441 §5.1): 24 bytes.
    mutating func finish(isLast: Bool, hasNoContent: Bool, key: Span<UInt8>) {
        guard fault == .none else { return }
        if !hasStart { writeStart() }
        if cookieCount > 0 {
            put("cookie: ")
            put(cookies, cookieCount)
            put("\r\n")
        }
        switch kind {
        case .trailers: break
        case .request:
            if isExtendedConnect {
                put("upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: ")
                for index in 0..<key.count { text[count + index] = key[index] }
                count += key.count
                put("\r\n")
            } else if !isLast, !hasLength {
                put("transfer-encoding: chunked\r\n")
            }
        case .response:
            if status >= 200, status != 204, status != 304, !hasLength, !hasNoContent {
                put(isLast ? "content-length: 0\r\n" : "transfer-encoding: chunked\r\n")
            }
        }
        put("\r\n")
    }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: text, count: count) }

    @inline(__always)
    private mutating func put(_ bytes: UnsafePointer<UInt8>, _ byteCount: Int) {
        memcpy(text + count, bytes, byteCount)
        count += byteCount
    }

    @inline(__always)
    private mutating func put(_ string: StaticString) {
        put(string.utf8Start, string.utf8CodeUnitCount)
    }

    @inline(__always)
    private func isName(_ name: UnsafePointer<UInt8>, _ text: StaticString) -> Bool {
        memcmp(name, text.utf8Start, text.utf8CodeUnitCount) == 0
    }
}

// MARK: - Blocks in several pieces

extension HeadCollector {
    /// Everything that a block which is not complete needs, but for its bytes.
    struct Suspended {
        fileprivate var stream: Int32
        fileprivate var kind: Kind
        fileprivate var fault: Fault
        fileprivate var size: Int
        fileprivate var limit: Int
        fileprivate var hasLength: Bool
        fileprivate var status: UInt16
        fileprivate var hasHost: Bool
        fileprivate var hasStart: Bool
        fileprivate var isExtendedConnect: Bool
        fileprivate var neverIndexed: FieldNames
        fileprivate var isConnect: Bool
        fileprivate var count: Int
        fileprivate var pseudoCount: Int
        fileprivate var cookieCount: Int
        fileprivate var method: Range<Int>
        fileprivate var path: Range<Int>
        fileprivate var authority: Range<Int>
        fileprivate var bytes: UnsafeMutablePointer<UInt8>

        func free() { bytes.deallocate() }

        var byteCount: Int { count + pseudoCount + cookieCount }
    }

    /// Copies what there is of the block; another may begin.
    mutating func suspend() -> Suspended {
        let all = UnsafeMutablePointer<UInt8>.allocate(
            capacity: max(count + pseudoCount + cookieCount, 1))
        memcpy(all, text, count)
        memcpy(all + count, pseudo, pseudoCount)
        memcpy(all + count + pseudoCount, cookies, cookieCount)
        defer { stream = 0 }
        return Suspended(
            stream: stream, kind: kind, fault: fault, size: size, limit: limit,
            hasLength: hasLength, status: status, hasHost: hasHost, hasStart: hasStart,
            isExtendedConnect: isExtendedConnect, neverIndexed: neverIndexed,
            isConnect: isConnect, count: count,
            pseudoCount: pseudoCount, cookieCount: cookieCount, method: method, path: path,
            authority: authority, bytes: all)
    }

    /// Goes on with a block; frees the copy.
    mutating func resume(_ block: Suspended) {
        stream = block.stream
        kind = block.kind
        fault = block.fault
        size = block.size
        limit = block.limit
        hasLength = block.hasLength
        status = block.status
        hasHost = block.hasHost
        hasStart = block.hasStart
        isExtendedConnect = block.isExtendedConnect
        neverIndexed = block.neverIndexed
        isConnect = block.isConnect
        count = block.count
        pseudoCount = block.pseudoCount
        cookieCount = block.cookieCount
        method = block.method
        path = block.path
        authority = block.authority
        memcpy(text, block.bytes, count)
        memcpy(pseudo, block.bytes + count, pseudoCount)
        memcpy(cookies, block.bytes + count + pseudoCount, cookieCount)
        block.free()
    }
}
