import Testing

@testable import EdgeConfig

@Suite("What views are refused for")
struct ViewRefusalTests {
    static let views: [(String, String)] = [
        (
            "  v: { interfaces: [a/b] }",
            "3:21: 'a/b' is not the name of a network interface (such as "
                + "eth0, at most 15 characters)"
        ),
        (
            "  v: { interfaces: [a, a] }",
            "3:24: views.v.interfaces has 'a' twice (first at "
                + "main.yaml:3:21)"
        ),
        (
            "  v: { sources: [10.0.0.1/8] }",
            "3:18: '10.0.0.1/8' has bits set behind the first 8 (a "
                + "block is written with its first address)"
        ),
        (
            "  v: { addresses: { a: '::1' } }",
            "3:24: views.v.addresses.a: ::1 is not an IPv4 address "
                + "(it belongs to 'aaaa')"
        ),
        (
            "  v: { addresses: { aaaa: 10.0.0.1 } }",
            "3:27: views.v.addresses.aaaa: 10.0.0.1 is not "
                + "an IPv6 address (it belongs to 'a')"
        ),
        (
            "  v: { trusted_proxies: [10.0.0.1] }",
            "3:8: views.v.trusted_proxies has no effect without "
                + "'proxy_protocol: required' (no header is read, and so nobody is believed)"
        ),
        (
            "  v: { proxy_protocol: required }",
            "3:8: views.v.proxy_protocol trusts nobody: every "
                + "connection would be closed (set 'trusted_proxies' to the proxies' addresses)"
        ),
        (
            "  v: { proxy_protocol: required, trusted_proxies: 10.0.0.1, sources: 10.1.0.0/16 }",
            "3:34: views.v.trusted_proxies: none of them is in 'sources' (connections come from the "
                + "proxies: 'sources' are their addresses)"
        ),
        (
            "  v: { proxy_protocol: maybe }",
            "3:24: views.v.proxy_protocol cannot be 'maybe' (one of: "
                + "off, required)"
        ),
        (
            "  v: { unknown: b.example }",
            "3:17: views.v.unknown: no site has 'b.example' in this view "
                + "('refuse', 'not_found' or one of the view's hosts)"
        ),
        (
            "  v: { resolver: nobody }",
            "3:18: views.v.resolver: undefined resolver 'nobody' (no resolver is defined)"
        ),
        ("  v: { unknown: 10.0.0.1 }", "3:17: '10.0.0.1' is an address, not a host name"),
        (
            "  v: { tls: { min_version: 1.1 } }",
            "3:28: views.v.tls.min_version cannot be '1.1' (one "
                + "of: 1.2, 1.3)"
        ),
        (
            "  v: { client_certificates: {} }",
            "3:29: views.v.client_certificates has no 'ca' (ca: a path)"
        ),
        (
            "  v: { client_certificates: { ca: x, field: Host } }",
            "3:45: the field 'Host' frames "
                + "messages or is the connection's (a site's 'internal' is the name that its servers "
                + "see)"
        ),
        (
            "  v: { client_certificates: { ca: x, field: a b } }",
            "3:45: 'a b' is not the name of a "
                + "header field (letters, digits and '-', at most 64)"
        ),
        (
            "  v: { client_certificates: { ca: x, required: no } }",
            "3:38: "
                + "views.v.client_certificates: certificates are asked for, and nobody looks at them "
                + "(name a 'field' that tells the upstream, or require them)"
        ),
        (
            "  v w: {}",
            "3:3: 'v w' is not a name (a letter, then letters, digits, '-', '_' or '.', at "
                + "most 64)"
        ),
        (
            "  v: { interface: [a] }",
            "3:8: unknown key 'interface' in views.v (did you mean "
                + "'interfaces'?)"
        ),
        (
            "  v: {}\n  w: { interfaces: [a] }",
            "4:3: unreachable view 'w': what fits it belongs to "
                + "'v' (the first view that fits is taken, so the narrower one stands first; see "
                + "main.yaml:3:3)"
        ),
        (
            "  v: { interfaces: [a, b] }\n  w: { interfaces: [b], sources: [10.0.0.0/8] }",
            "4:3: unreachable view 'w': what fits it belongs to 'v' (the first view that fits is "
                + "taken, so the narrower one stands first; see main.yaml:3:3)"
        ),
        (
            "  v: { sources: [0.0.0.0/0, '::/0'] }\n  w: {}",
            "4:3: unreachable view 'w': what fits it belongs to 'v' (the first view that fits is "
                + "taken, so the narrower one stands first; see main.yaml:3:3)"
        ),
        (
            "  v: { sources: [10.0.0.0/8] }\n  w: { interfaces: [a] }\n"
                + "  x: { interfaces: [a], sources: [10.1.0.0/16, 192.0.2.0/24] }",
            "5:3: unreachable view 'x': what fits it belongs to 'v' (the first view that fits is "
                + "taken, so the narrower one stands first; see main.yaml:3:3)"
        ),
    ]

