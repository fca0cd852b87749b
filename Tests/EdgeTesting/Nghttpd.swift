package import EdgeCore
internal import Foundation

/// A real nghttpd over TLS that serves one page at `/`.
package final class Nghttpd {
    package let directory: TemporaryDirectory
    package let mint: CertificateMint
    package let address: SocketAddress
    private let process: RunningProcess

    package init(_ options: [String] = []) throws {
        directory = try TemporaryDirectory("nghttpd")
        mint = try CertificateMint()
        address = .loopback(try freePort())
        let root = try directory.makeDirectory("root")
        try directory.write("root/index.html", "hello, world")
        let (certificate, key) = try mint.leaf("app.test").writePair("server", in: directory.path)
        process = try RunningProcess(
            "nghttpd",
            ["-a", "127.0.0.1", "-d", root] + options + ["\(address.port)", key, certificate])
        let listens = eventually {
            guard let client = try? RawClient(address) else { return false }
            client.close()
            return true
        }
        guard listens else { throw KitError("nghttpd does not listen: \(process.standardError)") }
    }

    deinit { process.stop() }

    package func stop() { process.stop() }

    /// A path below the document root.
    package func file(_ name: String) -> String { directory.file("root/" + name) }
}
