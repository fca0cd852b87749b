extension Mistake {
    /// What parts of sites, and their rules, say against each other.
    static let rules: [Mistake] = [
        Mistake(
            "a group without a user", "user: edged",
            with: "group: edged",
            says: [
                .init(
                    "2:8", "'group' has no effect without 'user'",
                    hint: "set 'user'")
            ]),
        Mistake(
            "a second prefix", "        methods: [GET]\n",
            with: "        methods: [GET]\n      - prefix: /api\n",
            says: [
                .init(
                    "41:17", "sites[0] has the prefix '/api' twice",
                    hint: "first at main.yaml:38:17")
            ]),
        Mistake(
            "strip and rewrite", "        rewrite: /v2",
            with: "        rewrite: /v2\n        strip: yes",
            says: [
                .init(
                    "39:18", "sites[0].paths[0] has 'strip' and 'rewrite'",
                    hint: "'rewrite: /' is the same as 'strip: yes'")
            ]),
        Mistake(
            "a prefix without a slash", "prefix: /api",
            with: "prefix: api",
            says: [
                .init(
                    "38:17", "'api' is not a path",
                    hint: "it begins with '/'")
            ]),
        Mistake(
            "a prefix with a query", "prefix: /api",
            with: "prefix: /api?x",
            says: [
                .init(
                    "38:17", "'/api?x' has a character that no prefix has",
                    hint: "without query, wildcards, ';' and %XX")
            ]),
        Mistake(
            "a rewrite without a slash", "rewrite: /v2",
            with: "rewrite: v2",
            says: [
                .init(
                    "39:18", "'v2' is not a path",
                    hint: "it begins with '/'")
            ]),
        Mistake(
            "a method that is none", "methods: [GET]",
            with: "methods: [\"GET POST\"]",
            says: [
                .init(
                    "40:19", "'GET POST' is not a method",
                    hint: "such as GET")
            ]),
        Mistake(
            "a method in lower case", "methods: [GET]",
            with: "methods: [get]",
            says: [
                .init(
                    "40:19", "the method 'get' is unknown",
                    hint: "methods are case-sensitive: GET")
            ]),
        Mistake(
            "a field whose name is none", "X-Frame-Options: DENY",
            with: "X Frame: DENY",
            says: [
                .init(
                    "36:16", "'X Frame' is not the name of a header field",
                    hint: "letters, digits and '-', at most 64")
            ]),
        Mistake(
            "a field that frames messages", "X-Frame-Options: DENY",
            with: "Content-Length: \"0\"",
            says: [
                .init(
                    "36:16", "the field 'Content-Length' frames messages or is the connection's",
                    hint: "leave it out")
            ]),
        Mistake(
            "a variable that does not exist", "${path}",
            with: "${uri}",
            says: [
                .init(
                    "44:15", "unknown variable '${uri}'",
                    hint: "valid: client, view, host, id, path, query")
            ]),
        Mistake(
            "a variable that is not closed", "${path}\"",
            with: "${path\"",
            says: [
                .init(
                    "44:15", "a dollar in 'https://grafana.example${path' begins no variable",
                    hint: "'$$' is a dollar")
            ]),
        Mistake(
            "a dollar alone", "X-Frame-Options: DENY",
            with: "X-Price: \"5$\"",
            says: [
                .init(
                    "36:25", "a dollar in '5$' begins no variable",
                    hint: "'$$' is a dollar")
            ]),
        Mistake(
            "a status that is no redirect", "redirect: \"https://grafana.example${path}\"",
            with: "redirect: { to: \"https://x.example\", status: 200 }",
            says: [
                .init(
                    "44:50", "sites[2].redirect.status cannot be '200'",
                    hint: "one of: 301, 302, 303, 307, 308")
            ]),
        Mistake(
            "a redirect without a scheme", "redirect: \"https://grafana.example${path}\"",
            with: "redirect: \"grafana.example${path}\"",
            says: [
                .init(
                    "44:15", "'grafana.example${path}' is not a location",
                    hint: "such as \"https://${host}${path}${query}\", or a path: /login")
            ]),
        Mistake(
            "an HSTS value that is none", "    headers:\n      response",
            with: "    hsts: yes\n    headers:\n      response",
            says: [
                .init(
                    "34:11", "sites[0].hsts must be a string: YAML reads 'yes' as a boolean",
                    hint: "a duration, such as 8760h; or leave it out")
            ]),
    ]
}
