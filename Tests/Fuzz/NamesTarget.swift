internal import EdgeDNS
internal import EdgeSystem

/// What comes from disk: a state file, or what it says of names, is refused, or it is exactly what
/// encoding it again makes. A hosts file is never refused.
enum NamesTarget {
    static func run(_ input: FuzzInput) throws(Finding) {
        if input.has(0) { return try file(input.bytes) }
        if input.has(1) { return try hosts(input.bytes) }
        let records: NameRecords
        do throws(NameRecords.Failure) {
            records = try NameRecords(decoding: input.bytes)
        } catch {
            return
        }
        try hold(records.encode() == input.bytes, "remembered names are what their bytes say")
        let half = records.encode(byteCountMax: input.bytes.count / 2)
        try hold(
            half.count <= max(input.bytes.count / 2, 8), "what is too long is made to fit")
    }

    private static func file(_ bytes: [UInt8]) throws(Finding) {
        let file = StateFile(directory: "/nowhere", name: "names", kind: "names", version: 1)
        let found: (version: UInt16, content: [UInt8])
        do throws(StateFileError) {
            found = try file.decode(bytes)
        } catch {
            return
        }
        try hold(found.version <= 1, "a later version is refused")
        let same = StateFile(
            directory: "/nowhere", name: "names", kind: "names", version: found.version)
        try hold(same.encode(found.content) == bytes, "a state file is what its content makes")
    }

    private static func hosts(_ bytes: [UInt8]) throws(Finding) {
        let table = HostsTable(bytes)
        try hold(table == HostsTable(bytes + [0x0A]), "a line end changes nothing")
        for word in bytes.split(whereSeparator: { $0 <= 0x20 }).prefix(64) {
            guard let answer = table.answer(for: String(decoding: word, as: UTF8.self)) else {
                continue
            }
            try hold(
                answer.addresses.count <= NameMachine.addressesMax, "addresses are bounded")
        }
    }
}
