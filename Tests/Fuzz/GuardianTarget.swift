internal import EdgeConfig
internal import EdgeSystem

/// What crosses between guardian and proxy: a message or a sealed configuration is refused, or it
/// is exactly what encoding it again makes.
enum GuardianTarget {
    static func run(_ input: FuzzInput) throws(Finding) {
        if input.has(0) {
            try bundle(input.bytes)
            return
        }
        let bytes = input.bytes
        let wire: GuardianWire
        do throws(GuardianMessageError) {
            wire = try GuardianWire(bytes: bytes)
        } catch {
            return
        }
        try hold(wire.bytes == bytes, "a datagram is what its numbers make")
        try message(ProxyCommand.self, wire)
        try message(ProxyReport.self, wire)
    }

    private static func message<Message: GuardianMessage>(
        _: Message.Type, _ wire: GuardianWire
    ) throws(Finding) {
        let message: Message
        do throws(GuardianMessageError) {
            message = try Message(wire: wire)
        } catch {
            return
        }
        try hold(message.wire == wire, "a message is what its datagram says")
        try hold(message.descriptorCounts.upperBound <= 16, "descriptors are bounded")
    }

    private static func bundle(_ bytes: [UInt8]) throws(Finding) {
        let decoded: ConfigurationBundle? = bytes.withUnsafeBytes { input in
            do throws(ConfigError) {
                return try ConfigurationBundle(decoding: input)
            } catch {
                return nil
            }
        }
        guard let decoded else { return }
        try hold(decoded.encode() == bytes, "a bundle is what its files make")
    }
}
