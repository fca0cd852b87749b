extension Mistake {
    /// Values of the wrong kind, form or range.
    static let values: [Mistake] = [
        Mistake(
            "a port in quotes", "port: 5432",
            with: "port: \"5432\"",
            says: [
                .init(
                    "25:11", "listeners[2].port must be a number, not '5432'",
                    hint: "without quotes")
            ]),
        Mistake(
            "a port out of range", "port: 5432",
            with: "port: 65536",
            says: [
                .init(
                    "25:11", "listeners[2].port is out of range: '65536'",
                    hint: "1 to 65535")
            ]),
        Mistake(
            "a port with a leading zero", "port: 80\n",
            with: "port: 080\n",
            says: [
                .init(
                    "20:11", "listeners[1].port must be a number, not '080'",
                    hint: "1 to 65535")
            ]),
        Mistake(
            "a number that is a word", "workers: 2",
            with: "workers: two",
            says: [
                .init(
                    "3:10", "workers must be a number, not 'two'",
                    hint: "'auto' or 1 to 64")
            ]),
        Mistake(
            "too many workers", "workers: 2",
            with: "workers: 1000",
            says: [
                .init(
                    "3:10", "workers is out of range: '1000'",
                    hint: "'auto' or 1 to 64")
            ]),
        Mistake(
            "a word that is not one of those allowed", "protocol: tls",
            with: "protocol: https",
            says: [
                .init(
                    "18:15", "listeners[0].protocol cannot be 'https'",
                    hint: "one of: tls, http, tcp")
            ]),
        Mistake(
            "a name with a blank", "name: postgres",
            with: "name: post gres",
            says: [
                .init(
                    "23:11", "'post gres' is not a name",
                    hint: "a letter, then letters, digits, '-', '_' or '.', at most 64")
            ]),
        Mistake(
            "a name that YAML takes for a boolean", "name: postgres",
            with: "name: on",
            says: [
                .init(
                    "23:11", "listeners[2].name must be a string: YAML reads 'on' as a boolean",
                    hint: "quote it")
            ]),
        Mistake(
            "a user by number", "user: edged",
            with: "user: 1000",
            says: [
                .init(
                    "2:7", "user must be a string: YAML reads '1000' as a number",
                    hint: "quote it")
            ]),
        Mistake(
            "a list where a text is due", "state: /var/lib/edged",
            with: "state: [/var/lib/edged]",
            says: [
                .init(
                    "4:8", "state must be a string, not a list",
                    hint: "one value, without brackets and '-'")
            ]),
        Mistake(
            "a text where a list is due", "    servers: [10.0.0.21:5432]",
            with: "    servers: 10.0.0.21:5432",
            says: [
                .init(
                    "60:14", "upstreams.postgres.servers must be a list, not a string",
                    hint: "entries in brackets: [a, b]")
            ]),
        Mistake(
            "an empty list", "    servers: [10.0.0.21:5432]",
            with: "    servers: []",
            says: [
                .init("60:14", "upstreams.postgres.servers is an empty list")
            ]),
        Mistake(
            "an empty value", "state: /var/lib/edged",
            with: "state:",
            says: [
                .init(
                    "4:7", "state has no value",
                    hint: "give it one, or leave out the key")
            ]),
        Mistake(
            "a mapping where a number is due", "header_fields: 100",
            with: "header_fields: { max: 100 }",
            says: [
                .init(
                    "70:18", "limits.header_fields must be a number, not a mapping",
                    hint: "1 to 256")
            ]),
        Mistake(
            "a boolean as another word", "  header_fields: 100\n",
            with: "  header_fields: 100\nforwarding:\n  forwarded: sometimes\n",
            says: [
                .init(
                    "72:14", "forwarding.forwarded cannot be 'sometimes'",
                    hint: "one of: no, yes")
            ]),
        Mistake(
            "a duration without a unit", "handshake: 10s",
            with: "handshake: 10",
            says: [
                .init(
                    "68:14", "the duration '10' has no unit",
                    hint: "10s for seconds")
            ]),
        Mistake(
            "a duration with an unknown unit", "handshake: 10s",
            with: "handshake: 10sec",
            says: [
                .init(
                    "68:14", "unknown unit 'sec' in the duration '10sec'",
                    hint: "one of: ms, s, m, h")
            ]),
        Mistake(
            "a duration out of range", "handshake: 10s",
            with: "handshake: 1h",
            says: [
                .init(
                    "68:14", "timeouts.handshake is out of range: '1h'",
                    hint: "100ms to 10m")
            ]),
        Mistake(
            "a negative duration", "handshake: 10s",
            with: "handshake: -1s",
            says: [
                .init(
                    "68:14", "'-1s' is not a duration",
                    hint: "a number and ms, s, m or h, such as 10s")
            ]),
        Mistake(
            "a size with a unit of the other kind", "  header_fields: 100",
            with: "  request_head: 64KB",
            says: [
                .init(
                    "70:17", "unknown unit 'KB' in the size '64KB'",
                    hint: "sizes are powers of two: write 64KiB")
            ]),
        Mistake(
            "a size without a unit", "  header_fields: 100",
            with: "  request_head: 65536",
            says: [
                .init(
                    "70:17", "the size '65536' has no unit",
                    hint: "65536B for bytes")
            ]),
        Mistake(
            "a limit out of range", "header_fields: 100",
            with: "header_fields: 1000",
            says: [
                .init(
                    "70:18", "limits.header_fields is out of range: '1000'",
                    hint: "1 to 256")
            ]),
        Mistake(
            "a limit of nothing", "header_fields: 100",
            with: "header_fields: 0",
            says: [
                .init(
                    "70:18", "limits.header_fields is out of range: '0'",
                    hint: "1 to 256")
            ]),
        Mistake(
            "a number with a fraction", "header_fields: 100",
            with: "header_fields: 99.5",
            says: [
                .init(
                    "70:18", "limits.header_fields must be a number, not '99.5'",
                    hint: "1 to 256")
            ]),
        Mistake(
            "yes and no as a number", "  header_fields: 100\n",
            with: "  header_fields: 100\nhttp2:\n  enabled: 1\n",
            says: [
                .init(
                    "72:12", "http2.enabled cannot be '1'",
                    hint: "one of: yes, no")
            ]),
    ]
}
