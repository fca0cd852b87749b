internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
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
    /// Certificates, authorities and keys: what is replaced while it is in use.
    let files: RotatingFiles
    let errorPages: ErrorPages
    /// Blocks of addresses that policies name.
    let limitFiles: LimitFiles
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
    ///   - tolerance: what is refused of all this, and what is only told.
    ///   - parsed: the configuration of `bundle`, if it is known.
    ///   - checking: which certificates OpenSSL parses before they are used.
    static func prepare(
        _ bundle: ConfigurationBundle, previous: Preparation?, workers: Int?,
        tolerance: RotatingFiles.Tolerance = .none,
        parsed: (Configuration, warnings: [Diagnostic])? = nil,
        checking: CertificateFolder.Checking = .upTo(CertificateFolder.checkedMax)
    ) throws(Refusal) -> Preparation {
        let fingerprint = bundle.fingerprint
        let byteCount = bundle.files.reduce(0) { $0 + $1.bytes.count }
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
        let files = RotatingFiles.read(
            configuration, previous: previous?.files, tolerance: tolerance, checking: checking,
            &diagnostics)
        checkTokens(configuration, &diagnostics)
        let pages = errorPages(configuration, &diagnostics)
        let lists = LimitFiles(
            configuration.rateLimits.policies, previous: previous?.limitFiles ?? LimitFiles())
        diagnostics += lists.problems.map { "rate_limits: \($0)" }
        // Without a single file there is nothing to go on with.
        if tolerance == .everything, !files.isBare || configuration.certificates == nil {
            for line in diagnostics { Log.error("started all the same: \(line)") }
        } else if !diagnostics.isEmpty {
            throw Refusal(diagnostics: diagnostics)
        }
        let accessLog = try accessLog(configuration, previous, workers)
        return Preparation(
            configuration: configuration, warnings: warnings, files: files, errorPages: pages,
            limitFiles: lists, fingerprint: fingerprint, byteCount: byteCount,
            path: bundle.main.path, bundle: bundle, accessLog: accessLog)
    }

    /// The same with other files.
    func with(_ files: RotatingFiles) -> Preparation {
        Preparation(
            configuration: configuration, warnings: warnings, files: files, errorPages: errorPages,
            limitFiles: limitFiles, fingerprint: fingerprint, byteCount: byteCount, path: path,
            bundle: bundle, accessLog: accessLog)
    }

    /// The same with other blocks of addresses.
    func with(_ limitFiles: LimitFiles) -> Preparation {
        Preparation(
            configuration: configuration, warnings: warnings, files: files, errorPages: errorPages,
            limitFiles: limitFiles, fingerprint: fingerprint, byteCount: byteCount, path: path,
            bundle: bundle, accessLog: accessLog)
    }

    /// Of all views.
    var certificates: CertificateStore { files.certificates }

    /// A view's own, by its name; none for a view without a folder.
    var viewCertificates: [String: CertificateStore] { files.viewCertificates }

    /// Of every folder, in no particular order.
    var certificateEntries: [CertificateEntry] { files.stores.flatMap(\.store.entries) }

    /// Certificates that are shown to upstreams.
    var identities: [UpstreamConfiguration.TLS.Identity: ClientIdentity] { files.identities }

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
}
