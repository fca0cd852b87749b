import Testing

@testable import EdgeConfig

@Suite("What a configuration is refused for")
struct RefusalTests {
    static let keys: [(String, String)] = [
        (
            "version: 1\nlisteners: [{ name: w, port: 80, protocol: http }]\n"
                + "sites: [{ hosts: a.example, upstrem: app }]\n",
            """
            main.yaml:3:9: sites[0] has no 'upstream' (where do its requests go? 'redirect' and \
            'passthrough' say so, too)
            main.yaml:3:29: unknown key 'upstrem' in sites[0] (did you mean 'upstream'?)
            """
        ),
        (
            Sample.minimal + "sties: []\n",
            "main.yaml:6:1: unknown key 'sties' at the top level (did you mean 'sites'?)"
        ),
        (
            Sample.minimal + "timeouts: { zebra: 1s }\n",
            "main.yaml:6:13: unknown key 'zebra' in timeouts (valid: client_hello, handshake, "
                + "request_head, keep_alive, body, tcp, tunnel, serve_deadline, hang, drain)"
        ),
        (
            Sample.upstream("timeouts: { conect: 1s }"),
            "main.yaml:5:48: unknown key 'conect' in upstreams.app.timeouts "
                + "(did you mean 'connect'?)"
        ),
        (
            "",
            """
            main.yaml:1:1: the configuration has no 'version' (version: 1)
            main.yaml:1:1: the configuration has no 'listeners'
            """
        ),
        (
            "- a\n",
            "main.yaml:1:1: the file must be a mapping, not a list (keys with their values: "
                + "'version: …', 'include: …', 'user: …')"
        ),
        (
            Sample.minimal.replacing("version: 1", with: "version: 2"),
            "main.yaml:1:10: version is out of range: '2' (1, and no other)"
        ),
    ]