    @Test("A view that cannot be meant so", arguments: views)
    func view(text: String, expected: String) {
        #expect(errors(Sample.views(text)) == ["main.yaml:" + expected])
    }

    @Test(
        "Views that leave something to each other are accepted",
        arguments: [
            "  v: { interfaces: [a] }\n  w: {}",
            "  v: { sources: [0.0.0.0/0] }\n  w: {}",
            "  v: { sources: [10.0.0.0/8] }\n  w: { sources: [10.0.0.0/7] }",
            "  v: { interfaces: [a], sources: [10.0.0.0/8] }\n  w: { sources: [10.0.0.0/8] }",
            "  v: { unknown: a.example }", "  v: {}\n  w: { interfaces: [lo] }",
            "  v: {}\n  w: { sources: [127.0.0.0/8, '::1'] }",
        ])
    func accepted(text: String) {
        #expect(errors(Sample.views(text)) == [])
    }

    @Test("There are at most sixteen views, and at least one where they are named")
    func count() {
        let many = (1...17).map { "  v\($0): { interfaces: [e\($0)] }" }.joined(separator: "\n")

        #expect(errors(Sample.views(many)) == ["main.yaml:19:3: more than 16 views"])
        #expect(
            errors(Sample.minimal + "views: {}\n") == [
                "main.yaml:6:1: there is no view (name at least one, or remove 'views')"
            ])
        #expect(
            errors(Sample.minimal + "views: 5\n") == [
                "main.yaml:6:8: views must be a mapping, not a number (names with their settings)"
            ])
    }

    @Test("A view cannot lower the version of TLS that all speak")
    func lowest() {
        let text =
            Sample.views("  v: { tls: { min_version: 1.2 } }") + "tls: { min_version: 1.3 }\n"

        #expect(
            errors(text) == [
                "main.yaml:3:15: views.v.tls.min_version has no effect: 'tls.min_version' is 1.3 "
                    + "(lower that, and raise it in the other views)"
            ])
    }

    static let listeners: [(String, String)] = [
        (
            ", views: [lna]",
            "5:60: listeners[0].views: undefined view 'lna' (did you mean 'lan'? "
                + "defined: lan, public)"
        ),
        (", views: [lan, public, lan]", "5:73: listeners[0].views has 'lan' twice"),
        (
            ", views: lan",
            "4:3: no listener serves the view 'public' (name it in a listener's "
                + "'views', or remove it)"
        ),
        (
            ", acme: app",
            "5:58: 'acme' needs 'redirect' (it is for http listeners that redirect all "
                + "else)"
        ),
        (
            " }, { name: http, port: 80, protocol: http, acme: app",
            "5:100: 'acme' needs 'redirect' "
                + "(sites are served here, and their 'paths' can do the same)"
        ),
        (
            " }, { name: http, port: 80, protocol: http, redirect: web, acme: ap",
            "5:115: listener 'http': acme: undefined upstream 'ap' (did you mean 'app'? defined: "
                + "app)"
        ),
        (
            ", views: lan }, { name: http, port: 80, protocol: http, redirect: web",
            "9:32: the view 'public' has hosts, and no listener answers there (its listeners "
                + "redirect, or pass bytes on)"
        ),
    ]

    @Test("Listeners and the views and upstreams they name", arguments: listeners)
    func listener(text: String, expected: String) {
        let sites = "  - { hosts: { lan: b.example, public: c.example }, upstream: app }\n"

        #expect(
            errors(Sample.split(sites, listener: text)) == ["main.yaml:" + expected])
    }

    @Test("The upstream of ACME challenges has to say which name it proves")
    func challengeName() {
        let text =
            Sample.split(
                "", listener: " }, { name: http, port: 80, protocol: http, redirect: web, acme: s")
            + "  s: { servers: ['10.0.0.2:443'], tls: {} }\n"

        #expect(
            errors(text) == [
                "main.yaml:5:115: listener 'http': nothing says which name upstream 's' must prove "
                    + "(set upstreams.s.tls.name)"
            ])
    }

    @Test("A view that has no sites is a warning")
    func empty() throws {
        let text = Sample.split("").replacing("hosts: a.example", with: "hosts: { lan: a.example }")

        let (_, warnings) = try Configuration.load(ConfigurationBundle(text))

        #expect(
            warnings.map(\.description) == [
                "main.yaml:4:3: the view 'public' has no sites (its clients find nothing: name it "
                    + "in a site's 'hosts')"
            ])
    }
}

