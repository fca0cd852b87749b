internal import EdgeConfig
internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeDNS
internal import EdgeRouting

/// What the configuration's views have to do with DNS.
extension Configuration {
    /// For the admin socket. Without `views:` there is one without a name, which cannot be asked
    /// for.
    func dnsRecords(view name: String?) -> Result<DNSRecordsReply, DNSRecordsRefusal> {
        let names = views.map(\.name).filter { !$0.isEmpty }
        guard let name else {
            let all = names.isEmpty ? "no view is defined" : names.joined(separator: ", ")
            return .failure(.unnamed("say which view, /dns?view=NAME: \(all)"))
        }
        guard !name.isEmpty, let index = views.firstIndex(where: { $0.name == name }) else {
            let hint = Suggestion.defined(for: name, among: names, kind: "view")
            return .failure(.unknown("no such view: \(hint)"))
        }
        let records = DNSRecords(view: index, views: views, sites: sites)
        guard !records.addresses.isEmpty else {
            return .failure(
                .withoutAddresses(
                    "the view '\(name)' has no addresses: say in views.\(name).addresses what its "
                        + "clients reach this node by"))
        }
        return .success(
            DNSRecordsReply(
                view: name, names: records.names, addresses: records.addresses.map(\.addressText),
                notes: records.notes))
    }

    /// What `--check --dns` asks for, and a sentence for each view that it cannot ask for.
    var dnsExpectations: (expectations: [DNSExpectation], notes: [String]) {
        var expectations: [DNSExpectation] = []
        var notes: [String] = []
        for (index, view) in views.enumerated() {
            let records = DNSRecords(view: index, views: views, sites: sites)
            guard !records.addresses.isEmpty else {
                notes.append(
                    view.name.isEmpty
                        ? "nothing to check: there are no views with addresses"
                        : "the view '\(view.name)' is not checked: it has no addresses")
                continue
            }
            let group = view.resolver.flatMap { name in
                resolverGroups.first { $0.name == name }
            }
            if let name = view.resolver, group == nil {
                notes.append(
                    "the view '\(view.name)' is checked with other resolvers: there is no '\(name)'"
                )
            }
            expectations.append(
                DNSExpectation(
                    view: view.name, names: records.names, addresses: records.addresses,
                    resolver: group))
        }
        return (expectations, notes)
    }
}
