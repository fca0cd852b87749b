/// What is not the same on both nodes of a pair, and should be.
package struct PairDrift: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case configuration, certificates, clock, version
    }

    package let kind: Kind
    /// A sentence.
    package let text: String

    /// Differences that are not worth a word.
    package static let clockMax: Int64 = 2_000_000_000
    /// Certificates that are named one by one.
    private static let namedMax = 8

    /// - Parameters:
    ///   - clock: the peer's clock minus ours, in nanoseconds; nil: not known.
    ///   - software: ours and the peer's.
    package static func compare(
        _ ours: PairFingerprints?, _ theirs: PairFingerprints?, clock: Int64?,
        software: (ours: String, theirs: String)
    ) -> [PairDrift] {
        var result: [PairDrift] = []
        func add(_ kind: Kind, _ text: String) { result.append(PairDrift(kind: kind, text: text)) }
        if let ours, let theirs {
            if ours.configuration != theirs.configuration {
                add(
                    .configuration,
                    "configuration: \(hex(ours.configuration)) here, "
                        + "\(hex(theirs.configuration)) there")
            }
            if ours.certificates != theirs.certificates
                || ours.certificateCount != theirs.certificateCount
            {
                for text in certificates(ours, theirs) { add(.certificates, text) }
            }
        }
        if let clock, clock.magnitude > UInt64(clockMax) {
            let tenths = clock.magnitude / 100_000_000
            add(
                .clock,
                "clock: the other node's is \(tenths / 10).\(tenths % 10) s "
                    + (clock > 0 ? "ahead" : "behind"))
        }
        if software.ours != software.theirs {
            add(.version, "version: \(software.ours) here, \(software.theirs) there")
        }
        return result
    }

    private static func certificates(
        _ ours: PairFingerprints, _ theirs: PairFingerprints
    ) -> [String] {
        // Names behind the last of a list that is not complete say nothing.
        let ends = [ours, theirs].compactMap { prints in
            prints.labels.count < Int(prints.certificateCount) ? prints.labels.last?.name : nil
        }
        func known(_ prints: PairFingerprints) -> [String: Set<UInt64>] {
            prints.labels.reduce(into: [:]) { known, label in
                guard ends.allSatisfy({ label.name <= $0 }) else { return }
                known[label.name, default: []].insert(label.fingerprint)
            }
        }
        let (here, there) = (known(ours), known(theirs))
        var texts: [String] = []
        for name in Set(here.keys).union(there.keys).sorted() where here[name] != there[name] {
            let words =
                there[name] == nil ? "only here" : here[name] == nil ? "only there" : "another one"
            texts.append("certificate \(name): \(words)")
        }
        guard !texts.isEmpty else {
            return [
                "certificates: not the same (\(ours.certificateCount) here, "
                    + "\(theirs.certificateCount) there)"
            ]
        }
        guard texts.count > namedMax else { return texts }
        return texts.prefix(namedMax) + ["certificates: \(texts.count - namedMax) more differ"]
    }

    private static func hex(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