@Suite("What hosts of views are refused for")
struct ViewHostRefusalTests {
    static let sites: [(String, String)] = [
        (
            "  - { hosts: { lna: b.example }, upstream: app }",
            "9:16: sites[1].hosts: undefined view "
                + "'lna' (did you mean 'lan'? defined: lan, public)"
        ),
        ("  - { hosts: {}, upstream: app }", "9:14: sites[1].hosts is an empty mapping"),
        ("  - { hosts: { lan: [] }, upstream: app }", "9:21: sites[1].hosts.lan is an empty list"),
        (
            "  - { hosts: { lan: { a: b } }, upstream: app }",
            "9:21: sites[1].hosts.lan must be a "
                + "list, not a mapping (entries in brackets: [a, b])"
        ),
        (
            "  - { hosts: { lan: a.example }, upstream: app }",
            "9:21: the host 'a.example' is served "
                + "twice in view 'lan' (first at main.yaml:8:14)"
        ),
        (
            "  - { hosts: a.example, upstream: app }",
            "9:14: the host 'a.example' is served twice in "
                + "view 'lan' (first at main.yaml:8:14)"
        ),
        (
            "  - { hosts: { public: a.example }, passthrough: app }",
            "9:24: the host 'a.example' is "
                + "served twice in view 'public' (first at main.yaml:8:14)"
        ),
        (
            "  - { hosts: { lan: b.example, public: '*.c.example' }, upstream: app }",
            "9:40: "
                + "sites[1].hosts: '*.c.example' does not go with names in other views (a wildcard "
                + "stands for a wildcard, label by label)"
        ),
        (
            "  - { hosts: { lan: '*.b.example', public: '*' }, upstream: app }",
            "9:44: "
                + "sites[1].hosts: '*' does not go with wildcards in other views (a wildcard stands for "
                + "a wildcard, label by label)"
        ),
        (
            "  - { hosts: b.example, internal: '*', upstream: app }",
            "9:35: sites[1].internal is no "
                + "name (left out, the servers see the host that the client asked for)"
        ),
        (
            "  - { hosts: b.example, internal: '*.x.example', upstream: app }",
            "9:35: "
                + "sites[1].internal: '*.x.example' does not go with 'b.example' (a wildcard stands "
                + "for a wildcard, label by label)"
        ),
        (
            "  - { hosts: [b.example, '*.c.example'], internal: x.example, upstream: app }",
            "9:52: sites[1].internal: 'x.example' does not go with '*.c.example' (a wildcard stands "
                + "for a wildcard, label by label)"
        ),
        (
            "  - { hosts: '*', internal: x.example, upstream: app }",
            "9:29: sites[1].internal: 'x.example' does not go with '*' (a wildcard stands for a "
                + "wildcard, label by label)"
        ),
        (
            "  - { hosts: b.example, upstream: app, alpn: [x] }",
            "9:47: 'alpn' needs 'passthrough' "
                + "(where TLS ends here, ALPN chooses between HTTP/1.1 and HTTP/2)"
        ),
        (
            "  - { hosts: b.example, passthrough: app, alpn: [x, x] }",
            "9:53: sites[1].alpn has 'x' "
                + "twice (first at main.yaml:9:50)"
        ),
        (
            "  - { hosts: b.example, passthrough: app, alpn: [\"x y\"] }",
            "9:50: 'x y' is not the name "
                + "of a protocol (such as acme-tls/1)"
        ),
        (
            "  - { hosts: b.example, passthrough: app, alpn: [x, b] }\n"
                + "  - { hosts: { public: b.example }, passthrough: app, alpn: [b, z] }",
            "10:24: the host 'b.example' is passed through twice for 'b' in view 'public' (first at "
                + "main.yaml:9:14)"
        ),
        (
            "  - { hosts: b.example, upstream: app, passthrough: app }",
            "9:25: sites[1] has 'upstream' "
                + "and 'passthrough' (one of them: TLS ends here, or at the servers)"
        ),
        (
            "  - { hosts: b.example, passthrough: ap }",
            "9:38: sites[1].passthrough: undefined "
                + "upstream 'ap' (did you mean 'app'? defined: app)"
        ),
        (
            "  - { hosts: b.example, passthrough: app, internal: x }",
            "9:43: sites[1].internal has no "
                + "effect with 'passthrough' (requests are not seen: TLS is between the client and the "
                + "server)"
        ),
        (
            "  - { hosts: b.example, passthrough: app, upgrade: x }",
            "9:43: sites[1].upgrade has no "
                + "effect with 'passthrough' (requests are not seen: TLS is between the client and the "
                + "server)"
        ),
        (
            "  - { hosts: b.example, passthrough: app, client_certificates: { ca: x } }",
            "9:43: sites[1].client_certificates has no effect with 'passthrough' (requests are not "
                + "seen: TLS is between the client and the server)"
        ),
    ]

