internal import CEdge
internal import EdgeConfig
internal import EdgeGuardian

/// The guardian's configuration: the YAML file and what it includes, read once and sealed. Files
/// that have not changed since the last time are not parsed again.
final class FileConfiguration: ConfigurationSource {
    private let node: String?
    private var last: ReadConfiguration?

    /// - Parameter node: what this machine is called in the file; nil: as it calls itself.
    init(node: String? = nil) { self.node = node ?? OwnName.host }

    func read(path: String) throws(ConfigurationRefusal) -> LoadedConfiguration {
        do throws(ConfigError) {
            let found = try Configuration.read(path: path, node: node, known: last)
            let configuration = found.configuration.withoutSites
            last = found.replacing(configuration)
            // A large file's tree has just been freed.
            if found.bundle.main.bytes.count > 1 << 16 { ce_give_back_memory() }
            return LoadedConfiguration(
                configuration: configuration, warnings: found.warnings.map(\.description),
                descriptor: try found.bundle.sealed(), fingerprint: found.bundle.fingerprint)
        } catch {
            throw ConfigurationRefusal(error.diagnostics.map(\.description))
        }
    }

    func resume(descriptor: Int32) throws(ConfigurationRefusal) -> LoadedConfiguration {
        do throws(ConfigError) {
            let bundle = try ConfigurationBundle(descriptor: descriptor)
            let (configuration, warnings) = try Configuration.load(bundle)
            return LoadedConfiguration(
                configuration: configuration.withoutSites, warnings: warnings.map(\.description),
                descriptor: descriptor, fingerprint: bundle.fingerprint)
        } catch {
            throw ConfigurationRefusal(error.diagnostics.map(\.description))
        }
    }
}

extension Configuration {
    /// What the guardian needs: sites and upstreams have been checked and are the proxy's business.
    fileprivate var withoutSites: Configuration {
        Configuration(
            runAs: runAs, workers: workers, listeners: listeners, certificates: certificates,
            tls: tls, sites: [], upstreams: [], resolvers: resolvers, timeouts: timeouts,
            limits: limits, requests: requests, admin: admin, process: process,
            accessLog: accessLog, node: node, nodes: nodes, failover: failover)
    }
}
