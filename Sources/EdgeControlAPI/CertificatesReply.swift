/// The answer to `GET /certificates`: every certificate that is served, and every file that is not
/// used as it is. Times are Unix seconds.
package struct CertificatesReply: WireValue {
    package var now: Int64
    /// Whether the kernel's clock is kept right, and which time counts if not.
    package var clock: String
    package var certificates: [CertificateRow]

    package init(now: Int64, clock: String, certificates: [CertificateRow]) {
        self.now = now
        self.clock = clock
        self.certificates = certificates
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        now = try reader.integer("now")
        clock = try reader.string("clock")
        certificates = try reader.list("certificates")
    }

    package var json: JSONValue {
        .object([
            .init("now", .integer(now)),
            .init("clock", .string(clock)),
            .init("certificates", .list(certificates)),
        ])
    }

    /// Those that a person should look at.
    package var findings: [CertificateRow] { certificates.filter(\.state.isFinding) }
}

/// One certificate, or one file that holds none that can be used.
package struct CertificateRow: WireValue {
    package enum State: String, Sendable, CaseIterable {
        case serving
        /// Its names have nothing better.
        case expired
        case notYetValid = "not_yet_valid"
        /// OpenSSL cannot use it.
        case unusable
        /// The file as it is now is not used; `isServed`: what it was before is.
        case quarantined
        /// As above, but it may only be unfinished.
        case waiting

        package var isFinding: Bool {
            switch self {
            case .serving, .waiting: false
            case .expired, .notYetValid, .unusable, .quarantined: true
            }
        }
    }

    package var file: String
    /// Whose folder it is in; empty: that of all views.
    package var view: String
    package var names: [String]
    /// `ecdsa`, `rsa`, `ed25519`, `other`; empty: there is no certificate.
    package var key: String
    package var notBefore: Int64
    package var notAfter: Int64
    package var state: State
    package var isServed: Bool
    /// Why it is not simply served.
    package var reason: String

    package init(
        file: String, view: String, names: [String] = [], key: String = "", notBefore: Int64 = 0,
        notAfter: Int64 = 0, state: State, isServed: Bool, reason: String = ""
    ) {
        self.file = file
        self.view = view
        self.names = names
        self.key = key
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.state = state
        self.isServed = isServed
        self.reason = reason
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        file = try reader.string("file")
        view = try reader.string("view")
        names = try reader.strings("names")
        key = try reader.string("key")
        notBefore = try reader.integer("not_before")
        notAfter = try reader.integer("not_after")
        state = try reader.word("state")
        isServed = try reader.bool("served")
        reason = try reader.string("reason")
    }

    package var json: JSONValue {
        .object([
            .init("file", .string(file)),
            .init("view", .string(view)),
            .init("names", .strings(names)),
            .init("key", .string(key)),
            .init("not_before", .integer(notBefore)),
            .init("not_after", .integer(notAfter)),
            .init("state", .string(state.rawValue)),
            .init("served", .bool(isServed)),
            .init("reason", .string(reason)),
        ])
    }
}
