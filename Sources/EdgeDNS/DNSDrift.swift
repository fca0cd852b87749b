package import EdgeCore

/// What DNS should say to the clients of one view.
package struct DNSExpectation: Sendable, Equatable {
    package let view: String
    /// In lower case, without a final dot; `*.example.org` is asked about by one name below it.
    package let names: [String]
    /// What each of them should have, ports 0; not empty.
    package let addresses: [SocketAddress]
    /// Whom the view's clients ask, whatever the name; nil: each name's own group.
    package let resolver: ResolverGroup?

    package init(
        view: String, names: [String], addresses: [SocketAddress], resolver: ResolverGroup? = nil
    ) {
        self.view = view
        self.names = names
        self.addresses = addresses
        self.resolver = resolver
    }
}

/// One way in which what DNS says to a view's clients is not what it should say.
package struct DNSDrift: Sendable, Equatable, CustomStringConvertible {
    package enum Kind: String, Sendable, CaseIterable {
        /// There is no such name, or not each of the view's addresses.
        case missing
        /// Nobody said anything about it.
        case unanswered
        /// Addresses that are not the view's.
        case elsewhere
        /// Clients of a public view are sent to an address that is nobody's in the Internet.
        case privateAddress = "private address in public DNS"
        /// Clients of a private view are sent to the Internet.
        case publicAddress = "public address on the LAN"
        /// Time was up.
        case notAsked = "not asked"
    }

    package let view: String
    package let name: String
    package let kind: Kind
    package let expected: [SocketAddress]
    /// What there is instead, or why there is nothing.
    package let found: String
    package let hint: String

    /// `lan: a.example: missing, expected 192.168.1.13, found nothing (name_not_found by system):
    /// hint`, on one line.
    package var description: String {
        let expected = Self.text(expected)
        return "\(view): \(name): \(kind.rawValue), expected \(expected), found \(found): \(hint)"
    }

    fileprivate static func text(_ addresses: [SocketAddress]) -> String {
        addresses.map(\.addressText).joined(separator: ", ")
    }
}

/// What was answered about one name.
package struct DNSFinding: Sendable, Equatable {
    /// Ports 0.
    package let addresses: [SocketAddress]
    /// Of a family that has none for another reason than that there is none; nil: none has.
    package let failure: String?
    /// The group that was asked.
    package let resolver: String

    package init(addresses: [SocketAddress], failure: String? = nil, resolver: String) {
        self.addresses = addresses
        self.failure = failure
        self.resolver = resolver
    }

    /// Whether the server said that there is nothing, as opposed to saying nothing.
    fileprivate var isNegative: Bool {
        failure == nil || failure == QueryFailure.nameNotFound.label
            || failure == QueryFailure.empty.label
    }

    fileprivate var text: String {
        let why = "\(failure ?? QueryFailure.empty.label) by \(resolver)"
        return addresses.isEmpty ? "nothing (\(why))" : DNSDrift.text(addresses)
    }
}

extension DNSExpectation {
    /// What is wrong with what was found under one of the names; empty: nothing. Sans-IO.
    package func drift(of name: String, _ found: DNSFinding) -> [DNSDrift] {
        guard !found.addresses.isEmpty else {
            return [found.isNegative ? missing(name, found) : unanswered(name, found)]
        }
        let here = Set(addresses)
        let foreign = found.addresses.filter { !here.contains($0) }
        let privateOnes = foreign.filter { $0.privateBlock != nil }
        let publicOnes = foreign.filter { $0.privateBlock == nil }
        var rest = foreign
        var result: [DNSDrift] = []
        if !privateOnes.isEmpty, addresses.allSatisfy({ $0.privateBlock == nil }) {
            rest = publicOnes
            let words = privateOnes.map {
                "\($0.addressText) (\($0.privateBlock?.rawValue ?? "private"))"
            }
            result.append(
                drift(
                    name, .privateAddress, words.joined(separator: ", "),
                    hint: "nobody outside can use it, and it tells about the inside: remove it "
                        + "from the public zone"))
        } else if !publicOnes.isEmpty, addresses.allSatisfy({ $0.privateBlock != nil }) {
            rest = privateOnes
            result.append(
                drift(
                    name, .publicAddress, DNSDrift.text(publicOnes),
                    hint: "these clients go out and come back as another view's: \(export)"))
        }
        if !rest.isEmpty {
            result.append(
                drift(
                    name, .elsewhere, DNSDrift.text(rest),
                    hint: "correct the record, or the view's addresses"))
        }
        // Who is sent away altogether has one problem, not two.
        if !here.isSubset(of: found.addresses), foreign.count < found.addresses.count {
            result.append(found.isNegative ? missing(name, found) : unanswered(name, found))
        }
        return result
    }

    private func missing(_ name: String, _ found: DNSFinding) -> DNSDrift {
        drift(name, .missing, found.text, hint: "add what is missing: \(export)")
    }

    private func unanswered(_ name: String, _ found: DNSFinding) -> DNSDrift {
        var text = found.text
        if !found.addresses.isEmpty {
            text += " (\(found.failure ?? "nothing") by \(found.resolver) for the rest)"
        }
        return drift(
            name, .unanswered, text,
            hint: "look at the resolver '\(found.resolver)', then check again")
    }

    /// A name that there was no time to ask about.
    package func notAsked(_ name: String) -> DNSDrift {
        drift(name, .notAsked, "nothing", hint: "time was up; check again when servers answer")
    }

    private func drift(
        _ name: String, _ kind: DNSDrift.Kind, _ found: String, hint: String
    ) -> DNSDrift {
        DNSDrift(
            view: view, name: name, kind: kind, expected: addresses, found: found, hint: hint)
    }

    private var export: String { "edgectl dns export --view \(view)" }
}
