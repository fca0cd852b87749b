internal import EdgeConfig
internal import EdgeRouting
internal import EdgeTLS
internal import EdgeUpstream

/// Reading all of it anew. Any thread: a round while it is in use has its own.
extension RotatingFiles {
    /// - Parameters:
    ///   - previous: what is in use; what has not changed is taken from it.
    ///   - diagnostics: gets what is refused, a line each.
    static func read(
        _ configuration: Configuration, previous: RotatingFiles?, tolerance: Tolerance,
        checking: CertificateFolder.Checking = .upTo(CertificateFolder.checkedMax),
        _ diagnostics: inout [String]
    ) -> RotatingFiles {
        var reading = Reading(
            configuration: configuration, previous: previous ?? RotatingFiles(),
            tolerance: tolerance, checking: checking)
        reading.certificates()
        reading.authorities()
        reading.identities()
        diagnostics += reading.refused
        return reading.files
    }

    private struct Reading {
        let configuration: Configuration
        let previous: RotatingFiles
        let tolerance: Tolerance
        let checking: CertificateFolder.Checking
        var files = RotatingFiles()
        var refused: [String] = []
        let now = FileStamp.now()

        // MARK: - Certificates

        mutating func certificates() {
            guard let settings = configuration.certificates else { return }
            let views = configuration.views.map(\.name).filter { !$0.isEmpty }
            var common = request(settings.directory)
            common.others = Set(views)
            common.previous = previous.certificates
            // Each is asked what would be left without what is about to go.
            common.keeps = keeper(view: nil)
            var own: [(String, CertificateStore)] = []
            for view in views {
                var request = request(settings.directory + "/" + view)
                request.allowsEmpty = true
                request.previous = previous.viewCertificates[view]
                request.keeps = keeper(view: view)
                let store = take(request, isView: true)
                if !store.entries.isEmpty || !store.quarantine.isEmpty { own.append((view, store)) }
            }
            files.viewCertificates = Dictionary(uniqueKeysWithValues: own)
            common.allowsEmpty = !own.isEmpty
            files.certificates = take(common, isView: false)
            checkFallback(settings)
        }

        private func request(_ directory: String) -> CertificateFolder.Request {
            var request = CertificateFolder.Request(directory)
            request.checking = checking
            return request
        }

        private mutating func take(
            _ request: CertificateFolder.Request, isView: Bool
        ) -> CertificateStore {
            let scan = CertificateFolder.scan(request)
            files.folders.append(request.directory)
            files.folders += scan.folders
            if let problem = scan.problem { fail(problem, hasOld: false) }
            if tolerance == .none {
                refused += scan.store.quarantine.map(\.problem.description)
            }
            return scan.store
        }

        private mutating func checkFallback(_ settings: Configuration.Certificates) {
            guard let fallback = settings.fallback,
                files.stores.allSatisfy({ $0.store.matches(for: fallback).isEmpty }),
                // Another line says why already.
                refused.isEmpty || tolerance != .none
            else { return }
            let text =
                "certificates.default: no certificate in \(settings.directory) covers "
                + "'\(fallback)'"
            switch tolerance {
            case .none, .ofDrops, .everything: refused.append(text)
            case .ofRotation: break
            }
        }

        /// Which entries of a folder must stay so that no host that had a certificate is left
        /// without one; nil: nobody asks.
        ///
        /// - Parameter view: nil: the folder of all views, which a view's own is asked before.
        private func keeper(
            view: String?
        ) -> (@Sendable (CertificateStore, CertificateStore) -> Set<String>)? {
            guard tolerance == .ofRotation else { return nil }
            let index = view.flatMap { name in
                configuration.views.firstIndex { $0.name == name }
            }
            var hosts: Set<String> = []
            for site in configuration.sites {
                for host in site.hosts where view == nil || host.view == index {
                    hosts.insert(host.pattern)
                }
            }
            if let fallback = configuration.certificates?.fallback { hosts.insert(fallback) }
            let cover = CertificateCover(
                hosts: hosts, common: view == nil ? nil : previous.certificates,
                seconds: CertificateClock.now())
            return { new, old in cover.needed(of: old, without: new) }
        }

        // MARK: - Authorities

        mutating func authorities() {
            for (upstream, tls) in proofs {
                guard let wanted = tls.trustFiles else { continue }
                trust(wanted, "upstream \(upstream)")
            }
            let asked =
                configuration.views.compactMap(\.clientCertificates)
                + configuration.sites.compactMap(\.clientCertificates)
            for wanted in asked.map(\.trustFiles) { trust(wanted, "client_certificates") }
        }

