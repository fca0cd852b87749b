package import EdgeCore

/// What is remembered of names and services over a restart. The bytes: the number of names, then
/// each with its addresses, the number of services, then each with its records; all sorted, all
/// numbers big-endian, nothing behind. Decoding takes exactly what encoding makes.
package struct NameRecords: Sendable, Equatable {
    package struct Name: Sendable, Equatable {
        /// 1 to `NameMachine.addressesMax`, canonical.
        package let addresses: [SocketAddress]
        /// When they were confirmed, in seconds since 1970.
        package let seconds: Int64

        package init(addresses: [SocketAddress], seconds: Int64) {
            self.addresses = addresses
            self.seconds = seconds
        }
    }

    package struct Service: Sendable, Equatable {
        /// 1 to `ServiceMachine.recordsMax`, canonical.
        package let records: [ServiceRecord]
        package let seconds: Int64

        package init(records: [ServiceRecord], seconds: Int64) {
            self.records = records
            self.seconds = seconds
        }
    }

    package enum Failure: Error, Equatable {
        case endsEarly
        case surplusBytes
        /// A name that is empty, too long, no UTF-8, or not behind the one before it.
        case badName
        /// None, too many, not in order, or nothing that one can connect to.
        case badAddresses
        case badRecords
    }

    package static let nameBytesMax = 254

    package var names: [String: Name] = [:]
    package var services: [String: Service] = [:]

    package init() {}

    package var isEmpty: Bool { names.isEmpty && services.isEmpty }

    // MARK: - Bytes

    /// - Parameter byteCountMax: what was confirmed longest ago is left out until it fits; the
    ///   empty content always does (8 bytes).
    package func encode(byteCountMax: Int = .max) -> [UInt8] {
        var rest = self
        var bytes = rest.encodeAll()
        while bytes.count > byteCountMax, !rest.isEmpty {
            let oldest = rest.names.sorted {
                ($0.value.seconds, $0.key) < ($1.value.seconds, $1.key)
            }
            if oldest.isEmpty { rest.services = [:] }
            for (name, _) in oldest.prefix(oldest.count / 8 + 1) { rest.names[name] = nil }
            bytes = rest.encodeAll()
        }
        return bytes
    }

    private func encodeAll() -> [UInt8] {
        var bytes: [UInt8] = []
        Self.append(UInt32(names.count), to: &bytes)
        for (name, entry) in names.sorted(by: { Self.isBefore($0.key, $1.key) }) {
            Self.append(name, to: &bytes)
            Self.append(entry.seconds, to: &bytes)
            bytes.append(UInt8(entry.addresses.count))
            for address in entry.addresses {
                bytes.append(address.isIPv4 ? 4 : 6)
                if address.isIPv4 {
                    Self.append(address.ipv4, to: &bytes)
                } else {
                    Self.append(address.high, to: &bytes)
                    Self.append(address.low, to: &bytes)
                }
            }
        }
        Self.append(UInt32(services.count), to: &bytes)
        for (name, entry) in services.sorted(by: { Self.isBefore($0.key, $1.key) }) {
            Self.append(name, to: &bytes)
            Self.append(entry.seconds, to: &bytes)
            bytes.append(UInt8(entry.records.count))
            for record in entry.records {
                Self.append(record.priority, to: &bytes)
                Self.append(record.weight, to: &bytes)
                Self.append(record.port, to: &bytes)
                Self.append(record.target, to: &bytes)
            }
        }
        return bytes
    }

    /// - Throws: for everything that `encode` does not make.
    package init(decoding bytes: [UInt8]) throws(Failure) {
        var reader = Reader(bytes: bytes)
        var last: String?
        for _ in 0..<(try reader.number() as UInt32) {
            let name = try reader.name(after: last)
            let seconds: Int64 = try reader.number()
            names[name] = Name(addresses: try reader.addresses(), seconds: seconds)
            last = name
        }
        last = nil
        for _ in 0..<(try reader.number() as UInt32) {
            let name = try reader.name(after: last)
            let seconds: Int64 = try reader.number()
            services[name] = Service(records: try reader.records(), seconds: seconds)
            last = name
        }
        guard reader.isAtEnd else { throw .surplusBytes }
    }

    private static func append(_ number: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: number.bigEndian) { bytes += $0 }
    }

    private static func append(_ name: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(clamping: name.utf8.count))
        bytes += name.utf8
    }

    /// By bytes: another order of equal strings is another file.
    private static func isBefore(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
    }

    /// Takes what is announced, or throws.
    private struct Reader {
        let bytes: [UInt8]
        var at = 0

        var isAtEnd: Bool { at == bytes.count }

        mutating func take(_ count: Int) throws(Failure) -> ArraySlice<UInt8> {
            guard count <= bytes.count - at else { throw .endsEarly }
            defer { at += count }
            return bytes[at..<(at + count)]
        }

        mutating func number<Number: FixedWidthInteger>() throws(Failure) -> Number {
            try take(Number.bitWidth / 8).reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
        }

        mutating func name() throws(Failure) -> String {
            let count: UInt8 = try number()
            guard (1...nameBytesMax).contains(Int(count)) else { throw .badName }
            let raw = try take(Int(count))
            guard !raw.contains(0), let name = String(validating: raw, as: UTF8.self) else {
                throw .badName
            }
            return name
        }

        mutating func name(after last: String?) throws(Failure) -> String {
            let name = try name()
            if let last, !isBefore(last, name) { throw .badName }
            return name
        }

        mutating func addresses() throws(Failure) -> [SocketAddress] {
            let count: UInt8 = try number()
            var result: [SocketAddress] = []
            for _ in 0..<count {
                switch try number() as UInt8 {
                case 4: result.append(SocketAddress(ipv4: try number(), port: 0))
                case 6:
                    let high: UInt64 = try number()
                    let address = SocketAddress(ipv6High: high, low: try number(), port: 0)
                    // An IPv4 address has one form only.
                    guard !address.isIPv4 else { throw .badAddresses }
                    result.append(address)
                default: throw .badAddresses
                }
            }
            guard !result.isEmpty, result == NameMachine.canonical(result) else {
                throw .badAddresses
            }
            return result
        }

        mutating func records() throws(Failure) -> [ServiceRecord] {
            let count: UInt8 = try number()
            var result: [ServiceRecord] = []
            for _ in 0..<count {
                let priority: UInt16 = try number()
                let weight: UInt16 = try number()
                let port: UInt16 = try number()
                result.append(
                    ServiceRecord(
                        priority: priority, weight: weight, port: port, target: try name()))
            }
            guard !result.isEmpty, result == ServiceMachine.canonical(result) else {
                throw .badRecords
            }
            return result
        }
    }
}