    static let values: [(String, String)] = [
        (
            Sample.minimal.replacing("80,", with: "\"80\","),
            "main.yaml:2:32: listeners[0].port must be a number, not '80' (without quotes)"
        ),
        (
            Sample.minimal.replacing("80,", with: "65536,"),
            "main.yaml:2:32: listeners[0].port is out of range: '65536' (1 to 65535)"
        ),
        (
            Sample.minimal.replacing("80,", with: "0x50,"),
            "main.yaml:2:32: listeners[0].port must be a number, not '0x50' (1 to 65535)"
        ),
        (
            Sample.minimal.replacing("80,", with: "080,"),
            "main.yaml:2:32: listeners[0].port must be a number, not '080' (1 to 65535)"
        ),
        (
            Sample.minimal.replacing("80,", with: "[80],"),
            "main.yaml:2:32: listeners[0].port must be a number, not a list (1 to 65535)"
        ),
        (
            Sample.minimal.replacing("http }", with: "https }"),
            "main.yaml:2:46: listeners[0].protocol cannot be 'https' (one of: tls, http, tcp)"
        ),
        (
            Sample.minimal.replacing("name: web", with: "name: yes"),
            "main.yaml:2:21: listeners[0].name must be a string: YAML reads 'yes' as a boolean "
                + "(quote it)"
        ),
        (
            Sample.minimal.replacing("name: web", with: "name: web one"),
            "main.yaml:2:21: 'web one' is not a name (a letter, then letters, digits, '-', '_' or "
                + "'.', at most 64)"
        ),
        (
            Sample.minimal + "user: 1000\n",
            "main.yaml:6:7: user must be a string: YAML reads '1000' as a number (quote it)"
        ),
        (
            Sample.minimal + "user: '1000'\n",
            "main.yaml:6:7: '1000' is not the name of a user or group"
        ),
        (
            Sample.minimal + "user:\n",
            "main.yaml:6:6: user has no value (give it one, or leave out the key)"
        ),
        (
            Sample.minimal + "admin:\n  socket: \"a\\0b\"\n",
            "main.yaml:7:11: admin.socket contains a control character: 'a\\u{0}b'"
        ),
        (
            Sample.minimal + "workers: many\n",
            "main.yaml:6:10: workers must be a number, not 'many' ('auto' or 1 to 64)"
        ),
        (
            Sample.minimal + "workers: 65\n",
            "main.yaml:6:10: workers is out of range: '65' ('auto' or 1 to 64)"
        ),
        (
            Sample.minimal + "timeouts: { handshake: 10 }\n",
            "main.yaml:6:24: the duration '10' has no unit (10s for seconds)"
        ),
        (
            Sample.minimal + "timeouts: { handshake: 11m }\n",
            "main.yaml:6:24: timeouts.handshake is out of range: '11m' (100ms to 10m)"
        ),
        (
            Sample.minimal + "timeouts: { handshake: }\n",
            "main.yaml:6:24: timeouts.handshake must have a value, not empty (100ms to 10m)"
        ),
        (
            Sample.minimal + "limits: { request_head: 2MiB, header_fields: 257 }\n",
            """
            main.yaml:6:25: limits.request_head is out of range: '2MiB' (1KiB to 1MiB)
            main.yaml:6:46: limits.header_fields is out of range: '257' (1 to 256)
            """
        ),
        (
            Sample.minimal + "limits: { request_head: 64KB }\n",
            "main.yaml:6:25: unknown unit 'KB' in the size '64KB' (sizes are powers of two: write "
                + "64KiB)"
        ),
        (
            Sample.minimal + "limits: 5\n",
            "main.yaml:6:9: limits must be a mapping, not a number (keys with their values: "
                + "'connections: …', 'request_head: …', 'request_line: …')"
        ),
        (
            Sample.upstream("tls:"),
            "main.yaml:5:41: upstreams.app.tls must be a mapping, not empty ('{}' is the empty "
                + "mapping)"
        ),
        (
            Sample.minimal.replacing("[\"10.0.0.1:80\"]", with: "\"10.0.0.1:80\""),
            "main.yaml:5:19: upstreams.app.servers must be a list, not a string (entries in "
                + "brackets: [a, b])"
        ),
        (
            Sample.minimal.replacing("[\"10.0.0.1:80\"]", with: "[]"),
            "main.yaml:5:19: upstreams.app.servers is an empty list"
        ),
        (
            Sample.minimal.replacing("10.0.0.1:80", with: "10.0.0.1"),
            "main.yaml:5:20: '10.0.0.1' has no port (such as 10.0.0.1:443)"
        ),
        (
            Sample.minimal.replacing("10.0.0.1:80", with: "http://a:80"),
            "main.yaml:5:20: 'http://a:80' is not host:port (without scheme and path)"
        ),
        (
            Sample.hosts("[a.example, {b: c}]"),
            "main.yaml:3:30: sites[0].hosts[1] must be a string, not a mapping"
        ),
        (
            Sample.minimal.replacing("sites: [", with: "sites: [a, "),
            "main.yaml:3:9: sites[0] must be a mapping, not a string (keys with their values: "
                + "'hosts: …', 'internal: …', 'upstream: …')"
        ),
        (
            Sample.listener("address: 10.0.0.1:80"),
            "main.yaml:2:61: '10.0.0.1:80' is not an address (an IPv4 or IPv6 address without "
                + "port, such as 192.0.2.1)"
        ),
    ]

    @Test("Unknown, missing and misplaced keys", arguments: keys)
    func key(text: String, expected: String) {
        #expect(errors(text).joined(separator: "\n") == expected)
    }

    @Test("Values of the wrong kind, form or range", arguments: values)
    func value(text: String, expected: String) {
        #expect(errors(text).joined(separator: "\n") == expected)
    }
}

