internal import EdgeCore
internal import EdgeHTTP
internal import EdgeLimits
internal import EdgeProxy
internal import EdgeRouting

/// Compiles rules of views, sites and paths. Equal ones are one; a number stands for the same rules
/// for the process's life, so that answers to requests from before a reload are treated as their
/// requests were, if those rules are still there.
struct RuleBuilder {
    /// What one number stands for.
    private struct Key: Hashable {
        let view: String
        /// Outermost first; those that say nothing are left out.
        let rules: [RuleConfiguration]
        /// That something stands for; else empty.
        let prefix: String
        let subjectField: String
        /// As of `RuleBuilder`.
        let untrustedFields: [String]
        let isMapped: Bool
        /// What its policies count apart, where they do; nil: it has none.
        let place: LimitPlace?
    }

    private var numbers: [Key: Int32] = [:]
    private(set) var compiled: [RequestRules?] = []
    private var sources: [[RuleConfiguration]] = []
    /// Fields that tell some upstream a client's subject: nobody may send them, in no view.
    private var untrustedFields: [String] = []

    private var policies: [LimitPolicy] = []
    /// Whose plans `RequestRules.limitPlan` are.
    private(set) var places: [LimitPlace] = []
    private var connectionPlans: [LimitPlace: Int32] = [:]

    /// As `Routing.access`.
    var access: AccessRules { AccessRules(sources) }

    /// Forgets what the last configuration came to; numbers stay.
    ///
    /// - Parameter subjectFields: `ClientCertificateConfiguration.field` of every view and site. A
    ///   server that believes one is reached through other views, too, which ask nobody.
    mutating func begin(subjectFields: [String], policies: [LimitPolicy] = []) {
        self.policies = policies
        places = []
        connectionPlans = [:]
        compiled = []
        sources = []
        untrustedFields = Set(subjectFields.map { $0.lowercased() }).sorted()
    }

    /// - Parameters:
    ///   - view: its name.
    ///   - rules: outermost first.
    ///   - site: its first host.
    ///   - prefix: of a path; nil: the site's own.
    ///   - map: the view's names and those that servers know.
    ///   - subjectField: as `ClientCertificateConfiguration.field`.
    /// - Returns: -1: nothing is done.
    mutating func number(
        view: String, _ rules: [RuleConfiguration], site: String, prefix: String?, map: HostMap?,
        subjectField: String?
    ) -> Int32 {
        let place = place(rules.flatMap(\.rateLimits), view: view, site: site, prefix: prefix)
        let rules = rules.filter { $0 != RuleConfiguration() }
        guard !rules.isEmpty || map != nil || subjectField != nil || !untrustedFields.isEmpty
        else { return -1 }
        let replaced = rules.last(where: { $0.replacesPrefix != nil })?.replacesPrefix
        let key = Key(
            view: view, rules: rules, prefix: replaced == nil ? "" : prefix ?? "/",
            subjectField: subjectField ?? "", untrustedFields: untrustedFields,
            isMapped: map != nil,
            place: place)
        let number = numbers[key] ?? Int32(numbers.count)
        numbers[key] = number
        while compiled.count <= Int(number) {
            compiled.append(nil)
            sources.append([])
        }
        if compiled[Int(number)] == nil {
            compiled[Int(number)] = compile(key, map, replaced)
            sources[Int(number)] = rules
        }
        return number
    }

    /// Where policies are named, as far as one of them counts it apart; so rules that are the same
    /// stay one.
    private func place(
        _ named: [Int], view: String, site: String, prefix: String?
    ) -> LimitPlace? {
        guard !named.isEmpty else { return nil }
        let scopes = Set(named.filter(policies.indices.contains).map { policies[$0].scope })
        func number(_ scope: LimitPolicy.Scope, _ name: String) -> UInt64 {
            scopes.contains(scope) ? LimitHash.stable(name) : 0
        }
        return LimitPlace(
            view: number(.view, "view \(view)"), site: number(.site, "site \(site)"),
            path: number(.path, "path \(site) \(prefix ?? "/")"), policies: named)
    }