    @Test("Sites whose hosts or destination cannot be meant so", arguments: sites)
    func site(text: String, expected: String) {
        #expect(errors(Sample.split(text)) == ["main.yaml:" + expected])
    }

    static let upstreams: [(String, String)] = [
        (
            "tls: { name: x }",
            "9:38: sites[1]: upstream 'up' has 'tls' (a passthrough site passes "
                + "bytes on as they are; TLS is then between the client and the server)"
        ),
        (
            "protocol: h2",
            "9:38: sites[1]: upstream 'up' has a 'protocol' (a passthrough site passes "
                + "bytes on as they are, whatever they mean)"
        ),
        (
            "sticky: { cookie: C }",
            "13:37: upstreams.up.sticky has no effect on a passthrough site's "
                + "connections (sites[1] passes bytes on as they are)"
        ),
        (
            "balance: hash, hash: cookie C",
            "13:52: upstreams.up.hash has no effect on a passthrough "
                + "site's connections (sites[1] passes bytes on as they are)"
        ),
        (
            "retries: { statuses: [502] }",
            "13:37: upstreams.up.retries has no effect on a passthrough "
                + "site's connections (sites[1] passes bytes on as they are)"
        ),
    ]

    @Test("Upstreams of connections that are passed through know no requests", arguments: upstreams)
    func passthrough(keys: String, expected: String) {
        let text =
            Sample.split(
                "  - { hosts: b.example, passthrough: up }\n"
                    + "  - { hosts: c.example, passthrough: up, alpn: x }\n")
            + "  up: { servers: ['10.0.0.2:4433'], \(keys) }\n"
        let found = errors(text).filter { !$0.hasPrefix("main.yaml:10:") }

        #expect(found == ["main.yaml:" + expected])
    }

    @Test("A name that is not asked for is needed where servers prove one")
    func wildcardName() {
        let text =
            Sample.split(
                "  - { hosts: { lan: '*.b.example', public: '*.c.example' }, upstream: s }\n")
            + "  s: { servers: ['10.0.0.2:443'], tls: {} }\n"

        #expect(
            errors(text) == [
                "main.yaml:9:21: the host '*.b.example' does not say which name upstream 's' must "
                    + "prove (set upstreams.s.tls.name)"
            ])
    }

    @Test("Without views, hosts cannot be named by view")
    func withoutViews() {
        #expect(
            errors(Sample.hosts("{ lan: a.example }")) == [
                "main.yaml:3:11: sites[0].hosts names views, and none is defined (define them in "
                    + "'views', or list the hosts)"
            ])
    }

    @Test("What is passed through, or asks for certificates, needs a tls listener")
    func withoutTLS() {
        #expect(
            errors(Sample.minimal.replacing("upstream: app", with: "passthrough: app")) == [
                "main.yaml:3:42: sites[0]: 'passthrough' needs a tls listener ('protocol: tcp' "
                    + "passes on what is not TLS)"
            ])
        #expect(
            errors(
                Sample.minimal.replacing(
                    "upstream: app", with: "upstream: app, client_certificates: { ca: x }")) == [
                    "main.yaml:3:44: sites[0].client_certificates has no effect without a tls listener "
                        + "(give a listener 'protocol: tls')"
                ])
    }
}
