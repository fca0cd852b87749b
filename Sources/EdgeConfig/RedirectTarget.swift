import EdgeRouting

/// What is known beforehand of where a redirect leads: enough to see one that leads back to itself.
struct RedirectTarget {
    enum Host: Equatable {
        /// The one that was asked for.
        case same
        /// With its port.
        case literal(String)
        /// Depends on the request otherwise.
        case unknown
    }

    /// Nil: that of the request.
    let isEncrypted: Bool?
    let host: Host
    /// Nil: the scheme's, or that of the request.
    let port: UInt16?
    /// From `/` on, as far as it is the same for all requests; empty: nothing is written.
    let path: String
    /// The request's own path follows.
    let repeatsPath: Bool

    /// - Returns: nil if it is neither an absolute URL nor a path, or might become something else
    ///   by what a client sends.
    init?(_ template: Template) {
        guard case .text(let first)? = template.parts.first else { return nil }
        var parts = template.parts
        if first.hasPrefix("/") {
            // Two slashes begin the name of a host (RFC 3986 §4.2), and paths begin with one.
            guard !first.hasPrefix("//"), first != "/" || parts.dropFirst().first != .path else {
                return nil
            }
            (isEncrypted, host, port) = (nil, .same, nil)
        } else {
            let scheme = ["https://", "http://"].first { first.lowercased().hasPrefix($0) }
            guard let scheme else { return nil }
            parts[0] = .text(String(first.dropFirst(scheme.utf8.count)))
            isEncrypted = scheme == "https://"
            guard let authority = Self.takeAuthority(&parts) else { return nil }
            (host, port) = authority
        }
        guard case .text(let text)? = parts.first, !text.isEmpty else {
            path = ""
            repeatsPath = parts.drop { $0 == .text("") }.first == .path
            return
        }
        let written = text.prefix { $0 != "?" && $0 != "#" }
        let next = written.utf8.count == text.utf8.count ? parts.dropFirst().first : nil
        repeatsPath = next == .path
        switch next {
        case nil, .text, .path, .query: path = String(written)
        // Its last segment is not known.
        case .client, .view, .host, .id:
            path = written.lastIndex(of: "/").map { String(written[...$0]) } ?? ""
        }
    }

    /// Removes what stands before the path.
    private static func takeAuthority(
        _ parts: inout [Template.Part]
    ) -> (Host, UInt16?)? {
        var authority: [Template.Part] = []
        while let part = parts.first {
            if part == .path || part == .query { break }
            guard case .text(let text) = part else {
                authority.append(part)
                parts.removeFirst()
                continue
            }
            let head = text.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
            if !head.isEmpty { authority.append(.text(String(head))) }
            guard head.utf8.count == text.utf8.count else {
                parts[0] = .text(String(text.dropFirst(head.utf8.count)))
                break
            }
            parts.removeFirst()
        }
        guard let first = authority.first else { return nil }
        let last = authority.dropFirst()
        switch first {
        case .text(let name) where last.isEmpty:
            let colon = name.hasSuffix("]") ? nil : name.lastIndex(of: ":")
            return (.literal(name), colon.flatMap { UInt16(name[$0...].dropFirst()) })
        case .host where last.isEmpty: return (.same, nil)
        case .host:
            guard last.count == 1, case .text(let text)? = last.first, text.hasPrefix(":"),
                let port = UInt16(text.dropFirst())
            else { return nil }
            return (.same, port)
        case .text, .client, .view, .id, .path, .query: return (.unknown, nil)
        }
    }

    // MARK: - Loops

    /// Whether it leads to one of `listeners`, for a host that `isOwn`.
    func comesBack(
        to listeners: [Configuration.Listener], isOwn: (String) -> Bool
    ) -> Bool {
        switch host {
        case .same: break
        case .literal(let name):
            let bare = port == nil ? name[...] : name[..<(name.lastIndex(of: ":") ?? name.endIndex)]
            guard isOwn(bare.lowercased()) else { return false }
        case .unknown: return false
        }
        guard let isEncrypted else { return true }
        let port = port ?? (isEncrypted ? 443 : 80)
        return listeners.contains {
            $0.kind == (isEncrypted ? .tls : .http) && $0.addresses.contains { $0.port == port }
        }
    }

    /// The longest of `prefixes` that the path has, which is the request's own if none is written.
    ///
    /// - Returns: nil: none.
    func match(among prefixes: [String]) -> String? {
        let path = path.isEmpty ? "/" : path
        return prefixes.filter { $0 == "/" || path == $0 || path.hasPrefix($0 + "/") }.max {
            $0.utf8.count < $1.utf8.count
        }
    }
}