    /// The number of the plan of connections for which these policies are named; -1: none are.
    ///
    /// - Parameter site: its first host, as far as it is known that they are for it.
    mutating func connectionPlan(_ named: [Int], view: String, site: String = "") -> Int32 {
        guard let place = place(named, view: view, site: site, prefix: nil) else { return -1 }
        if let known = connectionPlans[place] { return known }
        let number = plan(place)
        connectionPlans[place] = number
        return number
    }

    /// The number of a place's plan.
    private mutating func plan(_ place: LimitPlace?) -> Int32 {
        guard let place, places.count < LimitPlans.plansMax else { return -1 }
        places.append(place)
        return Int32(places.count - 1)
    }

    private mutating func compile(_ key: Key, _ map: HostMap?, _ replaced: String?) -> RequestRules
    {
        let view = Array(key.view.utf8)
        // Before what the operator puts in.
        var requestEdits = key.untrustedFields.map {
            FieldEdits.Edit(.remove, Array($0.utf8))
        }
        requestEdits += key.rules.flatMap(\.requestEdits).map(Self.edit)
        // Whoever sends it himself is not believed.
        if !key.subjectField.isEmpty {
            requestEdits.append(.init(.remove, Array(key.subjectField.utf8)))
        }
        let responseEdits = key.rules.flatMap(\.responseEdits).map(Self.edit)
        var secureEdits = responseEdits
        if let transport = key.rules.last(where: { $0.strictTransport != nil })?.strictTransport {
            secureEdits.append(
                .init(
                    .set, Array("Strict-Transport-Security".utf8),
                    [.text(Array(transport.utf8))]))
        }
        let head = HeadRules(
            requestEdits: Self.edits(requestEdits, view),
            responseEdits: Self.edits(responseEdits, view),
            secureResponseEdits: Self.edits(secureEdits, view), map: map,
            prefix: Array(key.prefix.utf8), replacement: replaced.map { Array($0.utf8) })
        let isUnchanged =
            requestEdits.isEmpty && secureEdits.isEmpty && map == nil && replaced == nil
        func innermost<Value>(_ value: (RuleConfiguration) -> Value?) -> Value? {
            key.rules.reversed().lazy.compactMap(value).first
        }
        return RequestRules(
            head: isUnchanged ? nil : head,
            redirect: innermost(\.redirect).flatMap { redirect in
                Self.template(redirect.location, view).map { ($0, redirect.status) }
            },
            isUnderMaintenance: key.rules.contains(where: \.isUnderMaintenance),
            bodyMax: innermost(\.bodyMax).map { UInt64($0) },
            responseTimeout: innermost(\.responseTimeout)?.nanoseconds,
            subjectField: Array(key.subjectField.utf8), limitPlan: plan(key.place))
    }

    // The configuration has refused whatever could not be compiled.

    private static func edits(_ edits: [FieldEdits.Edit], _ view: [UInt8]) -> FieldEdits? {
        guard !edits.isEmpty else { return nil }
        do throws(FieldEdits.Fault) {
            return try FieldEdits(edits, view: view)
        } catch {
            Log.error("fields are not edited: \(error)")
            return nil
        }
    }

    private static func edit(_ edit: RuleConfiguration.HeaderEdit) -> FieldEdits.Edit {
        let verb: FieldEdits.Verb =
            switch edit.verb {
            case .set: .set
            case .add: .add
            case .remove: .remove
            }
        return FieldEdits.Edit(verb, Array(edit.name.utf8), edit.value.parts.map(part))
    }

    private static func template(_ template: Template, _ view: [UInt8]) -> TextTemplate? {
        do throws(TextTemplate.ControlCharacter) {
            return try TextTemplate(template.parts.map(part), view: view)
        } catch {
            Log.error("a redirect's target holds a control character")
            return nil
        }
    }

    private static func part(_ part: Template.Part) -> TextTemplate.Part {
        switch part {
        case .text(let text): .text(Array(text.utf8))
        case .client: .client
        case .view: .view
        case .host: .host
        case .id: .id
        case .path: .path
        case .query: .query
        }
    }
}
