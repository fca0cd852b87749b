package import EdgeCore

extension Configuration {
    /// How requests are read, bounded and passed on.
    package struct Requests: Sendable, Equatable {
        /// Whose forwarding fields are believed.
        package let trusted: [CIDR]
        /// `Forwarded` (RFC 7239) is sent.
        package let sendsForwarded: Bool
        /// Names with `_` are passed on.
        package let passesUnderscores: Bool
        package let trace: Trace
        /// The folder of the pages for errors; nil: none.
        package let errorPages: String?
        package let lineBytes: Int
        /// Nil: unlimited.
        package let bodyBytes: Int?
        package let trailerBytes: Int
        package let chunkExtensionBytes: Int
        /// From accept until the ClientHello is complete.
        package let clientHello: Duration
        /// How long an upgraded connection may rest.
        package let tunnel: Duration

        /// What becomes of `traceparent`.
        package enum Trace: String, Sendable {
            case off, pass, start, restart
        }

        /// Without arguments: what a file that says nothing about it means.
        package init(
            trusted: [CIDR] = [], sendsForwarded: Bool = false, passesUnderscores: Bool = false,
            trace: Trace = .pass, errorPages: String? = nil, lineBytes: Int = 16 << 10,
            bodyBytes: Int? = nil,
            trailerBytes: Int = 16 << 10, chunkExtensionBytes: Int = 1 << 10,
            clientHello: Duration = .seconds(5), tunnel: Duration = .seconds(3600)
        ) {
            self.trusted = trusted
            self.sendsForwarded = sendsForwarded
            self.passesUnderscores = passesUnderscores
            self.trace = trace
            self.errorPages = errorPages
            self.lineBytes = lineBytes
            self.bodyBytes = bodyBytes
            self.trailerBytes = trailerBytes
            self.chunkExtensionBytes = chunkExtensionBytes
            self.clientHello = clientHello
            self.tunnel = tunnel
        }
    }
}

extension Configuration.Requests {
    enum Answer: String { case no, yes }
    enum Underscores: String { case drop, pass }

    static func decode(_ main: Section, limits: Section, timeouts: Section) -> Self {
        let forwarding = main.sectionOrDefaults("forwarding")
        return Self(
            trusted: trusted(forwarding),
            sendsForwarded: forwarding.choice("forwarded", as: Answer.self) == .yes,
            passesUnderscores: forwarding.choice("underscores", as: Underscores.self) == .pass,
            trace: forwarding.choice("trace", as: Trace.self) ?? .pass,
            errorPages: main.section("error_pages")?.path("directory")?.value,
            lineBytes: limits.size("request_line"),
            bodyBytes: limits.sizeOrUnlimited("request_body"),
            trailerBytes: limits.size("trailers"),
            chunkExtensionBytes: limits.size("chunk_extensions"),
            clientHello: timeouts.duration("client_hello"), tunnel: timeouts.duration("tunnel"))
    }

    private static func trusted(_ section: Section) -> [CIDR] {
        let blocks = section.texts("trusted", as: .block, parse: TextValue.block)
        if blocks.count > CIDRList.countMax {
            section.error(
                blocks[CIDRList.countMax].location,
                "\(section.title).trusted has more than \(CIDRList.countMax) blocks")
        }
        return blocks.map(\.value)
    }
}
