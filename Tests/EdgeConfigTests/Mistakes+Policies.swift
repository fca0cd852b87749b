extension Mistake {
    /// Servers, checks and the other settings of policies.
    static let policies: [Mistake] = [
        Mistake(
            "a check of an unknown kind", "type: http",
            with: "type: ping",
            says: [
                .init(
                    "51:13", "upstreams.grafana.health.type cannot be 'ping'",
                    hint: "one of: tcp, tls, http, h2, grpc")
            ]),
        Mistake(
            "a path of a check without a slash", "path: /healthz",
            with: "path: healthz",
            says: [
                .init(
                    "52:13", "'healthz' is not a path",
                    hint: "it begins with '/' and has no spaces")
            ]),
        Mistake(
            "a status of a check that is none", "path: /healthz",
            with: "path: /healthz\n      status: [700]",
            says: [
                .init(
                    "53:16", "upstreams.grafana.health.status is out of range: '700'",
                    hint: "200 to 599")
            ]),
        Mistake(
            "a path for a check that has none", "type: http",
            with: "type: tcp",
            says: [
                .init(
                    "52:7", "upstreams.grafana.health.path has no effect with 'type: tcp'",
                    hint: "remove it")
            ]),
        Mistake(
            "a check with a field without a colon", "path: /healthz",
            with: "path: /healthz\n      headers: [\"Accept\"]",
            says: [
                .init(
                    "53:17", "'Accept' is not a header field",
                    hint: "quoted: \"Name: value\"")
            ]),
        Mistake(
            "more attempts than are possible", "attempts: 2",
            with: "attempts: 100",
            says: [
                .init(
                    "54:17", "upstreams.grafana.retries.attempts is out of range: '100'",
                    hint: "0 to 10")
            ]),
        Mistake(
            "a balance that is none", "    health:\n      type: http",
            with: "    balance: roundrobin\n    health:\n      type: http",
            says: [
                .init(
                    "50:14", "upstreams.grafana.balance cannot be 'roundrobin'",
                    hint: "one of: round-robin, least-requests, fastest, hash")
            ]),
        Mistake(
            "a hash without balance: hash", "    health:\n      type: http",
            with: "    hash: client\n    health:\n      type: http",
            says: [
                .init(
                    "50:11", "upstreams.grafana.hash has no effect without 'balance: hash'",
                    hint: "set 'balance'")
            ]),
        Mistake(
            "a weight of nothing", "10.0.0.5:3000",
            with: "{ address: \"10.0.0.5:3000\", weight: 0 }",
            says: [
                .init(
                    "48:45", "upstreams.grafana.servers[0].weight is out of range: '0'",
                    hint: "1 to 256")
            ]),
        Mistake(
            "only backups", "      - 10.0.0.5:3000\n      - 10.0.0.6:3000",
            with: "      - { address: \"10.0.0.5:3000\", backup: yes }",
            says: [
                .init(
                    "47:5", "upstreams.grafana: every server is a backup",
                    hint: "leave out 'backup' for those that have the traffic")
            ]),
        Mistake(
            "a percentage above 100", "attempts: 2",
            with: "budget: 120",
            says: [
                .init(
                    "54:15", "upstreams.grafana.retries.budget is out of range: '120'",
                    hint: "0 to 100")
            ]),
        Mistake(
            "a TLS key without its certificate", "    health:\n      type: http",
            with: "    tls: { ca: a.pem, key: a.key }\n    health:\n      type: http",
            says: [
                .init(
                    "50:28", "upstreams.grafana.tls.key has no effect without a certificate",
                    hint: "set 'certificate'")
            ]),
        Mistake(
            "a version of TLS that is no longer spoken", "timeouts:\n  handshake",
            with: "tls:\n  min_version: 1.1\ntimeouts:\n  handshake",
            says: [
                .init(
                    "68:16", "tls.min_version cannot be '1.1'",
                    hint: "one of: 1.2, 1.3")
            ]),
        Mistake(
            "a PROXY version that does not exist", "    limits:\n      connections: 100",
            with: "    proxy_protocol: v3\n    limits:\n      connections: 100",
            says: [
                .init(
                    "61:21", "upstreams.postgres.proxy_protocol cannot be 'v3'",
                    hint: "one of: off, v2")
            ]),
        Mistake(
            "a cookie name that is none", "    health:\n      type: http",
            with: "    sticky: { cookie: \"a b\" }\n    health:\n      type: http",
            says: [
                .init(
                    "50:23", "'a b' is not the name of a cookie",
                    hint: "letters, digits, '-' and '_', at most 64")
            ]),
        Mistake(
            "an SRV record with a port", "10.0.0.6:3000",
            with: "{ srv: \"_http._tcp.internal:80\" }",
            says: [
                .init(
                    "49:16", "'_http._tcp.internal:80' is not a host name",
                    hint: "without scheme, port and path")
            ]),
        Mistake(
            "an interface whose name is too long", "interfaces: [eth0]",
            with: "interfaces: [a-very-long-interface-name]",
            says: [
                .init(
                    "7:18", "'a-very-long-interface-name' is not the name of a network interface",
                    hint: "such as eth0, at most 15 characters")
            ]),
        Mistake(
            "addresses as a list", "addresses: { a: 192.168.1.13 }",
            with: "addresses: [192.168.1.13]",
            says: [
                .init(
                    "9:16", "views.lan.addresses must be a mapping, not a list",
                    hint: "keys with their values: 'a: …', 'aaaa: …'")
            ]),
        Mistake(
            "an IPv6 address as an IPv4 one", "addresses: { a: 192.168.1.13 }",
            with: "addresses: { a: \"2001:db8::1\" }",
            says: [
                .init(
                    "9:21", "views.lan.addresses.a: 2001:db8::1 is not an IPv4 address",
                    hint: "it belongs to 'aaaa'")
            ]),
        Mistake(
            "an answer for unknown names that is none", "unknown: refuse",
            with: "unknown: reject",
            says: [
                .init(
                    "14:14", "views.public.unknown: no site has 'reject' in this view",
                    hint: "'refuse', 'not_found' or one of the view's hosts")
            ]),
        Mistake(
            "a log format that is none", "  path: /var/log/edged/access.log",
            with: "  path: /var/log/edged/access.log\n  format: combined",
            says: [
                .init(
                    "76:11", "access_log.format cannot be 'combined'",
                    hint: "one of: json, httplog")
            ]),
        Mistake(
            "a buffer that is too small", "  path: /var/log/edged/access.log",
            with: "  path: /var/log/edged/access.log\n  buffer: 1KiB",
            says: [
                .init(
                    "76:11", "access_log.buffer is out of range: '1KiB'",
                    hint: "64KiB to 64MiB")
            ]),
        Mistake(
            "two listeners on one port", "  - name: http\n    port: 80",
            with: "  - name: http\n    port: 443",
            says: [
                .init(
                    "20:5", "[::]:443 is listened on twice",
                    hint: "first at main.yaml:17:5")
            ]),
        Mistake(
            "two upstreams of one name", "  vault:\n    servers",
            with: "  grafana:\n    servers: [10.0.0.9:1]\n  vault:\n    servers",
            says: [
                .init(
                    "57:3", "duplicate key 'grafana'",
                    hint: "first at main.yaml:46:3")
            ]),
        Mistake(
            "a certificate folder as a list", "directory: certs",
            with: "directory: [certs]",
            says: [
                .init(
                    "29:14", "certificates.directory must be a string, not a list",
                    hint: "one value, without brackets and '-'")
            ]),
        Mistake(
            "a client certificate without its authority", "    headers:\n      response",
            with: "    client_certificates: { required: yes }\n    headers:\n      response",
            says: [
                .init(
                    "34:26", "sites[0].client_certificates has no 'ca'",
                    hint: "ca: a path")
            ]),
        Mistake(
            "a host of a view that is an empty list", "hosts: { lan: vault.example }",
            with: "hosts: { lan: [] }",
            says: [
                .init("41:19", "sites[1].hosts.lan is an empty list")
            ]),
        Mistake(
            "a resolver without servers", "    servers: [192.168.1.1]\n    domains",
            with: "    domains",
            says: [
                .init(
                    "65:5", "resolvers.internal has no 'servers'",
                    hint: "servers: [an address, with or without port, …]")
            ]),
        Mistake(
            "a limit that is unlimited where it cannot be", "header_fields: 100",
            with: "header_fields: unlimited",
            says: [
                .init(
                    "70:18", "limits.header_fields must be a number, not 'unlimited'",
                    hint: "1 to 256")
            ]),
        Mistake(
            "a group that may use no socket", "  socket: /run/edged/admin.sock\n",
            with: "  group: edged-admin\n",
            says: [
                .init(
                    "72:10", "admin.group has no effect without admin.socket",
                    hint: "set 'socket'")
            ]),
        Mistake(
            "HTTP/2 limits of nothing", "  header_fields: 100\n",
            with: "  header_fields: 100\nhttp2:\n  streams: 0\n",
            says: [
                .init(
                    "72:12", "http2.streams is out of range: '0'",
                    hint: "1 to 1000")
            ]),
        Mistake(
            "a forwarding proxy that is a name", "  header_fields: 100\n",
            with: "  header_fields: 100\nforwarding:\n  trusted: [proxy.example]\n",
            says: [
                .init(
                    "72:13", "'proxy.example' is not a block of addresses",
                    hint: "an address, or one with the number of leading bits, such as 10.0.0.0/8")
            ]),
        Mistake(
            "error pages without a folder", "  header_fields: 100\n",
            with: "  header_fields: 100\nerror_pages: {}\n",
            says: [
                .init(
                    "71:14", "error_pages has no 'directory'",
                    hint: "directory: a path")
            ]),
        Mistake(
            "an age of addresses that is none", "  header_fields: 100\n",
            with: "  header_fields: 100\ndns:\n  stale: forever\n",
            says: [
                .init(
                    "72:10", "'forever' is not a duration",
                    hint: "'unlimited' or a number and ms, s, m or h, such as 10s")
            ]),
    ]
}