@Suite("Rules between the parts of a configuration")
struct RuleTests {
    static let rules: [(String, String)] = [
        (
            Sample.minimal.replacing("upstream: app", with: "upstream: aps"),
            "main.yaml:3:39: sites[0].upstream: undefined upstream 'aps' (did you mean 'app'? "
                + "defined: app)"
        ),
        (
            "version: 1\nlisteners: [{ name: w, port: 80, protocol: http }]\n"
                + "sites: [{ hosts: a.example, upstream: app }]\n",
            "main.yaml:3:39: sites[0].upstream: undefined upstream 'app' (no upstream is defined)"
        ),
        (
            Sample.minimal + "  spare: { servers: ['10.0.0.2:80'] }\n",
            "main.yaml:6:3: no site and no tcp listener uses the upstream 'spare' (name it in "
                + "'sites', or remove it)"
        ),
        (
            Sample.hosts("[a.example, A.Example]"),
            "main.yaml:3:30: the host 'a.example' is served twice (first at main.yaml:3:19)"
        ),
        (
            Sample.minimal.replacing(
                "http }]", with: "http }, { name: web, port: 81, protocol: http }]"),
            "main.yaml:2:62: a second listener is called 'web' (first at main.yaml:2:21)"
        ),
        (
            Sample.minimal.replacing(
                "http }]", with: "http }, { name: b, port: 80, protocol: http }]"),
            "main.yaml:2:65: [::]:80 is listened on twice (first at main.yaml:2:26)"
        ),
        (
            Sample.listener("address: ['::', 0.0.0.0]"),
            "main.yaml:2:68: 0.0.0.0:80 competes with [::]:80 ('::' alone serves IPv4 too; "
                + "first at main.yaml:2:62)"
        ),
        (
            Sample.listener("redirect: web"),
            "main.yaml:2:62: listeners[0].redirect: 'web' is not a tls listener (see "
                + "main.yaml:2:13)"
        ),
        (
            Sample.listener("redirect: web").replacing("protocol: http", with: "protocol: tls")
                + "certificates: { directory: certs }\n",
            "main.yaml:2:61: 'redirect' needs 'protocol: http' (listeners[0] is a tls listener)"
        ),
        (
            Sample.listener("upstream: app"),
            "main.yaml:2:62: 'upstream' needs 'protocol: tcp' (for the others 'sites' say which "
                + "upstream serves a host)"
        ),
        (
            Sample.listener("x").replacing("protocol: http, x", with: "protocol: tcp"),
            "main.yaml:2:13: listeners[0]: a tcp listener needs an 'upstream' (it passes all bytes "
                + "on to one)"
        ),
        (
            Sample.listener("upstream: ap").replacing("protocol: http", with: "protocol: tcp"),
            "main.yaml:2:61: listener 'web': undefined upstream 'ap' (did you mean 'app'? defined: "
                + "app)"
        ),
        (
            Sample.listener("upstream: app").replacing("protocol: http", with: "protocol: tcp")
                .replacing("80\"] }", with: "80\"], tls: { name: a.example } }"),
            "main.yaml:2:61: listener 'web': upstream 'app' has 'tls' (a tcp listener passes bytes "
                + "on as they are; TLS is then between the client and the server)"
        ),
        (
            Sample.listener("redirect: https"),
            "main.yaml:2:62: listeners[0].redirect: no listener is called 'https' (no tls listener "
                + "is defined)"
        ),
        (
            Sample.minimal.replacing("protocol: http", with: "protocol: tls"),
            "main.yaml:2:13: the tls listener 'web' has no certificates (add 'certificates: { "
                + "directory: … }')"
        ),
        (
            Sample.minimal + "certificates: { directory: certs }\n",
            "main.yaml:6:15: 'certificates' has no effect without a tls listener (give a listener "
                + "'protocol: tls')"
        ),
        (
            Sample.minimal.replacing("[{ name: web, port: 80, protocol: http }]", with: "[]"),
            "main.yaml:2:1: there is no listener: the sites are unreachable (name, port and "
                + "protocol of at least one)"
        ),
        (
            "version: 1\nlisteners: []\n",
            "main.yaml:2:1: there is no listener: nothing is served (name, port and protocol of "
                + "at least one)"
        ),
        (
            Sample.minimal.replacing("app", with: "\"a\\nb\"").replacing(
                "upstream: \"a\\nb\"", with: "upstream: ab"),
            """
            main.yaml:3:39: sites[0].upstream: undefined upstream 'ab' (defined: 'a\\u{a}b')
            main.yaml:5:3: 'a\\u{a}b' is not a name (a letter, then letters, digits, '-', '_' or \
            '.', at most 64)
            """
        ),
        (
            "version: 1\nlisteners:\n"
                + (1...65).map { "- { name: l\($0), port: \($0), protocol: http }\n" }.joined(),
            "main.yaml:67:3: more than 64 listeners"
        ),
        (
            Sample.listener(
                "address: [" + (1...17).map { "10.0.0.\($0)" }.joined(separator: ", ") + "]"),
            "main.yaml:2:229: listeners[0] has more than 16 addresses"
        ),
        (
            Sample.upstream("tls: {}").replacing("a.example", with: "'*.example'"),
            "main.yaml:3:18: the host '*.example' does not say which name upstream 'app' must "
                + "prove (set upstreams.app.tls.name)"
        ),
        (
            Sample.upstream("tls: {}").replacing("a.example", with: "'*'"),
            "main.yaml:3:18: the host '*' does not say which name upstream 'app' must "
                + "prove (set upstreams.app.tls.name)"
        ),
        (
            Sample.upstream("tls: { ca: x.pem, verify: none }"),
            "main.yaml:5:47: upstreams.app.tls.ca has no effect with 'verify: none' (remove one of "
                + "them)"
        ),
        (
            Sample.upstream("tls: { key: x.key }"),
            "main.yaml:5:48: upstreams.app.tls.key has no effect without a certificate (set "
                + "'certificate')"
        ),
        (
            Sample.minimal.replacing("\"10.0.0.1:80\"", with: "'a:80', 'A:80'"),
            "main.yaml:5:28: upstreams.app has the same server twice (first at main.yaml:5:20)"
        ),
        (
            Sample.minimal + "group: edged\n",
            "main.yaml:6:8: 'group' has no effect without 'user' (set 'user')"
        ),
        (
            Sample.minimal + "admin: { group: a }\n",
            "main.yaml:6:17: admin.group has no effect without admin.socket (set 'socket')"
        ),
        (
            Sample.minimal + "admin: { http: '10.0.0.1:9464' }\n",
            "main.yaml:6:16: admin.http must be a loopback address, not 10.0.0.1:9464 (it has no "
                + "authentication: 127.0.0.1:9464)"
        ),
        (
            Sample.minimal + "admin: { http: '127.0.0.1:80' }\n",
            "main.yaml:6:16: admin.http uses the port of listener 'web' (see main.yaml:2:13)"
        ),
        (
            Sample.minimal + "admin: { probes: ['10.0.0.1:9465', '10.0.0.1:80'] }\n",
            "main.yaml:6:36: admin.probes uses the port of listener 'web' (see main.yaml:2:13)"
        ),
        (
            Sample.minimal + "admin: { probes: ['10.0.0.1:1', '10.0.0.1:1'] }\n",
            "main.yaml:6:33: admin.probes has 10.0.0.1:1 twice"
        ),
        (
            Sample.minimal + "admin: { http: '127.0.0.1:1', probes: '127.0.0.1:1' }\n",
            "main.yaml:6:39: admin.probes has the address of admin.http"
        ),
        (
            Sample.minimal
                + "resolvers:\n  a: { servers: [10.0.0.1] }\n  b: { servers: [10.0.0.2] }\n",
            "main.yaml:8:3: a second resolver without 'domains' (first at main.yaml:7:3)"
        ),
        (
            Sample.minimal
                + "resolvers:\n  a: { servers: [10.0.0.1], domains: [x, X] }\n",
            "main.yaml:7:42: the domain 'x' has two resolvers (first at main.yaml:7:39)"
        ),
    ]

