import EdgeCore

extension Configuration.Admin {
    /// `sun_path` holds 108 bytes and ends with a zero.
    private static let socketBytesMax = 107

    /// Each has a socket.
    private static let probesMax = 8

    /// The value, and where its addresses were written, for the checks against the listeners.
    static func decode(_ section: Section?) -> AdminDocument {
        guard let section else {
            return AdminDocument(value: Configuration.Admin(socket: nil, group: nil, http: nil))
        }
        let socket = section.path("socket")
        if let socket, socket.value.hasSuffix("/") {
            section.error(
                socket.location, "admin.socket names a folder: \(quoted(socket.value))",
                hint: "the socket's own path, such as \(quoted(socket.value + "admin.sock"))")
        }
        if let socket, socket.value.utf8.count > socketBytesMax {
            section.error(
                socket.location, "admin.socket is longer than \(socketBytesMax) bytes",
                hint: "in full: \(quoted(socket.value))")
        }
        let group = section.text("group")
        if let group, !section.has("socket") {
            section.error(
                group.location, "admin.group has no effect without admin.socket",
                hint: "set 'socket'")
        }
        let http = section.text("http", as: .endpoint, parse: TextValue.endpoint)
        if let http, !http.value.isLoopback {
            section.error(
                http.location, "admin.http must be a loopback address, not \(http.value)",
                hint: "it has no authentication: 127.0.0.1:\(http.value.port)")
        }
        let probes = section.texts("probes", as: .endpoint, parse: TextValue.endpoint)
        if probes.count > probesMax {
            section.error(
                probes[probesMax].location, "admin.probes has more than \(probesMax) addresses")
        }
        for (index, probe) in probes.enumerated()
        where probes[..<index].contains(where: { $0.value == probe.value }) {
            section.error(probe.location, "admin.probes has \(probe.value) twice")
        }
        let places = http.map { [("admin.http", $0)] } ?? []
        return AdminDocument(
            value: Configuration.Admin(
                socket: socket?.value, group: group?.value, http: http?.value,
                probes: probes.map(\.value)),
            addresses: places + probes.map { ("admin.probes", $0) })
    }
}

/// `admin:` and the addresses in it, each under its key.
struct AdminDocument {
    var value: Configuration.Admin
    var addresses: [(key: String, address: Located<SocketAddress>)] = []
}

extension Assembly {
    func checkAdmin(_ admin: AdminDocument, listeners: [Located<Configuration.Listener>]) {
        for (key, address) in admin.addresses {
            for listener in listeners
            where listener.value.addresses.contains(where: { $0.overlaps(address.value) }) {
                main.error(
                    address.location, "\(key) uses the port of listener '\(listener.value.name)'",
                    hint: "see \(listener.location)")
            }
        }
        guard let http = admin.value.http else { return }
        for (key, address) in admin.addresses
        where key == "admin.probes" && (address.value.overlaps(http) || http == address.value) {
            main.error(address.location, "admin.probes has the address of admin.http")
        }
    }
}
