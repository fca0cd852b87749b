extension Configuration.TLS {
    static func decode(_ section: Section) -> Self {
        let lowest = section.choice("min_version", as: Version.self)
        return Self(
            minimumVersion: lowest ?? .tls12,
            ticketLifetime: section.duration("ticket_lifetime"))
    }
}
