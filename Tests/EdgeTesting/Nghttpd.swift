package import EdgeCore
internal import Foundation

/// nghttp2's own server: one page at `/`, and what its options say.
package final class Nghttpd {
    package let directory: TemporaryDirectory
    package let mint: CertificateMint
    package let address: SocketAddress
    private let process: RunningProcess

    /// - Parameters:
    ///   - certificate: what it shows; nil: one of its own mint's for `app.test`.
    ///   - isTLS: false: HTTP/2 by prior knowledge.
    package init(
        _ options: [String] = [], certificate: MintedCertificate? = nil, isTLS: Bool = true
    ) throws {
        directory = try TemporaryDirectory("nghttpd")
        mint = try CertificateMint()
        address = .loopback(try freePort())
        let root = try directory.makeDirectory("root")
        try directory.write("root/index.html", "hello, world")
        var words = ["-a", "127.0.0.1", "-d", root] + options
        if isTLS {
            let shown = try certificate ?? mint.leaf("app.test")
            let (file, key) = try shown.writePair("server", in: directory.path)
            words += ["\(address.port)", key, file]
        } else {
            words += ["--no-tls", "\(address.port)"]
        }
        process = try RunningProcess("nghttpd", words)
        let listens = eventually {
            guard let client = try? RawClient(address) else { return false }
            client.close()
            return true
        }
        guard listens else { throw KitError("nghttpd does not listen: \(process.standardError)") }
    }

    deinit { process.stop() }

    package func stop() { process.stop() }

    /// As an entry of `servers:`.
    package var server: String { "\"\(address)\"" }

    /// A path below the document root.
    package func file(_ name: String) -> String { directory.file("root/" + name) }
}
