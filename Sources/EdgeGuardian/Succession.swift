package import EdgeControlAPI
package import EdgeCore
package import EdgeFailover

/// What a guardian leaves to the program that it becomes: numbers of descriptors and processes,
/// which stay the same over an exec. As JSON in a memfd; newer programs read older versions.
package struct Succession: WireValue {
    /// Raised when an older program could not go on with what is written here.
    package static let version: Int64 = 1

    package struct Place: WireValue {
        package var number: Int
        /// As configured.
        package var asked: SocketAddress
        package var bound: SocketAddress
        package var sockets: [Int32]
        package var adoptedCount: Int
        /// The service manager has them too.
        package var isKept: Bool
    }

    package struct Proxy: WireValue {
        package var processID: Int32
        /// Nil: it has closed its end, and is about to be gone.
        package var channel: Int32?
        package var bank: Int
        /// Until it is killed; nil: it is the one that serves.
        package var millisecondsLeft: Int64?
    }

    package struct Admin: WireValue {
        package var path: String
        package var socket: Int32
    }

    package var workers: Int
    /// Unix seconds.
    package var started: Int64
    package var restarts: Int
    package var configuration: Int32
    package var board: Int32
    package var tickets: Int32
    package var admin: Admin?
    /// By listener of the configuration, then by its addresses.
    package var listeners: [[Place]]
    package var proxy: Proxy?
    package var leaving: [Proxy]
    package var isReloadDue: Bool
    /// Of the failover thread; nil: there was none.
    package var failover: FailoverHandover?
    /// An administrator has drained the node.
    package var isDrained = false
    /// What the proxy has said that it lacks: `Fitness.Troubles`.
    package var troubles: UInt32 = 0
    /// A sealed memfd with what presence is authenticated with: the file may be another by now.
    /// Nil: nothing, or an older program has left it to its file.
    package var secret: Int32?
    /// Memory for what clients have used up; nil: an older program had none.
    package var limits: Int32?

    /// All of them, each once.
    package var descriptors: [Int32] {
        [configuration, board, tickets] + (limits.map { [$0] } ?? [])
            + (admin.map { [$0.socket] } ?? [])
            + listeners.flatMap { $0 }.flatMap(\.sockets)
            + ([proxy].compactMap { $0 } + leaving).compactMap(\.channel)
            + (failover?.descriptors ?? []) + [secret].compactMap { $0 }
    }
}

// MARK: - JSON

extension Succession {
    package var json: JSONValue {
        .object([
            .init("version", .integer(Self.version)), .init("workers", .integer(Int64(workers))),
            .init("started", .integer(started)), .init("restarts", .integer(Int64(restarts))),
            .init("configuration", .integer(Int64(configuration))),
            .init("board", .integer(Int64(board))), .init("tickets", .integer(Int64(tickets))),
            .init("admin", admin?.json ?? .null),
            .init("listeners", .array(listeners.map { .array($0.map(\.json)) })),
            .init("proxy", proxy?.json ?? .null),
            .init("leaving", .array(leaving.map(\.json))),
            .init("reload_due", .bool(isReloadDue)),
            .init("failover", failover?.json ?? .null),
            .init("drained", .bool(isDrained)),
            .init("troubles", .integer(Int64(troubles))),
            .init("secret", secret.map { .integer(Int64($0)) } ?? .null),
            .init("limits", limits.map { .integer(Int64($0)) } ?? .null),
        ])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        guard try reader.integer("version") == Self.version else {
            throw .unknownWord("version", "\(try reader.integer("version"))")
        }
        workers = try reader.count("workers")
        started = try reader.integer("started")
        restarts = try reader.count("restarts")
        configuration = try reader.descriptor("configuration")
        board = try reader.descriptor("board")
        tickets = try reader.descriptor("tickets")
        admin = try Self.optional(json["admin"]) { json throws(WireFailure) in try Admin(json: json)
        }
        guard case .array(let rows)? = json["listeners"] else { throw .wrongType("listeners") }
        listeners = []
        for row in rows {
            guard case .array(let places) = row else { throw .wrongType("listeners") }
            var result: [Place] = []
            for place in places { result.append(try Place(json: place)) }
            listeners.append(result)
        }
        proxy = try Self.optional(json["proxy"]) { json throws(WireFailure) in try Proxy(json: json)
        }
        guard case .array(let former)? = json["leaving"] else { throw .wrongType("leaving") }
        leaving = []
        for item in former { leaving.append(try Proxy(json: item)) }
        isReloadDue = try reader.bool("reload_due")
        failover = try Self.optional(json["failover"]) { json throws(WireFailure) in
            try FailoverHandover(json: json)
        }
        isDrained = try reader.optionalBool("drained") ?? false
        troubles = UInt32(clamping: try reader.optionalInteger("troubles") ?? 0)
        secret = try reader.optionalInteger("secret") == nil ? nil : try reader.descriptor("secret")
        limits =
            json["limits"] == nil || json["limits"] == .null
            ? nil : try reader.descriptor("limits")
    }

