import EdgeCore
import EdgeRouting

extension RuleConfiguration {
    private enum Answer: String { case no, yes }

    private static let editsMax = 64
    private static let methodsMax = 32

    /// What a view, a site or a path may have beside what is its own.
    static func decode(_ section: Section) -> Self {
        var rules = Self()
        // Most of many sites have none.
        guard section.hasRules else { return rules }
        if let headers = section.section("headers") {
            rules.requestEdits = edits(headers.section("request"))
            rules.responseEdits = edits(headers.section("response"))
        }
        let allowed = blocks("allow", in: section)
        let denied = blocks("deny", in: section)
        checkClients(allowed: allowed, denied: denied, in: section)
        rules.allowed = allowed.map(\.value)
        rules.denied = denied.map(\.value)
        rules.methods = methods(section)
        rules.redirect = redirect(section)
        rules.strictTransport = section.text("hsts")?.value
        rules.isUnderMaintenance = section.choice("maintenance", as: Answer.self) == .yes
        if let limits = section.section("limits"), limits.has("request_body") {
            rules.bodyMax = limits.sizeOrUnlimited("request_body") ?? .max
        }
        rules.rateLimits = section.pass.rateLimits.use(in: section)
        rules.responseTimeout = section.section("timeouts")?.durationIfWritten("response")
        return rules
    }

    /// It answers every request itself.
    var answersAll: Bool { redirect != nil || isUnderMaintenance }

    // MARK: - Fields

    private static func edits(_ section: Section?) -> [HeaderEdit] {
        guard let section else { return [] }
        let set = section.fields("set")
        let added = section.fields("add")
        let removed = section.texts("remove")
        var places: [String: Location] = [:]
        for field in set { places[field.name.value.lowercased()] = field.name.location }
        for name in removed {
            guard let first = places[name.value.lowercased()] else { continue }
            section.error(
                name.location, "\(section.title) sets and removes '\(name.value)'",
                hint: "'set' replaces what is there; see \(first)")
        }
        let count = set.count + added.count + removed.count
        if count > editsMax {
            section.error(section.location, "\(section.title) has more than \(editsMax) changes")
        }
        return removed.map { HeaderEdit(.remove, $0.value) }
            + set.map { HeaderEdit(.set, $0.name.value, $0.value) }
            + added.map { HeaderEdit(.add, $0.name.value, $0.value) }
    }

    // MARK: - Who and how

    private static func blocks(_ key: String, in section: Section) -> [Located<CIDR>] {
        let blocks = section.texts(key, as: .block, parse: TextValue.block)
        if blocks.count > CIDRList.countMax {
            section.error(
                blocks[CIDRList.countMax].location,
                "\(section.title).\(key) has more than \(CIDRList.countMax) blocks")
        }
        return Array(blocks.prefix(CIDRList.countMax))
    }

    private static func checkClients(
        allowed: [Located<CIDR>], denied: [Located<CIDR>], in section: Section
    ) {
        guard !allowed.isEmpty, !denied.isEmpty else { return }
        for block in allowed {
            guard let owner = denied.first(where: { $0.value.covers(block.value) }) else {
                continue
            }
            section.error(
                block.location, "\(section.title).allow: \(block.value) is denied",
                hint: "'deny' counts more; see \(owner.location)")
        }
    }

    private static func methods(_ section: Section) -> [String] {
        let methods = section.texts("methods")
        if methods.count > methodsMax {
            section.error(
                methods[methodsMax].location,
                "\(section.title) has more than \(methodsMax) methods")
        }
        for (index, method) in methods.prefix(methodsMax).enumerated() {
            if let first = methods[..<index].first(where: { $0.value == method.value }) {
                section.error(
                    method.location, "\(section.title).methods has '\(method.value)' twice",
                    hint: "first at \(first.location)")
            }
        }
        return methods.map(\.value)
    }

    // MARK: - Redirects

    private static func redirect(_ section: Section) -> Redirect? {
        let entry = section.textOrSection("redirect", as: .location, parse: TextValue.location)
        switch entry {
        case nil: return nil
        case .text(let location)?: return Redirect(location: location.value, status: 302)
        case .section(let section)?:
            let location = section.text("to", as: .location, parse: TextValue.location)
            let status = section.choice("status", as: StatusWord.self)
            return location.map {
                Redirect(
                    location: $0.value, status: status.flatMap { UInt16($0.rawValue) } ?? 302)
            }
        }
    }

    private enum StatusWord: String {
        case permanent = "301"
        case found = "302"
        case other = "303"
        case temporary = "307"
        case permanentSameMethod = "308"
    }
}
