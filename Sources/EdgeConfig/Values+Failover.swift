import EdgeCore

/// The strings that failover is described with.
extension TextValue {
    static let preemptRange: ClosedRange<Duration> = .seconds(1)...(.seconds(86400))

    /// An address of a machine with the length of its network's prefix.
    static func network(
        _ text: String
    ) throws(ValueProblem) -> (address: SocketAddress, prefix: Int) {
        let slash = text.lastIndex(of: "/")
        let address = try address(String(text[..<(slash ?? text.endIndex)]))
        let most = address.isIPv4 ? 32 : 128
        guard let slash else {
            throw ValueProblem(
                "\(quoted(text)) has no prefix length",
                hint: "as the network has it, such as \(text)/\(address.isIPv4 ? 24 : 64)")
        }
        guard let bits = UInt16(decimal: text[text.index(after: slash)...]) else {
            throw ValueProblem(
                "\(quoted(text)) has no valid prefix length", hint: "1 to \(most)")
        }
        guard (1...most).contains(Int(bits)) else {
            throw ValueProblem(
                "the prefix length of \(quoted(text)) is out of range", hint: "1 to \(most)")
        }
        if let problem = address.problemAsHost {
            throw ValueProblem("\(address.addressText) is \(problem)")
        }
        // Of a network of two or one, each address is a machine's (RFC 3021).
        if address.isIPv4, bits < 31 {
            let hosts = UInt32.max >> UInt32(bits)
            guard address.ipv4 & hosts != 0, address.ipv4 & hosts != hosts else {
                throw ValueProblem(
                    "\(quoted(text)) is the \(address.ipv4 & hosts == 0 ? "first" : "last") "
                        + "address of its network, which no machine has")
            }
        }
        return (address, Int(bits))
    }
}
