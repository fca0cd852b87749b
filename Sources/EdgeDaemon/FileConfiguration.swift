internal import EdgeConfig
internal import EdgeGuardian

/// The guardian's configuration: the YAML file and what it includes, read once and sealed.
struct FileConfiguration: ConfigurationSource {
    func read(path: String) throws(ConfigurationRefusal) -> LoadedConfiguration {
        do throws(ConfigError) {
            let bundle = try ConfigurationBundle.read(path: path)
            let (configuration, warnings) = try Configuration.load(bundle)
            return LoadedConfiguration(
                configuration: configuration, warnings: warnings.map(\.description),
                descriptor: try bundle.sealed())
        } catch {
            throw ConfigurationRefusal(error.diagnostics.map(\.description))
        }
    }
}
