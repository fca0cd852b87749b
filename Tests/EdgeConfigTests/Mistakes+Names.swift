extension Mistake {
    /// Addresses, hosts and other names that are none.
    static let names: [Mistake] = [
        Mistake(
            "an address with a port", "address: 192.168.1.13",
            with: "address: 192.168.1.13:5432",
            says: [
                .init(
                    "24:14", "'192.168.1.13:5432' is not an address",
                    hint: "an IPv4 or IPv6 address without port, such as 192.0.2.1")
            ]),
        Mistake(
            "an address that is none", "address: 192.168.1.13",
            with: "address: 192.168.1.256",
            says: [
                .init(
                    "24:14", "'192.168.1.256' is not an address",
                    hint: "an IPv4 or IPv6 address without port, such as 192.0.2.1")
            ]),
        Mistake(
            "a server without a port", "10.0.0.5:3000",
            with: "10.0.0.5",
            says: [
                .init(
                    "48:9", "'10.0.0.5' has no port",
                    hint: "such as 10.0.0.5:443")
            ]),
        Mistake(
            "a server as a URL", "10.0.0.5:3000",
            with: "http://10.0.0.5:3000",
            says: [
                .init(
                    "48:9", "'http://10.0.0.5:3000' is not host:port",
                    hint: "without scheme and path")
            ]),
        Mistake(
            "a server with port 0", "10.0.0.5:3000",
            with: "10.0.0.5:0",
            says: [
                .init(
                    "48:9", "'10.0.0.5:0' has port 0",
                    hint: "1 to 65535")
            ]),
        Mistake(
            "an IPv6 server without brackets", "10.0.0.5:3000",
            with: "\"2001:db8::5:3000\"",
            says: [
                .init(
                    "48:9", "'2001:db8::5:3000' has no port",
                    hint: "such as [2001:db8::5:3000]:443")
            ]),
        Mistake(
            "a server twice", "10.0.0.6:3000",
            with: "10.0.0.5:3000",
            says: [
                .init(
                    "49:9", "upstreams.grafana has the same server twice",
                    hint: "first at main.yaml:48:9")
            ]),
        Mistake(
            "a block with host bits", "192.168.1.0/24",
            with: "192.168.1.13/24",
            says: [
                .init(
                    "8:15", "'192.168.1.13/24' has bits set behind the first 24",
                    hint: "a block is written with its first address")
            ]),
        Mistake(
            "a block that is too long", "192.168.1.0/24",
            with: "192.168.1.0/33",
            says: [
                .init("8:15", "'192.168.1.0/33' has more than 32 bits")
            ]),
        Mistake(
            "a host with a scheme", "hosts: grafana.example",
            with: "hosts: https://grafana.example",
            says: [
                .init(
                    "32:12", "'https://grafana.example' is not a host name",
                    hint: "without scheme, port and path")
            ]),
        Mistake(
            "a host with a port", "hosts: grafana.example",
            with: "hosts: \"grafana.example:443\"",
            says: [
                .init(
                    "32:12", "'grafana.example:443' is not a host name",
                    hint: "without scheme, port and path")
            ]),
        Mistake(
            "a host with a path", "hosts: grafana.example",
            with: "hosts: grafana.example/app",
            says: [
                .init(
                    "32:12", "'grafana.example/app' is not a host name",
                    hint: "without scheme, port and path")
            ]),
        Mistake(
            "a host that is not in punycode", "hosts: grafana.example",
            with: "hosts: grafäna.example",
            says: [
                .init(
                    "32:12", "'grafäna.example' has characters beyond ASCII",
                    hint: "write the name's IDNA form, xn--…")
            ]),
        Mistake(
            "a wildcard in the middle", "hosts: old.example",
            with: "hosts: \"a.*.example\"",
            says: [
                .init(
                    "43:12", "the wildcard in 'a.*.example' does not stand for the first label",
                    hint: "'*.example.org' for one label, '*' for any host")
            ]),
        Mistake(
            "a wildcard for part of a label", "hosts: old.example",
            with: "hosts: \"a*.example\"",
            says: [
                .init(
                    "43:12", "the wildcard in 'a*.example' does not stand for the first label",
                    hint: "'*.example.org' for one label, '*' for any host")
            ]),
        Mistake(
            "a host twice", "hosts: old.example",
            with: "hosts: grafana.example",
            says: [
                .init(
                    "43:12", "the host 'grafana.example' is served twice in view 'lan'",
                    hint: "first at main.yaml:32:12"),
                .init(
                    "44:5", "sites[2].redirect leads back to itself",
                    hint: "its target is served here, and redirected again"),
            ]),
        Mistake(
            "a host twice in different case", "hosts: old.example",
            with: "hosts: Grafana.Example",
            says: [
                .init(
                    "43:12", "the host 'grafana.example' is served twice in view 'lan'",
                    hint: "first at main.yaml:32:12"),
                .init(
                    "44:5", "sites[2].redirect leads back to itself",
                    hint: "its target is served here, and redirected again"),
            ]),
        Mistake(
            "a resolver that is a name", "servers: [192.168.1.1]",
            with: "servers: [dns.internal]",
            says: [
                .init(
                    "65:15", "'dns.internal' is not an address",
                    hint: "a name is not accepted here")
            ]),
        Mistake(
            "a domain with a dot in front", "domains: [internal]",
            with: "domains: [.internal]",
            says: [
                .init(
                    "66:15", "a label of the host name '.internal' is not 1 to 63 long",
                    hint: "write it without the first dot")
            ]),
        Mistake(
            "an admin port that is open to all", "http: 127.0.0.1:9464",
            with: "http: 0.0.0.0:9464",
            says: [
                .init(
                    "73:9", "admin.http must be a loopback address, not 0.0.0.0:9464",
                    hint: "it has no authentication: 127.0.0.1:9464")
            ]),
        Mistake(
            "an admin socket that is a folder", "socket: /run/edged/admin.sock",
            with: "socket: /run/edged/",
            says: [
                .init(
                    "72:11", "admin.socket names a folder: '/run/edged/'",
                    hint: "the socket's own path, such as '/run/edged/admin.sock'")
            ]),
    ]
}
