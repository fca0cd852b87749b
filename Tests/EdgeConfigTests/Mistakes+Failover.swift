extension Mistake {
    /// Nodes, and the addresses that move between them.
    static let failover: [Mistake] = [
        Mistake(
            "a node that this machine is not", "  lb-01:\n", with: "  lb-03:\n",
            says: [
                .init(
                    "76:1", "no node is called 'lb-01.home.example', as this machine is",
                    hint: "one of: lb-03, lb-02; '--node NAME' says which this is")
            ]),
        Mistake(
            "nodes without failover", "failover:\n  interface", with: "timeout:\n  interface",
            says: [
                .init(
                    "76:1", "'nodes' has no effect without 'failover'",
                    hint: "nothing else differs between nodes"),
                .init(
                    "82:1", "unknown key 'timeout' at the top level",
                    hint: "did you mean 'timeouts'?"),
            ]),
        Mistake(
            "a third node", "  lb-02:\n",
            with: "  lb-03:\n    address: 192.168.1.14\n  lb-02:\n",
            says: [
                .init("82:3", "more than 2 nodes", hint: "a pair shares one file")
            ]),
        Mistake(
            "two nodes with one address", "address: 192.168.1.12", with: "address: 192.168.1.11",
            says: [
                .init(
                    "80:3", "nodes.lb-02 has the address 192.168.1.11 of 'lb-01'",
                    hint: "see main.yaml:77:3")
            ]),
        Mistake(
            "nodes that cannot reach each other", "address: 192.168.1.12",
            with: "address: 2001:db8:1::12",
            says: [
                .init(
                    "80:3", "nodes.lb-02 and 'lb-01' have no addresses of one family",
                    hint: "an IPv4 or an IPv6 address for both")
            ]),
        Mistake(
            "a node at a loopback address", "address: 192.168.1.12", with: "address: 127.0.0.1",
            says: [
                .init(
                    "81:14", "nodes.lb-02.address: 127.0.0.1 is a loopback address",
                    hint: "the machine's own address in the network of the other node")
            ]),
        Mistake(
            "a priority that says too much", "priority: 101", with: "priority: 255",
            says: [
                .init(
                    "79:15",
                    "nodes.lb-01.priority: 255 says that the addresses of 'failover' are the "
                        + "machine's own, which they are not",
                    hint: "1 to 254")
            ]),
        Mistake(
            "a priority beyond VRRP's", "priority: 101", with: "priority: 256",
            says: [
                .init(
                    "79:15", "nodes.lb-01.priority is out of range: '256'", hint: "1 to 255")
            ]),
        Mistake(
            "a priority beside the nodes'", "  router_id: 101\n",
            with: "  router_id: 101\n  priority: 150\n",
            says: [
                .init(
                    "88:13", "failover.priority has no effect beside 'nodes'",
                    hint: "each of them has its own 'priority'")
            ]),
        Mistake(
            "an address without the length of its prefix", "192.168.1.13/24",
            with: "192.168.1.13",
            says: [
                .init(
                    "85:7", "'192.168.1.13' has no prefix length",
                    hint: "as the network has it, such as 192.168.1.13/24")
            ]),
        Mistake(
            "a prefix that is too long", "192.168.1.13/24", with: "192.168.1.13/33",
            says: [
                .init(
                    "85:7", "the prefix length of '192.168.1.13/33' is out of range",
                    hint: "1 to 32")
            ]),
        Mistake(
            "a network in place of an address", "192.168.1.13/24", with: "192.168.1.0/24",
            says: [
                .init(
                    "85:7",
                    "'192.168.1.0/24' is the first address of its network, which no machine has")
            ]),
        Mistake(
            "an address that is a node's own", "192.168.1.13/24", with: "192.168.1.12/24",
            says: [
                .init(
                    "85:7",
                    "failover.addresses: 192.168.1.12 is the own address of node 'lb-02'",
                    hint: "one that both can have; see main.yaml:80:3")
            ]),
        Mistake(
            "an address that moves twice", "2001:db8:1::13/64", with: "192.168.1.13/25",
            says: [
                .init(
                    "86:7", "failover.addresses: 192.168.1.13 is there twice",
                    hint: "first at main.yaml:85:7")
            ]),
        Mistake(
            "a router id beyond VRRP's", "router_id: 101", with: "router_id: 256",
            says: [
                .init(
                    "87:14", "failover.router_id is out of range: '256'", hint: "1 to 255")
            ]),
        Mistake(
            "an interval that VRRP cannot say", "interval: 20ms", with: "interval: 25ms",
            says: [
                .init(
                    "88:13", "failover.interval is no multiple of 10ms, as VRRP counts",
                    hint: "20ms or 30ms")
            ]),
        Mistake(
            "an interval that is too short", "interval: 20ms", with: "interval: 5ms",
            says: [
                .init("88:13", "failover.interval is out of range: '5ms'", hint: "10ms to 40s")
            ]),
        Mistake(
            "a preference that is none", "preempt: after 5m", with: "preempt: later",
            says: [
                .init(
                    "89:12", "failover.preempt cannot be 'later'",
                    hint: "'no', 'yes', or 'after' and a duration, such as 'after 5m'")
            ]),
        Mistake(
            "a preference after no time", "preempt: after 5m", with: "preempt: after 5",
            says: [
                .init("89:12", "the duration '5' has no unit", hint: "5s for seconds")
            ]),
        Mistake(
            "failover on the loopback interface", "  interface: eth0\n", with: "  interface: lo\n",
            says: [
                .init(
                    "83:14", "failover.interface: 'lo' has no other node on it",
                    hint: "the interface of the network that clients come from")
            ]),
        Mistake(
            "failover without a number", "  router_id: 101\n", with: "",
            says: [
                .init("83:3", "failover has no 'router_id'", hint: "router_id: 1 to 255")
            ]),
        Mistake(
            "an interface that is tracked twice", "  router_id: 101\n",
            with: "  router_id: 101\n  track: [eth0]\n",
            says: [
                .init(
                    "88:11", "failover.track has the interface of the addresses",
                    hint: "that one is watched anyway")
            ]),
        Mistake(
            "peers that nobody talks to", "  router_id: 101\n",
            with: "  router_id: 101\n  peers: [192.168.1.12]\n",
            says: [
                .init(
                    "88:3", "failover.peers has no effect without 'unicast: yes'",
                    hint: "set 'unicast'")
            ]),
        Mistake(
            "unicast to a node that lacks the family", "  router_id: 101\n",
            with: "  router_id: 101\n  unicast: yes\n",
            says: [
                .init(
                    "86:7",
                    "failover has IPv6 addresses, and no peer has one for 'unicast: yes'",
                    hint: "give the other node an IPv6 address")
            ]),
        Mistake(
            "an instance's key beside instances", "  router_id: 101\n",
            with: "  instances:\n"
                + "    - { name: a, interface: eth0, router_id: 1, addresses: 192.168.1.14/24 }\n",
            says: [
                .init(
                    "83:3", "failover.interface has no effect beside 'instances'",
                    hint: "each of them has its own"),
                .init(
                    "84:3", "failover.addresses has no effect beside 'instances'",
                    hint: "each of them has its own"),
            ]),
    ]
}
