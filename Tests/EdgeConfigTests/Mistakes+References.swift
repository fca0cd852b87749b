extension Mistake {
    /// What refers to something that is not there, or is there twice.
    static let references: [Mistake] = [
        Mistake(
            "an upstream that is not defined", "    upstream: grafana\n    headers",
            with: "    upstream: grafanna\n    headers",
            says: [
                .init(
                    "33:15", "sites[0].upstream: undefined upstream 'grafanna'",
                    hint: "did you mean 'grafana'? defined: grafana, vault, postgres")
            ]),
        Mistake(
            "an upstream of a tcp listener that is not defined", "    upstream: postgres",
            with: "    upstream: postgresql",
            says: [
                .init(
                    "27:15", "listener 'postgres': undefined upstream 'postgresql'",
                    hint: "did you mean 'postgres'? defined: grafana, vault, postgres")
            ]),
        Mistake(
            "an upstream that nobody uses", "    passthrough: vault",
            with: "    redirect: https://elsewhere.example",
            says: [
                .init(
                    "57:3", "no site and no tcp listener uses the upstream 'vault'",
                    hint: "name it in 'sites', or remove it")
            ]),
        Mistake(
            "a redirect that leads back to itself", "    passthrough: vault",
            with: "    redirect: https://vault.example",
            says: [
                .init(
                    "42:5", "sites[1].redirect leads back to itself",
                    hint: "its target is served here, and redirected again")
            ]),
        Mistake(
            "a view that is not defined", "hosts: { lan: vault.example }",
            with: "hosts: { lna: vault.example }",
            says: [
                .init(
                    "41:14", "sites[1].hosts: undefined view 'lna'",
                    hint: "did you mean 'lan'? defined: lan, public")
            ]),
        Mistake(
            "a listener to redirect to that is not defined", "redirect: https\n",
            with: "redirect: tls\n",
            says: [
                .init(
                    "22:15", "listeners[1].redirect: no listener is called 'tls'",
                    hint: "defined: https")
            ]),
        Mistake(
            "a redirect to a listener without TLS", "redirect: https\n",
            with: "redirect: postgres\n",
            says: [
                .init(
                    "22:15", "listeners[1].redirect: 'postgres' is not a tls listener",
                    hint: "see main.yaml:23:5")
            ]),
        Mistake(
            "a resolver that is not defined", "    unknown: refuse",
            with: "    unknown: refuse\n    resolver: extern",
            says: [
                .init(
                    "15:15", "views.public.resolver: undefined resolver 'extern'",
                    hint: "defined: internal")
            ]),
        Mistake(
            "a second listener of that name", "name: postgres",
            with: "name: https",
            says: [
                .init(
                    "23:11", "a second listener is called 'https'",
                    hint: "first at main.yaml:16:11")
            ]),
        Mistake(
            "a second resolver for a domain", "    domains: [internal]",
            with: "    domains: [internal]\n  other:\n    servers: [192.168.1.2]\n    "
                + "domains: [internal]",
            says: [
                .init(
                    "69:15", "the domain 'internal' has two resolvers",
                    hint: "first at main.yaml:66:15")
            ]),
        Mistake(
            "two resolvers for everything else", "    domains: [internal]",
            with: "    domains: [internal]\n  a:\n    servers: [192.168.1.2]\n  b:\n   "
                + " servers: [192.168.1.3]",
            says: [
                .init(
                    "69:3", "a second resolver without 'domains'",
                    hint: "first at main.yaml:67:3")
            ]),
        Mistake(
            "a tcp listener without an upstream", "    upstream: postgres\n",
            with: "",
            says: [
                .init(
                    "23:5", "listeners[2]: a tcp listener needs an 'upstream'",
                    hint: "it passes all bytes on to one"),
                .init(
                    "58:3", "no site and no tcp listener uses the upstream 'postgres'",
                    hint: "name it in 'sites', or remove it"),
            ]),
        Mistake(
            "an upstream of a listener for HTTP", "    redirect: https\n",
            with: "    redirect: https\n    upstream: grafana\n",
            says: [
                .init(
                    "23:15", "'upstream' needs 'protocol: tcp'",
                    hint: "for the others 'sites' say which upstream serves a host")
            ]),
        Mistake(
            "a redirect on a TLS listener", "    protocol: tls\n",
            with: "    protocol: tls\n    redirect: https\n",
            says: [
                .init(
                    "19:15", "'redirect' needs 'protocol: http'",
                    hint: "listeners[0] is a tls listener")
            ]),
        Mistake(
            "a TLS listener without certificates",
            "certificates:\n  directory: certs\n  default: grafana.example\n",
            with: "",
            says: [
                .init(
                    "16:5", "the tls listener 'https' has no certificates",
                    hint: "add 'certificates: { directory: … }'")
            ]),
        Mistake(
            "certificates without a folder", "  directory: certs\n",
            with: "",
            says: [
                .init(
                    "29:3", "certificates has no 'directory'",
                    hint: "directory: a path")
            ]),
        Mistake(
            "two destinations of one site", "    passthrough: vault",
            with: "    passthrough: vault\n    upstream: vault",
            says: [
                .init(
                    "43:5", "sites[1] has 'upstream' and 'passthrough'",
                    hint: "one of them: TLS ends here, or at the servers")
            ]),
        Mistake(
            "ALPN without passthrough", "  - hosts: grafana.example",
            with: "  - hosts: grafana.example\n    alpn: [h2]",
            says: [
                .init(
                    "33:12", "'alpn' needs 'passthrough'",
                    hint: "where TLS ends here, ALPN chooses between HTTP/1.1 and HTTP/2")
            ]),
        Mistake(
            "rules for what is passed through", "    passthrough: vault",
            with: "    passthrough: vault\n    methods: [GET]",
            says: [
                .init(
                    "43:5", "sites[1].methods has no effect with 'passthrough'",
                    hint: "requests are not seen: TLS is between the client and the server")
            ]),
        Mistake(
            "a PROXY header from nobody", "    trusted_proxies: [172.16.99.3]\n",
            with: "",
            says: [
                .init(
                    "12:5",
                    "views.public.proxy_protocol trusts nobody: every connection would "
                        + "be closed",
                    hint: "set 'trusted_proxies' to the proxies' addresses")
            ]),
        Mistake(
            "proxies that nobody listens to", "    proxy_protocol: required\n",
            with: "",
            says: [
                .init(
                    "12:5",
                    "views.public.trusted_proxies has no effect without 'proxy_protocol: "
                        + "required'",
                    hint: "no header is read, and so nobody is believed")
            ]),
        Mistake(
            "a view that can never be reached",
            "    interfaces: [eth0]\n    sources: [192.168.1.0/24]\n",
            with: "",
            says: [
                .init(
                    "8:3", "unreachable view 'public': what fits it belongs to 'lan'",
                    hint: "the first view that fits is taken, so the narrower one stands "
                        + "first; see main.yaml:6:3")
            ]),
    ]
}