        /// How upstreams prove who they are: to traffic, and to checks that differ from it.
        private var proofs: [(upstream: String, tls: UpstreamConfiguration.TLS)] {
            configuration.upstreams.flatMap { upstream in
                [upstream.tls, upstream.health?.tls].compactMap { $0 }.map { (upstream.name, $0) }
            }
        }

        private mutating func trust(_ wanted: ClientTrust.Files, _ owner: String) {
            guard files.trusts[wanted] == nil else { return }
            let known = previous.trusts[wanted]
            let paths = [wanted.authorities] + (wanted.revocations.map { [$0] } ?? [])
            if let known, isUnchanged(paths) {
                files.trusts[wanted] = known
                return
            }
            stamp(paths)
            do throws(TLSFailure) {
                let trust = try ClientTrust.load(wanted)
                try requireNotOlder(trust, known, wanted)
                files.trusts[wanted] = known?.isEquivalent(to: trust) == true ? known : trust
            } catch {
                files.trusts[wanted] = known
                for path in paths { files.stamps[path] = nil }
                fail(CertificateProblem(error), hasOld: known != nil, owner)
            }
        }

        /// A list of revoked certificates only ever gets newer: an older one in its place, such as
        /// from a backup, would trust again what has been revoked since.
        private func requireNotOlder(
            _ trust: ClientTrust, _ known: ClientTrust?, _ wanted: ClientTrust.Files
        ) throws(TLSFailure) {
            guard let path = wanted.revocations, let old = known?.revocationsStart,
                let new = trust.revocationsStart, new < old
            else { return }
            throw .authority(
                file: path,
                reason: "a list of \(CertificateClock.day(new)), older than the one in use, of "
                    + CertificateClock.day(old))
        }

        // MARK: - Certificates of our own

        mutating func identities() {
            for (upstream, tls) in proofs {
                guard let wanted = tls.identity, files.identities[wanted] == nil else { continue }
                let known = previous.identities[wanted]
                let paths = [wanted.certificateFile, wanted.keyFile]
                if let known, isUnchanged(paths) {
                    files.identities[wanted] = known
                    continue
                }
                stamp(paths)
                do throws(CertificateProblem) {
                    let identity = try ClientIdentity.load(
                        certificate: wanted.certificateFile, key: wanted.keyFile)
                    let isSame = known?.isEquivalent(to: identity) == true
                    files.identities[wanted] = isSame ? known : identity
                    let now = CertificateClock.now()
                    guard !isSame, let problem = identity.problem(at: now) else { continue }
                    // What is refused anyway never replaces what is not.
                    if let known, known.problem(at: now) == nil {
                        files.identities[wanted] = known
                    }
                    for path in paths { files.stamps[path] = nil }
                    files.problems.append(problem)
                } catch {
                    files.identities[wanted] = known
                    for path in paths { files.stamps[path] = nil }
                    fail(error, hasOld: known != nil, "upstream \(upstream)")
                }
            }
        }

        // MARK: - Both

        private mutating func isUnchanged(_ paths: [String]) -> Bool {
            let isUnchanged = paths.allSatisfy { path in
                guard let known = previous.stamps[path] else { return false }
                return FileStamp(path) == known
            }
            if isUnchanged { for path in paths { files.stamps[path] = previous.stamps[path] } }
            return isUnchanged
        }

        /// Before a file is read: what changes afterwards has another stamp. One that has changed
        /// just now is read again by the next round.
        private mutating func stamp(_ paths: [String]) {
            for path in paths {
                let stamp = FileStamp(path)
                files.stamps[path] = stamp?.isSettled(at: now) == true ? stamp : nil
            }
        }

        private mutating func fail(
            _ problem: CertificateProblem, hasOld: Bool, _ owner: String? = nil
        ) {
            let line = owner.map { "\($0): \(problem)" } ?? problem.description
            let isRefused: Bool
            switch tolerance {
            case .none: isRefused = true
            case .ofDrops, .everything: isRefused = !hasOld
            case .ofRotation: isRefused = false
            }
            if isRefused { refused.append(line) } else { files.problems.append(problem) }
            // Who starts all the same shows it as well.
            if isRefused, tolerance == .everything { files.problems.append(problem) }
        }
    }
}

extension CertificateProblem {
    /// What is wrong with authorities.
    fileprivate init(_ failure: TLSFailure) {
        let hint = "a PEM file that the proxy's user can read"
        switch failure {
        case .authority(let file, let reason):
            self.init(.authority, file: file, reason: reason, hint: hint)
        case .library(let call, let reason):
            self.init(.authority, file: call, reason: reason, hint: hint)
        }
    }
}
