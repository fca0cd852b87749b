extension Schema {
    static let pairKeys: [Key] = [
        Key(
            "pair", .mapping,
            effect: "Links the proxies of the two nodes (TLS 1.3, each knows the other's "
                + "certificate): a TLS session of one is resumed on the other, addresses that one "
                + "knows help the other when DNS does not, what one finds down the other checks "
                + "at once, and differences between the nodes are told.",
            absence: "the nodes know nothing of each other's traffic",
            pitfalls: "Nothing waits for the link: without it only the sharing ends. Until "
                + "`edgectl pair init` has been said on both nodes there is none.",
            seeAlso: ["nodes"]),
        Key(
            "pair.directory", .text(.path), default: "pair",
            effect: "The folder with this node's key and certificate (`node.key`, `node.pem`) and "
                + "the other node's certificate (`peer.pem`), as `edgectl pair init` writes them. "
                + "Files that change are used at once.",
            pitfalls: "The proxy's user reads them; a key that everybody may read is refused. "
                + "Relative to the main file."),
        Key(
            "pair.port", .integer(1024...65535), default: "8947",
            effect: "The TCP port of the link on both nodes' addresses.",
            pitfalls: "One node listens, the other connects, and which is which changes with "
                + "their certificates: both must be able to reach each other."),
        Key(
            "pair.listen", .text(.endpoint),
            effect: "This node's own address and port for the link.",
            absence: "its address in `nodes`, and `pair.port`",
            pitfalls: "Needs `pair.peer`, and then the nodes' files are not the same.",
            seeAlso: ["pair.peer"]),
        Key(
            "pair.peer", .text(.endpoint),
            effect: "The other node's address and port; nobody else may connect.",
            absence: "its address in `nodes`, and `pair.port`", pitfalls: "Needs `pair.listen`.",
            seeAlso: ["pair.listen"]),
    ]
}
