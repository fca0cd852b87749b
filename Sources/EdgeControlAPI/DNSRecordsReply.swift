internal import EdgeCore

/// The answer to `GET /dns?view=NAME`: what DNS has to say to the clients of that view. Each name
/// has all of the addresses. It ends up in files of name servers, so nothing is read that could
/// mean something else there.
package struct DNSRecordsReply: WireValue {
    package var view: String
    /// Sorted, in lower case, without a final dot; `*.example.org` for a wildcard of one label.
    package var names: [String]
    /// As text, IPv4 first; at least one.
    package var addresses: [String]
    /// What has no record, and why: one sentence each.
    package var notes: [String]

    package init(view: String, names: [String], addresses: [String], notes: [String] = []) {
        self.view = view
        self.names = names
        self.addresses = addresses
        self.notes = notes
    }

    package init(json: JSONValue) throws(WireFailure) {
        let reader = try WireReader(json)
        view = try reader.string("view")
        names = try reader.strings("names")
        addresses = try reader.strings("addresses")
        notes = try reader.stringsIfAny("notes")
        guard Self.isWord(view) else { throw .wrongType("view") }
        guard names.allSatisfy(Self.isName) else { throw .wrongType("names") }
        guard addresses.allSatisfy({ SocketAddress(address: $0, port: 0) != nil }) else {
            throw .wrongType("addresses")
        }
        guard notes.allSatisfy({ $0.utf8.allSatisfy { $0 >= 0x20 } }) else {
            throw .wrongType("notes")
        }
    }

    package var json: JSONValue {
        .object([
            .init("view", .string(view)),
            .init("names", .strings(names)),
            .init("addresses", .strings(addresses)),
            .init("notes", .strings(notes)),
        ])
    }

    /// Letters, digits, `-`, `_` and `.`, as names in the configuration are.
    private static func isWord(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F: true
                default: false
                }
            }
    }

    private static func isName(_ text: String) -> Bool {
        isWord(text.hasPrefix("*.") ? text.dropFirst(2) : text[...])
    }
}

/// Why there are no records.
package enum DNSRecordsRefusal: Error, Sendable, Equatable {
    /// No view was asked for; what there is.
    case unnamed(String)
    /// There is no such view; what there is.
    case unknown(String)
    /// The view says no addresses; what to do.
    case withoutAddresses(String)
}
