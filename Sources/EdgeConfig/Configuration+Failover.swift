package import EdgeCore
package import EdgeVRRP

extension Configuration {
    /// One of the machines that share the file.
    package struct Node: Sendable, Equatable {
        package let name: String
        /// At most one of each family.
        package let addresses: [SocketAddress]
        /// 1…255; only `failover` asks for it.
        package let priority: UInt8
        package init(name: String, addresses: [SocketAddress], priority: UInt8 = 100) {
            self.name = name
            self.addresses = addresses
            self.priority = priority
        }
    }

    /// Addresses that move between nodes.
    package struct Failover: Sendable, Equatable {
        /// Without a hook: running it is not the failover thread's business.
        package let settings: FailoverSettings
        /// A file with what presence is authenticated with; nil: it is not.
        package let secret: String?
        /// A file with another one that is believed as well; nil: there is none.
        package let acceptedSecret: String?
        /// A program that is run after each transition; nil: none.
        package let hook: String?
        package init(
            settings: FailoverSettings, secret: String? = nil, acceptedSecret: String? = nil,
            hook: String? = nil
        ) {
            self.settings = settings
            self.secret = secret
            self.acceptedSecret = acceptedSecret
            self.hook = hook
        }

        /// All addresses that move.
        package var addresses: [SocketAddress] {
            settings.instances.flatMap(\.families).flatMap(\.addresses).map(\.address)
        }
    }

    /// The nodes that are not this one.
    package var otherNodes: [Node] { nodes.filter { $0.name != node?.name } }
}
