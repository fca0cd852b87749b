import EdgeCore
import EdgeHealth
import EdgeSystem
import EdgeTLS
import EdgeTesting
import EdgeUpstream
import Foundation
import Testing

/// nginx with a plain port, one for TLS with HTTP/2, and one that wants a PROXY header. It runs
/// as one process in a folder of its own.
private final class CheckedNginx {
    let directory: TemporaryDirectory
    let plain: SocketAddress
    let tls: SocketAddress
    let proxied: SocketAddress
    private let process: RunningProcess

    init(_ leaf: MintedCertificate) throws {
        directory = try TemporaryDirectory("nginx-check")
        plain = .loopback(try freePort())
        tls = .loopback(try freePort())
        proxied = .loopback(try freePort())
        let (certificate, key) = try leaf.writePair("server", in: directory.path)
        let locations = """
            location = /up { return 200 "all is well\\n"; }
            location = /moved { return 302 /up; }
            location = /down { return 503; }
            """
        let file = try directory.write(
            "nginx.conf",
            """
            daemon off;
            master_process off;
            pid \(directory.file("pid"));
            error_log \(directory.file("errors.log")) info;
            events { worker_connections 64; }
            http {
              access_log off;
              client_body_temp_path \(directory.file("body"));
              proxy_temp_path \(directory.file("proxy"));
              fastcgi_temp_path \(directory.file("fastcgi"));
              uwsgi_temp_path \(directory.file("uwsgi"));
              scgi_temp_path \(directory.file("scgi"));
              server { listen \(plain); \(locations) }
              server { listen \(proxied) proxy_protocol; \(locations) }
              server {
                listen \(tls) ssl http2;
                ssl_certificate \(certificate);
                ssl_certificate_key \(key);
                \(locations)
              }
            }
            """)
        process = try RunningProcess(
            "nginx", ["-p", directory.path, "-e", directory.file("errors.log"), "-c", file])
        let listens = eventually {
            guard let client = try? RawClient(plain) else { return false }
            client.close()
            return true
        }
        guard listens else { throw KitError("nginx does not listen: \(process.standardError)") }
    }

    deinit { process.stop() }

    /// With whatever it was sent in it.
    var log: String {
        let bytes = FileManager.default.contents(atPath: directory.file("errors.log"))
        return String(decoding: bytes ?? Data(), as: UTF8.self)
    }
}

@Suite("Checks of other people's servers", .serialized) struct RealServerTests {
    private func request(_ path: String, text: String? = nil) -> HealthPolicy.Request {
        HealthPolicy.Request(path: path, statuses: [200...299], bodyContains: text)
    }

    @Test("nginx: each kind of check, with the verdict that its answer asks for")
    func nginx() throws {
        let mint = try CertificateMint()
        let nginx = try CheckedNginx(try mint.leaf("a.example"))
        let site = try CheckSite()
        let tls = CheckTLS(trust: try trust(mint), name: "a.example")
        func outcome(
            _ kind: HealthPolicy.Kind, _ address: SocketAddress, tls: CheckTLS? = nil,
            proxied: Bool = false
        ) -> CheckOutcome? {
            site.report(kind, at: address, tls: tls, sendsProxyHeader: proxied)?.outcome
        }

        #expect(outcome(.tcp, nginx.plain) == .passed)
        #expect(outcome(.tls, nginx.tls, tls: tls) == .passed)
        #expect(outcome(.http(request("/up", text: "well")), nginx.plain) == .passed)
        #expect(
            outcome(.http(request("/up", text: "ill")), nginx.plain)
                == failed("body lacks the text"))
        #expect(outcome(.http(request("/down")), nginx.plain) == failed("status 503"))
        #expect(outcome(.http(request("/up")), nginx.tls, tls: tls) == .passed)
        #expect(outcome(.http2(request("/up", text: "well")), nginx.tls, tls: tls) == .passed)
        #expect(outcome(.http2(request("/down")), nginx.tls, tls: tls) == failed("status 503"))
        #expect(outcome(.activeMember(request("/moved")), nginx.plain) == .standby)
        #expect(outcome(.activeMember(request("/down")), nginx.plain) == .standby)
        #expect(outcome(.activeMember(request("/up")), nginx.plain) == .passed)
        #expect(
            outcome(.grpc(service: ""), nginx.tls, tls: tls) == failed("status 404"))
        #expect(outcome(.http(request("/up")), nginx.proxied, proxied: true) == .passed)
        #expect(
            outcome(.http(request("/up")), nginx.proxied)
                == failed("connection closed without an answer"))
        #expect(outcome(.http(request("/up")), nginx.tls) == failed("status 400"))
        let reason = outcome(.http(request("/up")), nginx.plain, tls: tls)?.reason
        #expect(reason == "TLS: wrong version number")
        for address in [nginx.plain, nginx.tls, nginx.proxied] {
            #expect(try heldConnections(to: address.port) == 0)
        }
        #expect(nginx.log.components(separatedBy: "broken header").count == 2, "\(nginx.log)")
    }

    @Test("nghttpd: HTTP/2 by prior knowledge and over TLS", arguments: [true, false])
    func nghttpd(isTLS: Bool) throws {
        let server = try Nghttpd(isTLS: isTLS)
        let site = try CheckSite()
        let tls = isTLS ? CheckTLS(trust: try trust(server.mint), name: "app.test") : nil

        let found = site.report(
            .http2(request("/", text: "hello, world")), at: server.address, tls: tls)
        let missing = site.report(.http2(request("/none")), at: server.address, tls: tls)

        #expect(found?.outcome == .passed)
        #expect(missing?.outcome == failed("status 404"))
    }
}
