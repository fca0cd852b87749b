/// What is wrong with a file of certificates, keys or revocations; it is not used.
package struct CertificateProblem: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kind, for counters and for what is done about it.
    package enum Cause: String, Sendable, CaseIterable {
        /// A folder that cannot be read, or holds nothing.
        case folder
        case unreadable
        /// Others may read the key.
        case mode
        /// A block without its end: still being written, or cut off.
        case unfinished
        case damaged
        case noCertificate = "no_certificate"
        case noKey = "no_key"
        case encryptedKey = "encrypted_key"
        /// The key is another certificate's.
        case mismatch
        case noName = "no_name"
        /// The certificates beside it did not issue it.
        case chain
        /// A key or a signature that can be forged.
        case weak
        case expired
        case notYetValid = "not_yet_valid"
        /// A host that is served would be left without a certificate, or without its issuers.
        case uncovered
        /// OpenSSL says no.
        case unusable
        /// Trusted authorities, or what they have revoked.
        case authority
    }

    package let cause: Cause
    package let file: String
    /// Counted from 1; nil: the file as a whole.
    package let line: Int?
    package let reason: String
    package let hint: String

    package init(_ cause: Cause, file: String, line: Int? = nil, reason: String, hint: String) {
        self.cause = cause
        self.file = file
        self.line = line
        self.reason = reason
        self.hint = hint
    }

    package var description: String {
        "\(file)\(line.map { ":\($0)" } ?? ""): \(reason) (\(hint))"
    }

    /// Whether it may be no mistake but a file that is being written, or whose other half has not
    /// come yet.
    package var mayBeUnfinished: Bool {
        switch cause {
        case .unreadable, .unfinished, .noCertificate, .noKey, .mismatch, .authority: true
        case .folder, .mode, .damaged, .encryptedKey, .noName, .chain, .weak, .expired,
            .notYetValid, .uncovered, .unusable:
            false
        }
    }

    /// Whether time alone may end it.
    var isOfDate: Bool {
        switch cause {
        case .expired, .notYetValid: true
        case .folder, .unreadable, .mode, .unfinished, .damaged, .noCertificate, .noKey,
            .encryptedKey, .mismatch, .noName, .chain, .weak, .uncovered, .unusable, .authority:
            false
        }
    }
}

/// Everything that is wrong with a certificate folder.
package struct CertificateFolderError: Error, Equatable {
    package let problems: [CertificateProblem]
}
