internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeHTTP
internal import EdgeProxy
internal import EdgeSystem
internal import EdgeTLS
internal import EdgeUpstream

/// A configuration with everything it names read and checked: certificates, CAs, error pages. What
/// a reload prepares before anything changes. The access log's file is opened, and made if there is
/// none; nothing is written to it before it is used.
struct Preparation {
    let configuration: Configuration
    let warnings: [String]
    /// Of all views.
    let certificates: CertificateStore
    /// A view's own, by its name; none for a view without a folder.
    let viewCertificates: [String: CertificateStore]
    /// By CA file; the system's store and "not verified" need no file.
    let trusts: [String: ClientTrust]
    /// The same of clients.
    let clientTrusts: [String: ClientTrust]
    /// Certificates that are shown to upstreams.
    let identities: [UpstreamConfiguration.TLS.Identity: ClientIdentity]
    let errorPages: ErrorPages
    /// A number that tells two configurations apart (FNV-1a of all files' bytes).
    let fingerprint: UInt64
    let byteCount: Int
    let path: String
    /// The files' bytes.
    let bundle: ConfigurationBundle
    /// Nil: requests are not logged, or this was a check.
    let accessLog: AccessLog?

    /// Everything that is wrong, a line each.
    struct Refusal: Error {
        let diagnostics: [String]
    }

    /// - Parameters:
    ///   - previous: what is in use; unchanged certificates and CAs are taken from it, so that
    ///     workers keep what they have parsed; so are a configuration of the same bytes and the
    ///     access log.
    ///   - workers: whose lines the access log gets; nil: a check, which makes no file.
    ///   - parsed: the configuration of `bundle`, if it is known.
    ///   - checking: which certificates OpenSSL parses before they are used.
    static func prepare(
        _ bundle: ConfigurationBundle, previous: Preparation?, workers: Int?,
        parsed: (Configuration, warnings: [Diagnostic])? = nil,
        checking: CertificateFolder.Checking = .upTo(CertificateFolder.checkedMax)
    ) throws(Refusal) -> Preparation {
        let (fingerprint, byteCount) = fingerprint(bundle)
        let configuration: Configuration
        let warnings: [String]
        if let previous, previous.fingerprint == fingerprint, previous.byteCount == byteCount {
            configuration = previous.configuration
            warnings = previous.warnings
        } else {
            do throws(ConfigError) {
                let loaded: (Configuration, warnings: [Diagnostic])
                if let parsed { loaded = parsed } else { loaded = try Configuration.load(bundle) }
                configuration = loaded.0
                warnings = loaded.warnings.map(\.description)
            } catch {
                throw Refusal(diagnostics: error.diagnostics.map(\.description))
            }
        }
        var diagnostics: [String] = []
        let views = viewCertificates(configuration, previous, checking, &diagnostics)
        let store = certificates(configuration, views, previous, checking, &diagnostics)
        let trusts = authorities(configuration, previous, &diagnostics)
        let clientTrusts = clientAuthorities(configuration, previous, &diagnostics)
        let identities = identities(configuration, previous, &diagnostics)
        checkTokens(configuration, &diagnostics)
        let pages = errorPages(configuration, &diagnostics)
        guard diagnostics.isEmpty, let store else { throw Refusal(diagnostics: diagnostics) }
        let accessLog = try accessLog(configuration, previous, workers)
        return Preparation(
            configuration: configuration, warnings: warnings, certificates: store,
            viewCertificates: views, trusts: trusts, clientTrusts: clientTrusts,
            identities: identities, errorPages: pages, fingerprint: fingerprint,
            byteCount: byteCount, path: bundle.main.path, bundle: bundle,
            accessLog: accessLog)
    }

    /// What is in `certs/<view>/`.
    private static func viewCertificates(
        _ configuration: Configuration, _ previous: Preparation?,
        _ checking: CertificateFolder.Checking, _ diagnostics: inout [String]
    ) -> [String: CertificateStore] {
        guard let settings = configuration.certificates else { return [:] }
        var result: [String: CertificateStore] = [:]
        for view in configuration.views where !view.name.isEmpty {
            do throws(CertificateFolderError) {
                let store = try CertificateFolder.load(
                    settings.directory + "/" + view.name, allowsEmpty: true,
                    previous: previous?.viewCertificates[view.name], checking: checking)
                if !store.entries.isEmpty { result[view.name] = store }
            } catch {
                diagnostics += error.problems.map(\.description)
            }
        }
        return result
    }

    private static func certificates(
        _ configuration: Configuration, _ views: [String: CertificateStore],
        _ previous: Preparation?, _ checking: CertificateFolder.Checking,
        _ diagnostics: inout [String]
    ) -> CertificateStore? {
        guard let settings = configuration.certificates else {
            return CertificateStore(entries: [])
        }
        do throws(CertificateFolderError) {
            let store = try CertificateFolder.load(
                settings.directory, allowsEmpty: !views.isEmpty,
                previous: previous?.certificates, checking: checking)
            let stores = [store] + views.values
            if let fallback = settings.fallback,
                stores.allSatisfy({ $0.matches(for: fallback).isEmpty })
            {
                diagnostics.append(
                    "certificates.default: no certificate in \(settings.directory) covers "
                        + "'\(fallback)'")
                return nil
            }
            return store
        } catch {
            diagnostics += error.problems.map(\.description)
            return nil
        }
    }

