package import EdgeControlAPI

extension MetricsText {
    /// The addresses that move between nodes, as the guardian has told of them last.
    package mutating func failover(_ vip: VIPReply) {
        family(
            "edged_failover_state", .gauge,
            "1 for the state in which this node is to a group of addresses, 0 for the others."
        ) { sample in
            for instance in vip.instances {
                for state in VIPState.allCases {
                    sample(
                        [("group", instance.name), ("state", state.rawValue)],
                        instance.state == state ? 1 : 0)
                }
            }
        }
        family(
            "edged_failover_since_seconds", .gauge,
            "When the state of a group of addresses began, in Unix seconds."
        ) { sample in
            for instance in vip.instances {
                sample([("group", instance.name)], UInt64(max(instance.since, 0)))
            }
        }
        family(
            "edged_failover_events_total", .counter,
            "What has happened to a group of addresses since the daemon began, by what it was."
        ) { sample in
            for instance in vip.instances {
                for count in instance.counters {
                    sample(
                        [("group", instance.name), ("event", count.name)],
                        UInt64(max(count.value, 0)))
                }
            }
        }
        single(
            "edged_failover_fit", .gauge, "Whether this node says of itself that it lacks nothing.",
            vip.fitness == "fit" ? 1 : 0)
        single(
            "edged_failover_maintenance", .gauge, "Whether an administrator has drained this node.",
            vip.isInMaintenance ? 1 : 0)
        family(
            "edged_failover_peer_up", .gauge, "Whether another node has been heard lately."
        ) { sample in
            for peer in vip.peers { sample([("peer", peer.name)], peer.isLive ? 1 : 0) }
        }
        family(
            "edged_failover_thread_total", .counter,
            "What the thread that keeps the addresses has counted, by what it was."
        ) { sample in
            for count in vip.counters {
                sample([("event", count.name)], UInt64(max(count.value, 0)))
            }
        }
    }
}
