package import EdgeVRRP

/// What the failover thread leaves to that of the program which the guardian becomes: numbers of
/// descriptors, which stay the same over an exec, and plain values. The guardian writes it down.
package struct FailoverHandover: Sendable, Equatable {
    package var instances: [Instance]
    package var sockets: [Socket]
    package var presence: Presence?

    /// By name; what is not configured any more is dropped by who resumes.
    package struct Instance: Sendable, Equatable {
        package var name: String
        package var record: ElectionRecord

        package init(name: String, record: ElectionRecord) {
            self.name = name
            self.record = record
        }
    }

    /// A raw socket, so that no group is left and joined anew, and nothing that arrives during the
    /// exec is lost.
    package struct Socket: Sendable, Equatable {
        package var descriptor: Int32
        package var interfaceName: String
        package var interfaceIndex: Int32
        package var family: IPFamily
        package var isMulticast: Bool

        package init(
            descriptor: Int32, interfaceName: String, interfaceIndex: Int32, family: IPFamily,
            isMulticast: Bool
        ) {
            self.descriptor = descriptor
            self.interfaceName = interfaceName
            self.interfaceIndex = interfaceIndex
            self.family = family
            self.isMulticast = isMulticast
        }
    }

    package struct Presence: Sendable, Equatable {
        /// The same boot goes on, with higher numbers.
        package var bootID: UInt64
        package var sequence: UInt64

        package init(bootID: UInt64, sequence: UInt64) {
            self.bootID = bootID
            self.sequence = sequence
        }
    }

    package init(instances: [Instance], sockets: [Socket], presence: Presence?) {
        self.instances = instances
        self.sockets = sockets
        self.presence = presence
    }

    package var descriptors: [Int32] { sockets.map(\.descriptor) }
}
