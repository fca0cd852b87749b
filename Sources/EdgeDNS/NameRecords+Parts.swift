extension NameRecords {
    /// The same in pieces of about that size: one more entry may be in each.
    package func parts(byteCount: Int) -> [NameRecords] {
        var result: [NameRecords] = []
        var part = NameRecords()
        var size = 0
        func add(_ bytes: Int) {
            size += bytes
            guard size >= byteCount else { return }
            result.append(part)
            part = NameRecords()
            size = 0
        }
        for (name, entry) in names {
            part.names[name] = entry
            add(10 + name.utf8.count + entry.addresses.count * 17)
        }
        for (name, entry) in services {
            part.services[name] = entry
            add(
                entry.records.reduce(10 + name.utf8.count) { $0 + 7 + $1.target.utf8.count })
        }
        return part.isEmpty ? result : result + [part]
    }

    /// Of these names alone.
    package func only(_ wanted: Set<String>) -> NameRecords {
        var result = NameRecords()
        result.names = names.filter { wanted.contains($0.key) }
        result.services = services.filter { wanted.contains($0.key) }
        return result
    }
}