    /// Of every folder, in no particular order.
    var certificateEntries: [CertificateEntry] { stores.flatMap(\.entries) }

    /// Every folder's.
    private var stores: [CertificateStore] {
        [certificates] + viewCertificates.sorted { $0.key < $1.key }.map(\.value)
    }

    /// How upstreams prove who they are: to traffic, and to checks that differ from it.
    private static func proofs(
        _ configuration: Configuration
    ) -> [(upstream: UpstreamConfiguration, tls: UpstreamConfiguration.TLS)] {
        configuration.upstreams.flatMap { upstream in
            [upstream.tls, upstream.health?.tls].compactMap { $0 }.map { (upstream, $0) }
        }
    }

    private static func authorities(
        _ configuration: Configuration, _ previous: Preparation?, _ diagnostics: inout [String]
    ) -> [String: ClientTrust] {
        var trusts: [String: ClientTrust] = [:]
        for (upstream, tls) in proofs(configuration) {
            guard let file = tls.authorityFile, trusts[file] == nil else { continue }
            do throws(TLSFailure) {
                let trust = try ClientTrust.load(file)
                if let known = previous?.trusts[file], known.isEquivalent(to: trust) {
                    trusts[file] = known
                } else {
                    trusts[file] = trust
                }
            } catch {
                diagnostics.append("upstream \(upstream.name): \(error)")
            }
        }
        return trusts
    }

    /// Who vouches for clients, from `client_certificates` of views and sites.
    private static func clientAuthorities(
        _ configuration: Configuration, _ previous: Preparation?, _ diagnostics: inout [String]
    ) -> [String: ClientTrust] {
        var trusts: [String: ClientTrust] = [:]
        let settings =
            configuration.views.compactMap(\.clientCertificates)
            + configuration.sites.compactMap(\.clientCertificates)
        for file in settings.map(\.authorities) where trusts[file] == nil {
            do throws(TLSFailure) {
                let trust = try ClientTrust.load(file)
                let known = previous?.clientTrusts[file]
                trusts[file] = known?.isEquivalent(to: trust) == true ? known : trust
            } catch {
                diagnostics.append("client_certificates: \(error)")
            }
        }
        return trusts
    }

    private static func accessLog(
        _ configuration: Configuration, _ previous: Preparation?, _ workers: Int?
    ) throws(Refusal) -> AccessLog? {
        guard let wanted = configuration.accessLog else { return nil }
        let settings = AccessLog.Settings(
            target: wanted.path.map(AccessLogFile.Target.file) ?? .standardOutput,
            format: wanted.format == .httplog ? .httplog : .json, sample: wanted.sample,
            bufferBytes: wanted.bufferBytes, includesQuery: wanted.includesQuery)
        if let known = previous?.accessLog, known.settings == settings { return known }
        do throws(SystemError) {
            guard let workers else {
                try AccessLogFile.check(settings.target)
                return nil
            }
            return try AccessLog(settings, workers: workers)
        } catch {
            throw Refusal(diagnostics: ["access_log.path: \(error)"])
        }
    }

    private static func identities(
        _ configuration: Configuration, _ previous: Preparation?, _ diagnostics: inout [String]
    ) -> [UpstreamConfiguration.TLS.Identity: ClientIdentity] {
        var result: [UpstreamConfiguration.TLS.Identity: ClientIdentity] = [:]
        for (upstream, tls) in proofs(configuration) {
            guard let files = tls.identity, result[files] == nil else { continue }
            do throws(CertificateProblem) {
                let identity = try ClientIdentity.load(
                    certificate: files.certificateFile, key: files.keyFile)
                if let known = previous?.identities[files], known.isEquivalent(to: identity) {
                    result[files] = known
                } else {
                    result[files] = identity
                }
            } catch {
                diagnostics.append("upstream \(upstream.name): \(error)")
            }
        }
        return result
    }

    /// Tokens are read for each check; that they can be is worth knowing before.
    private static func checkTokens(
        _ configuration: Configuration, _ diagnostics: inout [String]
    ) {
        var seen: Set<String> = []
        for upstream in configuration.upstreams {
            guard let file = upstream.health?.anyTokenFile, seen.insert(file).inserted,
                let problem = SecretFile.problem(file)
            else { continue }
            diagnostics.append("upstream \(upstream.name): \(problem)")
        }
    }

    private static func errorPages(
        _ configuration: Configuration, _ diagnostics: inout [String]
    ) -> ErrorPages {
        guard let directory = configuration.requests.errorPages else { return ErrorPages() }
        let (pages, problems) = ErrorPageFolder.load(directory)
        diagnostics += problems.map { "error_pages.directory: \($0)" }
        return pages
    }

    private static func fingerprint(_ bundle: ConfigurationBundle) -> (UInt64, count: Int) {
        let bytes = bundle.encode()
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return (hash, bytes.count)
    }
}
