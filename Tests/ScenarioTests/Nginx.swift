internal import EdgeCore
internal import EdgeTesting
internal import Foundation

/// A real nginx as upstream: serves files of `root`, takes PUTs there, tells what it was asked.
final class Nginx {
    let directory: TemporaryDirectory
    let address: SocketAddress
    private let process: RunningProcess

    /// - Parameters:
    ///   - tls: given, it speaks TLS with this certificate.
    ///   - clientRoots: PEM text; whom it believes if it asks for certificates.
    ///   - settings: more directives of the server.
    ///   - expectsProxyHeader: connections begin with a PROXY header.
    ///   - isHTTP2: HTTP/2, without TLS by prior knowledge alone.
    init(
        tls: MintedCertificate? = nil, clientRoots: String? = nil, settings: String = "",
        expectsProxyHeader: Bool = false, isHTTP2: Bool = false
    ) throws {
        directory = try TemporaryDirectory("nginx")
        address = .loopback(try freePort())
        let root = try directory.makeDirectory("root")
        let work = try directory.makeDirectory("work")
        var lines = [
            "daemon off; master_process off; pid \(work)/pid; error_log stderr;",
            geteuid() == 0 ? "user root;" : "",
            "events {}", "http { access_log off; client_max_body_size 0;",
            "client_body_temp_path \(work)/body; proxy_temp_path \(work)/proxy;",
            "fastcgi_temp_path \(work)/f; uwsgi_temp_path \(work)/u; scgi_temp_path \(work)/s;",
            "server { listen \(address)\(tls == nil ? "" : " ssl")"
                + "\(isHTTP2 ? " http2" : "")"
                + "\(expectsProxyHeader ? " proxy_protocol" : ""); root \(root);",
        ]
        if let tls {
            let (certificate, key) = try tls.writePair("server", in: directory.path)
            lines.append("ssl_certificate \(certificate); ssl_certificate_key \(key);")
        }
        if let clientRoots {
            let file = try directory.write("clients.pem", clientRoots)
            lines.append("ssl_client_certificate \(file);")
        }
        lines += [
            settings,
            // A connection for each request.
            "location /tls { keepalive_timeout 0; return 200 \"$ssl_session_reused"
                + " $ssl_client_verify $ssl_protocol $ssl_client_s_dn\"; }",
            "location / { dav_methods PUT; }",
            "location /client { return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; }",
            "location /echo { return 200 \"$request_method $host $http_x_forwarded_proto"
                + " $http_x_forwarded_for $ssl_server_name\"; } } }",
        ]
        let file = try directory.write("nginx.conf", lines.joined(separator: "\n"))
        process = try RunningProcess("nginx", ["-p", directory.path, "-c", file])
        let listens = eventually {
            guard let client = try? RawClient(address) else { return false }
            client.close()
            return true
        }
        guard listens else { throw KitError("nginx does not listen: \(process.standardError)") }
    }

    deinit { process.stop() }

    func stop() { process.stop() }

    /// A path below `root`.
    func file(_ name: String) -> String { directory.file("root/" + name) }
}

extension ScriptedUpstream {
    /// As an entry of `servers:`.
    var server: String { "\"127.0.0.1:\(port)\"" }
}

extension Nginx {
    var server: String { "\"\(address)\"" }
}
