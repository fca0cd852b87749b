package import EdgeConfig
internal import Glibc

/// Where the guardian gets its configuration from: a file and what it includes, read once.
package protocol ConfigurationSource {
    /// - Throws: everything that is wrong with it.
    func read(path: String) throws(ConfigurationRefusal) -> LoadedConfiguration
    /// What was read before, from its sealed bytes.
    ///
    /// - Parameter descriptor: owned by the result; by the caller if this throws.
    func resume(descriptor: Int32) throws(ConfigurationRefusal) -> LoadedConfiguration
}

/// A configuration that is not used, and why.
package struct ConfigurationRefusal: Error, Equatable {
    /// One line each: `file:line:column: reason (hint)`.
    package let diagnostics: [String]
    package init(_ diagnostics: [String]) { self.diagnostics = diagnostics }
}

/// A configuration with the bytes it was made from, which both processes parse.
package final class LoadedConfiguration {
    package let configuration: Configuration
    /// What the operator should know though it is valid.
    package let warnings: [String]
    /// Of the files: the same on nodes that have the same ones.
    package let fingerprint: UInt64
    /// A sealed memfd, owned here.
    package let descriptor: Int32

    /// Takes ownership of `descriptor`.
    package init(
        configuration: Configuration, warnings: [String], descriptor: Int32,
        fingerprint: UInt64 = 0
    ) {
        self.fingerprint = fingerprint
        self.configuration = configuration
        self.warnings = warnings
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }
}
