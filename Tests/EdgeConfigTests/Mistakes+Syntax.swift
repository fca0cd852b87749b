extension Mistake {
    /// What is no YAML, or YAML that the language does not have.
    static let syntax: [Mistake] = [
        Mistake(
            "a tab as indentation", "  lan:\n    interfaces",
            with: "  lan:\n\tinterfaces",
            says: [
                .init(
                    "7:1",
                    "found character that cannot start any token while scanning for the "
                        + "next token",
                    hint: "indent with spaces, not with tabs")
            ]),
        Mistake(
            "a bracket that is not closed", "[192.168.1.0/24]",
            with: "[192.168.1.0/24",
            says: [
                .init(
                    "9:14", "did not find expected ',' or ']' while parsing a flow sequence",
                    hint: "is the '[' at main.yaml:8:14 closed?")
            ]),
        Mistake(
            "a brace that is not closed", "{ a: 192.168.1.13 }",
            with: "{ a: 192.168.1.13",
            says: [
                .init(
                    "10:9", "did not find expected ',' or '}' while parsing a flow mapping",
                    hint: "is the '{' at main.yaml:9:16 closed?")
            ]),
        Mistake(
            "a quote that is not closed", "redirect: \"https://grafana.example${path}\"",
            with: "redirect: \"https://grafana.example${path}",
            says: [
                .init(
                    "44:15", "a quote is not closed",
                    hint: "it begins here")
            ]),
        Mistake(
            "a wildcard without quotes", "hosts: grafana.example",
            with: "hosts: *.example",
            says: [
                .init(
                    "32:13",
                    "did not find expected alphabetic or numeric character while "
                        + "scanning an alias",
                    hint: "quote a value that starts with '*'")
            ]),
        Mistake(
            "an anchor", "grafana:\n    servers",
            with: "grafana: &app\n    servers",
            says: [
                .init(
                    "46:12", "YAML anchors are not supported",
                    hint: "quote a value that starts with '&', or write it out where it is used")
            ]),
        Mistake(
            "an alias", "upstream: grafana\n    headers",
            with: "upstream: *app\n    headers",
            says: [
                .init(
                    "33:15", "YAML aliases are not supported",
                    hint: "quote a value that starts with '*', or write it out")
            ]),
        Mistake(
            "a tag", "workers: 2",
            with: "workers: !!int 2",
            says: [
                .init(
                    "3:10", "YAML tags are not supported",
                    hint: "quote a value that starts with '!'")
            ]),
        Mistake(
            "a merge key", "  vault:\n",
            with: "  vault:\n    <<: { protocol: h2 }\n",
            says: [
                .init(
                    "58:5", "YAML merge keys are not supported",
                    hint: "write the keys out")
            ]),
        Mistake(
            "a second document", "version: 1\n",
            with: "version: 1\n---\n",
            says: [
                .init(
                    "2:1", "a second document in one file",
                    hint: "use 'include:'")
            ]),
        Mistake(
            "a key that comes twice", "workers: 2\n",
            with: "workers: 2\nworkers: 4\n",
            says: [
                .init(
                    "4:1", "duplicate key 'workers'",
                    hint: "first at main.yaml:3:1")
            ]),
        Mistake(
            "a key without a blank behind its colon", "workers: 2",
            with: "workers:2",
            says: [
                .init(
                    "3:1", "could not find expected ':' while scanning a simple key",
                    hint: "a blank belongs behind the colon: 'key: value'")
            ]),
        Mistake(
            "a line that is indented too far", "    port: 443",
            with: "      port: 443",
            says: [
                .init(
                    "17:11", "mapping values are not allowed in this context",
                    hint: "is the line indented too far? A text with ': ' in it is quoted")
            ]),
        Mistake(
            "a line that is not indented enough", "    protocol: tls",
            with: "   protocol: tls",
            says: [
                .init(
                    "18:4", "did not find expected '-' indicator while parsing a block collection",
                    hint: "the line is not indented like its list entry; it begins at "
                        + "main.yaml:16:3")
            ]),
        Mistake(
            "a byte that is no UTF-8", "user: edged",
            with: "user: edgäd",
            says: [
                .init(
                    "2:11", "invalid trailing UTF-8 octet",
                    hint: "the file must be UTF-8")
            ], isLatin1: true),
        Mistake(
            "a list entry where a mapping is due", "timeouts:\n  handshake: 10s",
            with: "timeouts:\n  - handshake: 10s",
            says: [
                .init(
                    "68:3", "timeouts must be a mapping, not a list",
                    hint: "keys with their values: 'client_hello: …', 'handshake: …', "
                        + "'request_head: …'")
            ]),
        Mistake(
            "a key that is no text", "workers: 2",
            with: "[a]: 2",
            says: [
                .init("3:1", "a key must be a string, not a list")
            ]),
        Mistake(
            "text behind a value", "workers: 2",
            with: "workers: \"2\" 3",
            says: [
                .init(
                    "3:14", "did not find expected key while parsing a block mapping",
                    hint: "the line is not indented like the others, or a value has something "
                        + "behind it; it begins at main.yaml:1:1")
            ]),
        Mistake(
            "an empty section", "limits:\n  header_fields: 100",
            with: "limits:",
            says: [
                .init(
                    "69:8", "limits must be a mapping, not empty",
                    hint: "'{}' is the empty mapping")
            ]),
    ]
}
