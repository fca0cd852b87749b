extension Schema {
    static let nodeKeys: [Key] = [
        Key(
            "nodes", .named,
            effect: "The machines that share this file, each under its host name, with all that "
                + "differs between them; two at most.",
            absence: "there is this machine only",
            pitfalls: "Which one this is, is decided by the host name, in full or its first label, "
                + "or by `--node`. It has to be one of them.",
            seeAlso: ["failover"]),
        Key(
            "nodes.*.address", .texts(.address, orSingle: true), required: true,
            effect:
                "Where the other node reaches this one; an IPv4 address, an IPv6 one, or one of "
                + "each.",
            pitfalls: "The machine's own address, which stays there; not one that moves."),
        Key(
            "nodes.*.priority", .integer(1...255), default: "100",
            effect: "Who has the addresses of `failover` if both could: the higher number.",
            pitfalls: "255 says that the addresses are this machine's own. With equal numbers the "
                + "higher address decides.",
            seeAlso: ["failover.preempt"]),
    ]

    static let failoverKeys: [Key] =
        [
            Key(
                "failover", .mapping,
                effect: "Addresses that belong to one of the nodes at a time, and move within "
                    + "milliseconds when it fails (VRRP version 3, RFC 9568; keepalived is "
                    + "understood).",
                absence: "no address moves",
                pitfalls: "Needs the right to change addresses (root, or CAP_NET_ADMIN and "
                    + "CAP_NET_RAW): without, the start is refused with exit code 77. Listeners "
                    + "may name the addresses although the machine does not have them.",
                seeAlso: ["nodes"]),
            Key(
                "failover.instances", .mappings,
                effect: "Several groups of addresses, each with its interface and number; what "
                    + "stands beside holds for each of them that says nothing else. At most 8.",
                absence: "there is one, and its keys stand in `failover` itself"),
        ] + instanceKeys(of: "failover", isOne: true)
        + [
            Key(
                "failover.priority", .integer(1...254), default: "100",
                effect: "Who has the addresses if several could: the higher number.",
                pitfalls: "Only without `nodes`, where each has its own.",
                seeAlso: ["nodes.*.priority"]),
            Key(
                "failover.secret", .text(.path),
                effect: "A file with a secret of 16 to 1024 bytes that both nodes have: what they "
                    + "tell each other about their health is believed only with it.",
                absence: "it is believed if it comes from the other's address",
                pitfalls: "VRRP's own messages carry no secret (RFC 9568 §1.2). A file that others "
                    + "may read is refused. Relative to the main file."),
            Key(
                "failover.accepted_secret", .text(.path),
                effect: "A file with another secret that is believed as well, so that a secret can "
                    + "be replaced without a moment in which the nodes do not believe each other.",
                absence: "`secret` alone is believed",
                pitfalls: "On both nodes: first the new one here, then the new one in `secret` and "
                    + "the old one here, then without this.",
                seeAlso: ["failover.secret"]),
            Key(
                "failover.port", .integer(1...65535), default: "8946",
                effect: "The UDP port on which the nodes tell each other how they are."),
            Key(
                "failover.boot_timeout", .duration(.zero...(.seconds(600))), default: "10s",
                effect: "For how long a node that starts waits for a sign of the other before it "
                    + "takes the addresses."),
            Key(
                "failover.on_change", .text(.path),
                effect: "A program that is run after each change of state, with the arguments "
                    + "instance, state (`master`, `backup`, `fault`) and cause.",
                absence: "nothing is run",
                pitfalls: "It runs as the daemon does: it and its folders must be root's, and "
                    + "nobody else's to write. It has 30 seconds, an environment of `PATH` alone, "
                    + "and no influence. Relative to the main file."),
        ]
        + [
            Key(
                "failover.instances[].name", .text(.name), required: true,
                effect: "What it is called in status, log and metrics.")
        ] + instanceKeys(of: "failover.instances[]", isOne: false)

    /// What each group of addresses has.
    ///
    /// - Parameter isOne: it is the only one, or the defaults of all.
    private static func instanceKeys(of parent: String, isOne: Bool) -> [Key] {
        func own(
            _ name: String, _ type: ValueType, effect: String, pitfalls: String? = nil
        ) -> Key {
            Key(
                "\(parent).\(name)", type, required: !isOne, effect: effect,
                absence: isOne ? "each of `failover.instances` has its own" : nil,
                pitfalls: pitfalls)
        }
        func shared(
            _ name: String, _ type: ValueType, default text: String? = nil, effect: String,
            absence: String? = nil, pitfalls: String? = nil, seeAlso: [String] = []
        ) -> Key {
            Key(
                "\(parent).\(name)", type, default: isOne ? text : nil, effect: effect,
                absence: isOne ? absence : "as `failover.\(name)` says", pitfalls: pitfalls,
                seeAlso: seeAlso)
        }
        return [
            own(
                "interface", .text(.interface),
                effect: "The network interface that has the addresses.",
                pitfalls: "One that is not there is waited for."),
            own(
                "addresses", .texts(.network, orSingle: true),
                effect: "The addresses, each with the length of its network's prefix; IPv4 and "
                    + "IPv6 move together. At most 16 of each.",
                pitfalls: "Both nodes and every other router of this number must have the same. "
                    + "They are put on and taken off by the daemon alone."),
            own(
                "router_id", .integer(1...255),
                effect: "The number of this group of addresses on its network (VRID).",
                pitfalls: "Nobody else on the network may use it, keepalived included."),
            shared(
                "interval", .duration(.milliseconds(10)...(.seconds(40))), default: "20ms",
                effect: "How often the node that has the addresses says so. The other one takes "
                    + "them after three times this, and up to a third more.",
                pitfalls: "A multiple of 10ms."),
            shared(
                "preempt", .text(.preempt), default: "no",
                effect: "Whether a node of higher priority that comes back takes the addresses "
                    + "from one that does its work: `no`, `yes`, or `after` a time without trouble.",
                pitfalls: "Each move costs what is under way.", seeAlso: ["nodes.*.priority"]),
            shared(
                "unicast", .choice(["no", "yes"]), default: "no",
                effect: "Whether the nodes talk to each other's address instead of to the group of "
                    + "all routers (224.0.0.18, ff02::12).",
                pitfalls: "Needs `nodes` or `peers`."),
            shared(
                "peers", .texts(.address, orSingle: true),
                effect: "Whom to talk to with `unicast`, for routers that are not in `nodes`.",
                absence: "the addresses of the other node",
                pitfalls: "Only with `unicast: yes`; nobody else is listened to then. A list of "
                    + "both nodes' addresses on that interface is the same on both."),
            shared(
                "unicast_hop_limit", .choice(["255", "any"]), default: "255",
                effect: "Which hop limit (TTL) messages of `unicast` must come with: 255, which no "
                    + "message has that came over a router, or any. This node sends 255.",
                pitfalls: "keepalived 2.2 sends IPv6 with 64: with it as the peer, `any`. Then a "
                    + "message counts by its source address alone, and who can send from elsewhere "
                    + "in a peer's name can take the addresses away: let no such packet into the "
                    + "network.",
                seeAlso: ["failover.unicast"]),
            shared(
                "track", .texts(.interface, orSingle: true),
                effect: "Further interfaces without which the node cannot do its work, such as the "
                    + "one to the servers; at most 8.",
                absence: "the interface of the addresses alone",
                pitfalls: "The addresses move when one of them has no link, if the other node has."),
            shared(
                "mac", .choice(["interface", "virtual"]), default: "interface",
                effect:
                    "Whether the addresses answer with the interface's own hardware address, or "
                    + "with VRRP's (00:00:5e:00:01:NN), which moves with them.",
                pitfalls: "`virtual` puts an interface of its own (macvlan) on top; not every "
                    + "switch and no wireless network takes it."),
            shared(
                "checksum", .choice(["full", "bare"]), default: "full",
                effect: "Of messages over IPv4: with the pseudo-header (`full`, RFC 9568 and "
                    + "keepalived), or without it (`bare`), as some other routers want it. Both "
                    + "are understood."),
        ]
    }
}
