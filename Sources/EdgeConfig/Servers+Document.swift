import EdgeUpstream

extension UpstreamConfiguration.Server {
    private enum Answer: String { case no, yes }

    /// The servers of one upstream, in the order written, each with its place.
    static func decode(_ section: Section) -> [Located<Self>] {
        let entries = section.entries("servers", as: .server, parse: TextValue.server)
        let servers = entries.compactMap { entry in
            switch entry {
            case .text(let server): server
            case .section(let entry): decode(entry: entry)
            }
        }
        checkServers(servers, in: section)
        if !servers.isEmpty, servers.count == entries.count,
            servers.allSatisfy(\.value.isBackup)
        {
            section.error(
                section.location(of: "servers"), "\(section.title): every server is a backup",
                hint: "leave out 'backup' for those that have the traffic")
        }
        return servers
    }

    private static func decode(entry: Section) -> Located<Self>? {
        let address = entry.text("address", as: .server, parse: TextValue.server)
        let service = entry.text("srv")
        let weight = entry.integer("weight") ?? 1
        let isBackup = entry.choice("backup", as: Answer.self) == .yes
        if let service {
            if entry.has("address") {
                entry.error(
                    service.location, "\(entry.title) has 'address' and 'srv'",
                    hint: "one of them: an entry is one server or one service")
            }
            if entry.has("weight") {
                entry.error(
                    entry.location(of: "weight"), "\(entry.title).weight has no effect with 'srv'",
                    hint: "the SRV records say the weights")
            }
            return Located(
                value: Self(host: .service(service.value), port: 0, isBackup: isBackup),
                location: service.location)
        }
        guard let address else {
            if !entry.has("address"), !entry.has("srv") {
                entry.error(
                    entry.location, "\(entry.title) has no 'address'",
                    hint: "'address: host:port', or 'srv' for a name of SRV records")
            }
            return nil
        }
        return Located(
            value: Self(
                host: address.value.host, port: address.value.port, weight: weight,
                isBackup: isBackup),
            location: address.location)
    }

    /// What two servers may not have in common.
    private struct Place: Hashable {
        let host: Host
        let port: UInt16
    }

    private static func checkServers(_ servers: [Located<Self>], in section: Section) {
        var places: [Place: Location] = [:]
        for server in servers {
            let place = Place(host: server.value.host, port: server.value.port)
            if let first = places[place] {
                section.error(
                    server.location, "\(section.title) has the same server twice",
                    hint: "first at \(first)")
                continue
            }
            places[place] = server.location
            if server.value.port == 443, !section.has("tls") {
                section.warning(
                    server.location, "\(section.title) speaks plaintext to port 443",
                    hint: "add 'tls: {}'")
            }
        }
    }
}