    @Test("What does not fit together is refused where it is written", arguments: rules)
    func rule(text: String, expected: String) {
        #expect(errors(text).joined(separator: "\n") == expected)
    }

    static let unreadable: [(String, String)] = [
        (
            Sample.minimal.replacing("app: {", with: "app: 5 #"),
            "main.yaml:5:8: upstreams.app must be a mapping, not a number (keys with their values: "
                + "'protocol: …', 'servers: …', 'tls: …')"
        ),
        (
            Sample.minimal.replacing("upstream: app", with: "upstrem: app"),
            """
            main.yaml:3:9: sites[0] has no 'upstream' (where do its requests go? 'redirect' and \
            'passthrough' say so, too)
            main.yaml:3:29: unknown key 'upstrem' in sites[0] (did you mean 'upstream'?)
            """
        ),
        (
            "version: 1\nsites: [{ hosts: a.example, upstream: app }]\n"
                + "upstreams: { app: { servers: ['10.0.0.1:80'] } }\n",
            "main.yaml:1:1: the configuration has no 'listeners'"
        ),
        (
            Sample.minimal + "certificates: {}\n",
            "main.yaml:6:15: certificates has no 'directory' (directory: a path)"
        ),
        (
            Sample.minimal.replacing("upstreams:\n  app", with: "upstreams: 5\n#"),
            "main.yaml:4:12: upstreams must be a mapping, not a number (names with their settings)"
        ),
    ]

