import EdgeRouting

/// What the paths of a site need to know of it.
struct PathOwner {
    let section: Section
    let names: SiteHosts
    let internalHost: String?
    let rules: RuleConfiguration
    /// It names an upstream, be it one that exists or not.
    let hasUpstream: Bool
}

extension SiteDecoder {
    private enum Answer: String { case no, yes }

    private static let pathsMax = 256

    /// The paths of one site, in the order written.
    func paths(of owner: PathOwner) -> [PathConfiguration] {
        var places: [String: Location] = [:]
        var paths: [PathConfiguration] = []
        var redirects: [(prefix: String, section: Section, Template)] = []
        owner.section.forEachSection("paths") { section in
            if paths.count == Self.pathsMax {
                section.error(section.location, "more than \(Self.pathsMax) paths of one site")
            }
            let prefix = section.text("prefix")
            if let prefix {
                if let first = places[prefix.value] {
                    section.error(
                        prefix.location,
                        "\(owner.section.title) has the prefix '\(prefix.value)' twice",
                        hint: "first at \(first)")
                }
                places[prefix.value] = places[prefix.value] ?? prefix.location
            }
            let path = decode(section, prefix: prefix?.value, of: owner)
            if let redirect = path.rules.redirect {
                redirects.append((path.prefix, section, redirect.location))
            }
            paths.append(path)
        }
        let prefixes = paths.map(\.prefix)
        for (prefix, section, location) in redirects {
            checkLoop(location, owner.names, in: section) { target in
                target.match(among: prefixes) == prefix
                    || (target.path.isEmpty && target.repeatsPath)
            }
        }
        return paths
    }

    private func decode(
        _ section: Section, prefix: String?, of owner: PathOwner
    ) -> PathConfiguration {
        // Without one an error has been reported, and the value is never used.
        var path = PathConfiguration(prefix: prefix ?? "/")
        path.rules = .decode(section)
        section.pass.rateLimits.checkEffect(
            section, path.rules.rateLimits, isPath: true, isPassthrough: false)
        path.rules.replacesPrefix = replacement(section, prefix: prefix)
        if let upstream = section.text("upstream") {
            path.upstream = upstreams.use(upstream, by: "\(section.title).upstream", in: section)
            if let index = path.upstream {
                checkName(of: upstreams.drafts[index], owner.names, owner.internalHost, in: section)
            }
        }
        let isRedirected = path.rules.redirect != nil || owner.rules.redirect != nil
        for key in ["upstream", "strip", "rewrite"] where isRedirected && section.has(key) {
            section.error(
                section.location(of: key), "\(section.title).\(key) has no effect with 'redirect'",
                hint: path.rules.redirect != nil
                    ? "every request is answered with it"
                    : "the site's answers every request: give it to the path '/'")
        }
        let isAnswered = path.rules.answersAll || owner.rules.answersAll
        if !isAnswered, !owner.hasUpstream, !section.has("upstream") {
            section.error(
                section.location, "\(section.title) has no 'upstream'",
                hint: "the site has none, and no rule answers")
        }
        if owner.rules.isUnderMaintenance, section.has("maintenance"),
            !path.rules.isUnderMaintenance
        {
            section.error(
                section.location(of: "maintenance"),
                "\(section.title).maintenance has no effect: the site is under maintenance",
                hint: "give it to the path '/'")
        }
        return path
    }

    /// What the prefix becomes; nil: it stays.
    private func replacement(_ section: Section, prefix: String?) -> String? {
        let strips = section.choice("strip", as: Answer.self) == .yes
        let rewrite = section.text("rewrite")
        if let rewrite, strips {
            section.error(
                rewrite.location, "\(section.title) has 'strip' and 'rewrite'",
                hint: "'rewrite: /' is the same as 'strip: yes'")
            return nil
        }
        if strips, prefix == "/" {
            section.error(
                section.location(of: "strip"), "\(section.title).strip has no effect",
                hint: "'/' is all that every path begins with")
        }
        if let rewrite, rewrite.value == prefix {
            section.error(
                rewrite.location, "\(section.title).rewrite has no effect",
                hint: "it is the prefix itself")
        }
        return strips ? "/" : rewrite?.value
    }

    // MARK: - Redirects that lead back to themselves

    /// - Parameter isAnswered: whether the same rule answers the path that a redirect leads to.
    func checkLoop(
        _ location: Template, _ names: SiteHosts, in section: Section,
        isAnswered: (RedirectTarget) -> Bool
    ) {
        guard let target = RedirectTarget(location), isAnswered(target) else { return }
        let comesBack = target.comesBack(to: listeners) { host in
            names.names.contains { $0.value == host }
        }
        guard comesBack else { return }
        section.error(
            section.location(of: "redirect"), "\(section.title).redirect leads back to itself",
            hint: "its target is served here, and redirected again")
    }

    /// As above, of a site as a whole.
    func checkLoop(_ site: SiteConfiguration, _ names: SiteHosts, in section: Section) {
        guard let redirect = site.rules.redirect else { return }
        let others = site.paths.filter { $0.rules.redirect != nil }.map(\.prefix)
        checkLoop(redirect.location, names, in: section) { target in
            // What a path redirects to somewhere else ends there.
            target.match(among: others) == nil
        }
    }
}
