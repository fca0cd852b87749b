package import EdgeCore

extension Configuration {
    /// The link between the proxies of two nodes.
    package struct Pair: Sendable, Equatable {
        /// Where this node listens, or connects from.
        package let own: SocketAddress
        /// Where the other node does.
        package let peer: SocketAddress
        /// What this node is called; empty: nothing is known.
        package let name: String
        package let peerName: String
        /// With the key, the certificate and the other node's certificate.
        package let directory: String

        package init(
            own: SocketAddress, peer: SocketAddress, name: String, peerName: String,
            directory: String
        ) {
            self.own = own
            self.peer = peer
            self.name = name
            self.peerName = peerName
            self.directory = directory
        }

        package var certificate: String { directory + "/node.pem" }
        package var key: String { directory + "/node.key" }
        package var peerCertificate: String { directory + "/peer.pem" }
    }
}
