extension Mistake {
    /// Keys that are unknown, misplaced or missing.
    static let keys: [Mistake] = [
        Mistake(
            "a mistyped section", "timeouts:\n  handshake",
            with: "timeout:\n  handshake",
            says: [
                .init(
                    "67:1", "unknown key 'timeout' at the top level",
                    hint: "did you mean 'timeouts'?")
            ]),
        Mistake(
            "a mistyped key", "protocol: tls",
            with: "protokol: tls",
            says: [
                .init(
                    "16:5", "listeners[0] has no 'protocol'",
                    hint: "protocol: tls, http, tcp"),
                .init(
                    "18:5", "unknown key 'protokol' in listeners[0]",
                    hint: "did you mean 'protocol'?"),
            ]),
        Mistake(
            "a key with a hyphen", "proxy_protocol: required",
            with: "proxy-protocol: required",
            says: [
                .init(
                    "12:5", "unknown key 'proxy-protocol' in views.public",
                    hint: "did you mean 'proxy_protocol'?"),
                .init(
                    "13:5",
                    "views.public.trusted_proxies has no effect without 'proxy_protocol: "
                        + "required'",
                    hint: "no header is read, and so nobody is believed"),
            ]),
        Mistake(
            "a key that another program has", "    health:\n      type: http",
            with: "    maxconn: 10\n    health:\n      type: http",
            says: [
                .init(
                    "50:5", "unknown key 'maxconn' in upstreams.grafana",
                    hint: "valid: protocol, servers, tls, proxy_protocol, limits, timeouts, "
                        + "balance, hash, sticky, health, ejection, slow_start and 2 more")
            ]),
        Mistake(
            "a key in the wrong section", "  handshake: 10s",
            with: "  handshake: 10s\n  connections: 100",
            says: [
                .init(
                    "69:3", "unknown key 'connections' in timeouts",
                    hint: "it belongs to 'upstreams.*.limits' or 'rate_limits.*' or 'limits'")
            ]),
        Mistake(
            "no version", "version: 1\n",
            with: "",
            says: [
                .init(
                    "1:1", "the configuration has no 'version'",
                    hint: "version: 1")
            ]),
        Mistake(
            "a version from the future", "version: 1",
            with: "version: 2",
            says: [
                .init(
                    "1:10", "version is out of range: '2'",
                    hint: "1, and no other")
            ]),
        Mistake(
            "a listener without a name", "  - name: https\n    port: 443",
            with: "  - port: 443",
            says: [
                .init("16:5", "listeners[0] has no 'name'"),
                .init(
                    "21:15", "listeners[1].redirect: no listener is called 'https'",
                    hint: "no tls listener is defined"),
            ]),
        Mistake(
            "a listener without a port", "    port: 443\n",
            with: "",
            says: [
                .init(
                    "16:5", "listeners[0] has no 'port'",
                    hint: "port: 1 to 65535")
            ]),
        Mistake(
            "a listener without a protocol", "    port: 443\n    protocol: tls",
            with: "    port: 443",
            says: [
                .init(
                    "16:5", "listeners[0] has no 'protocol'",
                    hint: "protocol: tls, http, tcp")
            ]),
        Mistake(
            "a site without hosts", "  - hosts: old.example\n    redirect",
            with: "  - redirect",
            says: [
                .init(
                    "43:5", "sites[2] has no 'hosts'",
                    hint: "hosts: [a host name, *.example.org or *, …]")
            ]),
        Mistake(
            "a site that leads nowhere",
            "  - hosts: old.example\n    redirect: "
                + "\"https://grafana.example${path}\"",
            with: "  - hosts: old.example",
            says: [
                .init(
                    "43:5", "sites[2] has no 'upstream'",
                    hint: "where do its requests go? 'redirect' and 'passthrough' say so, too")
            ]),
        Mistake(
            "a path without a prefix", "      - prefix: /api\n        rewrite: /v2",
            with: "      - rewrite: /v2",
            says: [
                .init(
                    "38:9", "sites[0].paths[0] has no 'prefix'",
                    hint: "prefix: the path of a URL, such as /api")
            ]),
        Mistake(
            "an upstream without servers", "    servers: [vault.internal:8200]",
            with: "    protocol: h2",
            says: [
                .init(
                    "42:18", "sites[1]: upstream 'vault' has a 'protocol'",
                    hint: "a passthrough site passes bytes on as they are, whatever they mean"),
                .init(
                    "58:5", "upstreams.vault has no 'servers'",
                    hint: "servers: [host:port, …]"),
            ]),
    ]
}
