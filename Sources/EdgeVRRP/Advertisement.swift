package import EdgeCore

/// A VRRPv3 advertisement (RFC 9568 §5.1): who is master of a virtual router, how strongly, and
/// when to expect the next.
package struct Advertisement: Sendable, Equatable {
    package var family: IPFamily
    /// 1…255; 0 is refused by no rule of the RFC and by ours: no instance has it.
    package var routerID: UInt8
    /// 0: the master gives the addresses up. 255: it owns them.
    package var priority: UInt8
    /// The interval in which the sender means to send, in centiseconds: 1…4095.
    package var centiseconds: UInt16
    /// One to 255, in the sender's order, port 0. The first IPv6 address is link-local.
    package var addresses: [SocketAddress]

    package init(
        family: IPFamily, routerID: UInt8, priority: UInt8, centiseconds: UInt16,
        addresses: [SocketAddress]
    ) {
        self.family = family
        self.routerID = routerID
        self.priority = priority
        self.centiseconds = centiseconds
        self.addresses = addresses
    }

    /// The advertised interval as a span.
    package var interval: Duration { .milliseconds(Int(centiseconds) * 10) }

    /// IP protocol number (RFC 9568 §5.1.1.4).
    package static let ipProtocol: UInt8 = 112
    /// The one allowed TTL or hop limit (RFC 9568 §5.1.1.3, §5.1.2.3): a packet that came over a
    /// router has less.
    package static let hops: UInt8 = 255
    /// Bytes before the addresses.
    package static let headByteCount = 8
    package static let centisecondsMax: UInt16 = 4095
}

/// Why a packet was no advertisement for us. It changes no state and no timer (RFC 9568 §7.1); the
/// names are those of metrics.
package enum AdvertisementRefusal: String, Error, Sendable, CaseIterable {
    /// Not an IPv4 packet of protocol 112, as a raw socket gives it.
    case notVRRP = "not_vrrp"
    /// TTL or hop limit is not 255, and the instance wants it to be.
    case hops
    /// Shorter than it says, or than any advertisement.
    case truncated
    /// VRRPv2 (RFC 3768): somebody on this link has to be told to speak version 3.
    case versionTwo = "version_2"
    case version
    case checksum
    case type
    /// More or fewer bytes than the addresses it counts, or no address.
    case length
    /// An interval of 0.
    case interval
    /// No instance of ours has this router id in this family on this interface.
    case routerID = "router_id"
    /// We have sent it ourselves.
    case looped
    /// The source can't be a router on this link: unspecified, multicast, or an IPv6 address that
    /// is not link-local (RFC 9568 §5.1.2.1) and speaks to the group.
    case source
    /// The instance accepts its peers only, and the source is none.
    case peerUnknown = "peer_unknown"
    /// Not sent to the group or to us.
    case destination
}

/// An advertisement with what the packet around it says.
package struct ReceivedAdvertisement: Sendable, Equatable {
    package var advertisement: Advertisement
    /// Port 0. The scope of an IPv6 source is what the caller said.
    package var source: SocketAddress
    package var destination: SocketAddress
    /// How an IPv4 packet was summed.
    package var checksum: IPv4Checksum
    /// TTL or hop limit of the packet.
    package var hops: UInt8

    package init(
        advertisement: Advertisement, source: SocketAddress, destination: SocketAddress,
        checksum: IPv4Checksum = .withPseudoHeader, hops: UInt8 = Advertisement.hops
    ) {
        self.advertisement = advertisement
        self.source = source
        self.destination = destination
        self.checksum = checksum
        self.hops = hops
    }
}
