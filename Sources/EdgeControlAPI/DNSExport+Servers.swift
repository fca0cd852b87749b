/// What the files of the name servers say.
extension DNSExport {
    // MARK: - dnsmasq

    /// `host-record` is for exactly its name, `address=/*.x/` for names below x but not x.
    /// `local` alone would make every name below it unknown, hence `server=/*.x/#`.
    var dnsmasq: [String] {
        let wildcards = Set(records.names.compactMap(Self.parent))
        return records.names.flatMap { name -> [String] in
            guard Self.parent(name) == nil else {
                return ["# \(name): here also for names with more labels; TTL as local-ttl says"]
                    + records.addresses.map { "address=/\(name)/\($0)" } + ["local=/\(name)/"]
            }
            let below = wildcards.contains(name[...]) ? [] : ["server=/*.\(name)/#"]
            return hostRecords(name) + ["local=/\(name)/"] + below
        }
    }

    /// A line takes one address of each family. A TTL of 0 is the default and cannot be written.
    private func hostRecords(_ name: String) -> [String] {
        (0..<max(ipv4.count, ipv6.count)).map { index in
            var words = ["host-record=\(name)"]
            if ipv4.indices.contains(index) { words.append(ipv4[index]) }
            if ipv6.indices.contains(index) { words.append(ipv6[index]) }
            if ttl > 0 { words.append("\(ttl)") }
            return words.joined(separator: ",")
        }
    }

    // MARK: - unbound

    /// A zone per name: so a name below a redirected one keeps its own, and what is below a name
    /// is resolved as ever.
    var unbound: [String] {
        let wildcards = Set(records.names.compactMap(Self.parent))
        var lines = ["server:"]
        for name in records.names {
            if let parent = Self.parent(name) {
                lines.append("    # \(name): here also for \(parent) and names with more labels")
                lines += zone(String(parent), "redirect")
            } else if !wildcards.contains(name[...]) {
                lines += zone(name, "transparent")
            }
        }
        return lines
    }

    private func zone(_ name: String, _ type: String) -> [String] {
        ["    local-zone: \"\(name).\" \(type)"]
            + data.map { "    local-data: \"\(name). \(ttl) IN \($0)\"" }
    }

    // MARK: - bind

    /// Absolute names, so that it does not matter which zone includes it.
    var bind: [String] {
        records.names.flatMap { name -> [String] in
            let note =
                "; \(name): also for names with more labels, not below names that exist (RFC 4592)"
            return (Self.parent(name) == nil ? [] : [note])
                + data.map { "\(name). \(ttl) IN \($0)" }
        }
    }

    // MARK: - CoreDNS

    /// `hosts` may be there once only, and reads /etc/hosts; `template` does what is needed, and
    /// its wildcards are exactly ours. One without `match` would be for every name.
    var coreDNS: [String] {
        guard !records.names.isEmpty else { return [] }
        let matches = records.names.map { name in
            let parent = Self.parent(name)
            let fixed = String(parent ?? name[...]).split(separator: ".").joined(separator: "[.]")
            return "    match \"(?i)^\(parent == nil ? "" : "[^.]+[.]")\(fixed)[.]$\""
        }
        return template("A", ipv4, matches) + template("AAAA", ipv6, matches)
    }

    /// Without addresses of the family it says that there are none (RFC 2308 §2.2), lest the next
    /// plugin says otherwise.
    private func template(_ type: String, _ addresses: [String], _ matches: [String]) -> [String] {
        let nothing =
            "    authority \"{{ .Name }} \(ttl) IN SOA ns.invalid. hostmaster.invalid. "
            + "(1 60 60 60 \(ttl))\""
        let answers = addresses.map { "    answer \"{{ .Name }} \(ttl) IN \(type) \($0)\"" }
        return ["template IN \(type) {"] + matches + (answers.isEmpty ? [nothing] : answers)
            + ["    fallthrough", "}"]
    }
}
