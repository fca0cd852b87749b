import EdgeCore

extension Configuration.Admin {
    /// `sun_path` holds 108 bytes and ends with a zero.
    private static let socketBytesMax = 107

    /// The value, and where `http` was written, for the checks against the listeners.
    static func decode(_ section: Section?) -> Located<Configuration.Admin> {
        guard let section else {
            let none = Configuration.Admin(socket: nil, group: nil, http: nil)
            return Located(value: none, location: .start(of: ""))
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
        return Located(
            value: Configuration.Admin(
                socket: socket?.value, group: group?.value, http: http?.value),
            location: http?.location ?? section.location)
    }
}

extension Assembly {
    func checkAdmin(
        _ admin: Located<Configuration.Admin>, listeners: [Located<Configuration.Listener>]
    ) {
        guard let http = admin.value.http else { return }
        for listener in listeners {
            let overlaps = listener.value.addresses.contains { $0.overlaps(http) }
            guard overlaps else { continue }
            main.error(
                admin.location, "admin.http uses the port of listener '\(listener.value.name)'",
                hint: "see \(listener.location)")
        }
    }
}
