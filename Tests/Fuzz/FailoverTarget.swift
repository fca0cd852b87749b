internal import EdgeCore
internal import EdgeVRRP

/// What routers and guardians on the link may send: an advertisement or a presence message is
/// refused, or it is what writing it again says.
enum FailoverTarget {
    private static let source6 = SocketAddress(ipv6High: 0xFE80 << 48, low: 0x11, port: 0)

    static func run(_ input: FuzzInput) throws(Finding) {
        switch input.variant & 3 {
        case 0: try packet(input.bytes)
        case 1: try payload(input.bytes)
        case 2: try presence(input.bytes, authenticator: nil)
        default:
            // Nobody guesses a code: what comes behind it is reached with the right one.
            let code = code(input.bytes)
            try presence(
                input.bytes + code, authenticator: PresenceAuthenticator { Self.code($0) })
        }
    }

    private static func packet(_ bytes: [UInt8]) throws(Finding) {
        if let far = try? ReceivedAdvertisement(ipv4Packet: bytes.span, takesAnyHops: true) {
            try hold(
                far.hops == 255 || !far.destination.isMulticast,
                "only unicast may have come over a router")
            try understood(far)
        }
        let received: ReceivedAdvertisement
        do throws(AdvertisementRefusal) {
            received = try ReceivedAdvertisement(ipv4Packet: bytes.span)
        } catch {
            return
        }
        try hold(bytes.count > 28 && bytes[8] == 255, "no packet from over a router is believed")
        try understood(received)
        let payload = received.advertisement.payload(
            from: received.source, to: received.destination, checksum: received.checksum)
        let header = Advertisement.ipv4Header(
            from: received.source, to: received.destination, payloadByteCount: payload.count)
        let again = try? ReceivedAdvertisement(ipv4Packet: (header + payload).span)
        try hold(
            again?.advertisement == received.advertisement && again?.source == received.source,
            "an advertisement that is written again says the same")
    }

    private static func payload(_ bytes: [UInt8]) throws(Finding) {
        // Checksums are made right, or nothing behind them would be reached.
        var bytes = bytes
        if bytes.count >= 8 {
            bytes[6] = 0
            bytes[7] = 0
            let sum = VRRPChecksum.compute(
                bytes.span, source: source6, destination: IPFamily.ipv6.group,
                checksum: .withPseudoHeader)
            bytes[6] = UInt8(sum >> 8)
            bytes[7] = UInt8(truncatingIfNeeded: sum)
        }
        let received: ReceivedAdvertisement
        do throws(AdvertisementRefusal) {
            received = try ReceivedAdvertisement(
                ipv6Payload: bytes.span, hopLimit: 255, source: source6,
                destination: IPFamily.ipv6.group)
        } catch {
            return
        }
        try understood(received)
    }

    private static func understood(_ received: ReceivedAdvertisement) throws(Finding) {
        let advertisement = received.advertisement
        try hold((1...255).contains(advertisement.addresses.count), "addresses are counted")
        try hold((1...4095).contains(advertisement.centiseconds), "an interval is never 0")
        try hold(
            !received.source.isMulticast && !received.source.isUnspecified,
            "a source is a host's")
    }

    private static func presence(
        _ bytes: [UInt8], authenticator: PresenceAuthenticator?
    ) throws(Finding) {
        let message: PresenceMessage
        do throws(PresenceRefusal) {
            message = try PresenceMessage(decoding: bytes, authenticator: authenticator)
        } catch {
            return
        }
        try hold(
            message.encode(authenticator: authenticator) == bytes,
            "a presence message is what its fields make")
        try hold(
            message.instances.count <= PresenceMessage.instancesMax, "instances are bounded")
    }

    /// 32 bytes that depend on all others.
    private static func code(_ bytes: [UInt8]) -> [UInt8] {
        var word: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { word = (word ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return (0..<32).map { UInt8(truncatingIfNeeded: word >> UInt64($0 % 8 * 8)) }
    }
}