    private static func optional<Value>(
        _ json: JSONValue?, _ make: (JSONValue) throws(WireFailure) -> Value
    ) throws(WireFailure) -> Value? {
        guard let json, json != .null else { return nil }
        return try make(json)
    }
}

extension Succession.Place {
    package var json: JSONValue {
        .object([
            .init("number", .integer(Int64(number))), .init("asked", asked.wire),
            .init("bound", bound.wire),
            .init("sockets", .array(sockets.map { .integer(Int64($0)) })),
            .init("adopted", .integer(Int64(adoptedCount))), .init("kept", .bool(isKept)),
        ])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        number = try reader.count("number")
        asked = try SocketAddress(wire: json["asked"])
        bound = try SocketAddress(wire: json["bound"])
        guard case .array(let list)? = json["sockets"], !list.isEmpty else {
            throw .wrongType("sockets")
        }
        sockets = []
        for item in list {
            guard case .integer(let number) = item, let socket = Int32(exactly: number), socket >= 0
            else { throw .wrongType("sockets") }
            sockets.append(socket)
        }
        adoptedCount = try reader.count("adopted")
        isKept = try reader.bool("kept")
    }
}

extension Succession.Proxy {
    package var json: JSONValue {
        .object([
            .init("pid", .integer(Int64(processID))),
            .init("channel", channel.map { .integer(Int64($0)) } ?? .null),
            .init("bank", .integer(Int64(bank))),
            .init("ms_left", millisecondsLeft.map { .integer($0) } ?? .null),
        ])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        processID = try reader.descriptor("pid")
        channel =
            try reader.optionalInteger("channel") == nil ? nil : try reader.descriptor("channel")
        bank = try reader.count("bank")
        millisecondsLeft = try reader.optionalInteger("ms_left")
    }
}

extension Succession.Admin {
    package var json: JSONValue {
        .object([.init("path", .string(path)), .init("socket", .integer(Int64(socket)))])
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        path = try reader.string("path")
        socket = try reader.descriptor("socket")
    }
}

extension WireReader {
    func count(_ name: String) throws(WireFailure) -> Int {
        let number = try integer(name)
        guard (0...Int64(Int32.max)).contains(number) else { throw .wrongType(name) }
        return Int(number)
    }

    /// A descriptor or a process's number.
    func descriptor(_ name: String) throws(WireFailure) -> Int32 {
        Int32(try count(name))
    }
}

extension SocketAddress {
    fileprivate var wire: JSONValue {
        .object([
            .init("address", .string(addressText)), .init("port", .integer(Int64(port))),
        ])
    }

    fileprivate init(wire: JSONValue?) throws(WireFailure) {
        let reader = try WireReader(wire ?? .null)
        let text = try reader.string("address")
        guard let port = UInt16(exactly: try reader.integer("port")),
            let address = SocketAddress(address: text, port: port)
        else { throw .wrongType("address") }
        self = address
    }
}