    @Test(
        "What could not be read is reported once, not again by what refers to it",
        arguments: unreadable)
    func once(text: String, expected: String) {
        #expect(errors(text).joined(separator: "\n") == expected)
    }

    static let allowed: [String] = [
        Sample.upstream("tls: { name: app.internal }").replacing("a.example", with: "'*.example'"),
        Sample.upstream("tls: { verify: none }").replacing("a.example", with: "'*'"),
        Sample.listener("address: [127.0.0.1, '::1']"),
        Sample.listener("address: '::'") + "admin: { http: '[::1]:9464' }\n",
        Sample.hosts("['*', '*.example', a.example]"),
    ]

    @Test("What fits together is accepted", arguments: allowed)
    func accepted(text: String) {
        #expect(errors(text) == [])
    }

    @Test("A name defined in two files is refused, naming both")
    func acrossFiles() {
        let bundle = ConfigurationBundle(
            Sample.minimal,
            included: [
                "upstreams: { app: { servers: ['10.0.0.2:80'] } }\n",
                "sites: [{ hosts: a.example, upstream: app }]\n",
                "listeners:\n  - { name: web, port: 81, protocol: http }\n",
                "user: root\n",
            ])

        #expect(
            errors(bundle) == [
                "part-1.yaml:1:14: a second upstream is called 'app' (first at main.yaml:5:3)",
                "part-2.yaml:1:18: the host 'a.example' is served twice (first at main.yaml:3:18)",
                "part-3.yaml:2:13: a second listener is called 'web' (first at main.yaml:2:21)",
                "part-4.yaml:1:1: 'user' is not allowed in an included file (allowed: listeners, "
                    + "sites, upstreams, resolvers)",
            ])
    }

    @Test("All errors of all files are reported at once, in the order of the files")
    func collected() {
        let bundle = ConfigurationBundle(
            "version: 1\nlisteners: [{ name: w, port: 0, protocol: x }]\nsites: 1\n",
            included: ["resolvers: []\n"])

        #expect(
            errors(bundle) == [
                "main.yaml:2:30: listeners[0].port is out of range: '0' (1 to 65535)",
                "main.yaml:2:43: listeners[0].protocol cannot be 'x' (one of: tls, http, tcp)",
                "main.yaml:3:8: sites must be a list, not a number (each entry begins with '- ')",
                "part-1.yaml:1:12: resolvers must be a mapping, not a list (names with their "
                    + "settings)",
            ])
    }

    @Test("A syntax error in one file keeps the others' names from being called undefined")
    func syntaxFirst() {
        let bundle = ConfigurationBundle(
            Sample.minimal.replacing("upstream: app", with: "upstream: other"),
            included: ["upstreams: {\n"])

        #expect(errors(bundle).count == 1)
        #expect(errors(bundle)[0].hasPrefix("part-1.yaml:2:1: "))
    }
}
