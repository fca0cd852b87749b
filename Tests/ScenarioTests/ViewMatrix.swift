internal import EdgeCore
internal import EdgeTesting
internal import Foundation
internal import Testing

/// Three views with sites that are alike and differ where it matters, and what each of their
/// clients should get, found by going through lists: nothing here is made as the product makes it.
enum ViewMatrix {
    enum View: String, CaseIterable, CustomTestStringConvertible {
        /// Unknown names get the default certificate and 404.
        case lan
        /// By way of a forwarder with PROXY headers; unknown names are refused.
        case `public`
        /// Asks for client certificates; a site stands for unknown names.
        case office

        var testDescription: String { rawValue }

        /// Where its connections come from.
        var source: SocketAddress {
            let index = UInt32(View.allCases.firstIndex(of: self) ?? 0)
            return SocketAddress(ipv4: 0x7F00_0001 + index, port: 0)
        }

        /// A client of the LAN, if the header decided the view.
        var preamble: [UInt8] {
            guard self == .public else { return [] }
            return ProxyHeaderBytes.version2(
                SocketAddress(ipv4: 0x7F00_0001, port: 4321),
                SocketAddress(ipv4: 0x7F00_0001, port: 443))
        }
    }

    enum Authority: String, CaseIterable { case partners, staff }

    /// How a view or a site asks for client certificates.
    struct Asking: Equatable {
        let authority: Authority
        let isRequired: Bool
    }

    /// A host of a view and where it leads.
    struct Cell {
        let view: View
        let pattern: String
        let upstream: String
        var isPassthrough = false
        /// Instead of the view's.
        var asking: Asking?
    }

    static let cells: [Cell] = [
        .init(view: .lan, pattern: "lanonly.test", upstream: "lanonly"),
        .init(view: .lan, pattern: "same.test", upstream: "same-lan"),
        .init(view: .lan, pattern: "both.lan.test", upstream: "both"),
        .init(view: .lan, pattern: "*.apps.test", upstream: "apps-lan"),
        .init(view: .lan, pattern: "exact.apps.test", upstream: "exact-lan"),
        .init(view: .lan, pattern: "mix.test", upstream: "mix-lan", isPassthrough: true),
        .init(view: .lan, pattern: "pass.test", upstream: "pass-lan"),
        .init(
            view: .lan, pattern: "mtls.test", upstream: "mtls-lan",
            asking: .init(authority: .partners, isRequired: true)),
        .init(view: .public, pattern: "pubonly.test", upstream: "pubonly"),
        .init(view: .public, pattern: "same.test", upstream: "same-public"),
        .init(view: .public, pattern: "both.pub.test", upstream: "both"),
        .init(view: .public, pattern: "*.apps.test", upstream: "apps-public"),
        .init(view: .public, pattern: "mix.test", upstream: "mix-public"),
        .init(view: .public, pattern: "pass.test", upstream: "pass-public", isPassthrough: true),
        .init(
            view: .public, pattern: "mtls.test", upstream: "mtls-public",
            asking: .init(authority: .staff, isRequired: true)),
        .init(view: .office, pattern: "front.office.test", upstream: "front"),
        .init(view: .office, pattern: "same.test", upstream: "same-office"),
        .init(view: .office, pattern: "both.office.test", upstream: "both"),
        .init(view: .office, pattern: "mtls.test", upstream: "mtls-office"),
    ]

    /// What clients ask for: every host of every view, and what none or only a wildcard has.
    static let names =
        [
            "lanonly.test", "pubonly.test", "same.test", "both.lan.test", "both.pub.test",
            "both.office.test", "exact.apps.test", "other.apps.test", "a.b.apps.test", "mix.test",
            "pass.test", "mtls.test", "front.office.test", "default.test", "nobody.test",
        ]

    /// Files of `certs/` and the names in them.
    static let certificates: [String: [String]] = [
        "first": [
            "lanonly.test", "both.lan.test", "both.office.test", "front.office.test",
            "default.test", "mtls.test", "*.apps.test", "pubonly.test",
        ],
        "second": ["same.test", "both.pub.test", "mix.test", "pass.test"],
        "lan/own": ["same.test", "*.apps.test", "lanonly.test", "mtls.test"],
        "public/own": [
            "same.test", "*.apps.test", "both.pub.test", "mix.test", "pubonly.test", "mtls.test",
        ],
    ]

    // MARK: - What should happen

    /// What becomes of a connection.
    enum Opening: Equatable {
        /// The alert `unrecognized_name`.
        case refused
        /// Bytes go to this upstream.
        case passthrough(String)
        /// The certificate's file, and who is asked for theirs.
        case terminated(String, Asking?)
    }

    enum Outcome: Equatable {
        case served(String)
        case status(Int)
    }

    static func asking(_ view: View) -> Asking? {
        view == .office ? Asking(authority: .staff, isRequired: false) : nil
    }

    static func asking(_ cell: Cell) -> Asking? { cell.asking ?? asking(cell.view) }

    static func find(_ name: String, _ view: View) -> Cell? {
        let own = cells.filter { $0.view == view }
        let parent = name.split(separator: ".").dropFirst().joined(separator: ".")
        return own.first { $0.pattern == name } ?? own.first { $0.pattern == "*." + parent }
    }

    static func covers(_ file: String, _ name: String) -> Bool {
        let parent = name.split(separator: ".").dropFirst().joined(separator: ".")
        let names = certificates[file] ?? []
        return names.contains(name) || names.contains("*." + parent)
    }

    /// The file whose certificate is for a name: the view's own before those of all.
    static func certificate(_ name: String, _ view: View) -> String? {
        let files = certificates.keys.sorted()
        return files.first { $0.hasPrefix(view.rawValue + "/") && covers($0, name) }
            ?? files.first { !$0.contains("/") && covers($0, name) }
    }

    static func open(_ view: View, serverName: String?) -> Opening {
        if let serverName, let cell = find(serverName, view) {
            if cell.isPassthrough { return .passthrough(cell.upstream) }
            let file = certificate(serverName, view) ?? "none"
            return .terminated(file, asking(cell))
        }
        switch view {
        case .public: return .refused
        case .lan: return .terminated(certificate("default.test", view) ?? "none", asking(view))
        case .office:
            return .terminated(certificate("front.office.test", view) ?? "none", asking(view))
        }
    }

    /// What a request for `host` gets on a connection that was opened so.
    static func request(
        _ view: View, _ opening: Opening, serverName: String?, host: String
    ) -> Outcome {
        switch opening {
        case .refused: return .status(0)
        case .passthrough(let upstream): return .served(upstream)
        case .terminated(let file, let asked):
            let isFor = serverName == host || covers(file, host)
            let stand = view == .office ? find("front.office.test", view) : nil
            guard let cell = find(host, view) ?? stand else {
                return .status(view == .lan && isFor ? 404 : 421)
            }
            guard !cell.isPassthrough, asking(cell) == asked, isFor else { return .status(421) }
            return .served(cell.upstream)
        }
    }

    /// Whether the handshake succeeds for who shows a certificate of `authority`.
    static func lets(_ asking: Asking?, _ authority: Authority?) -> Bool {
        guard let asking else { return true }
        guard let authority else { return !asking.isRequired }
        return authority == asking.authority
    }

    /// In the clear no certificate is asked for, and nothing is passed through.
    static func plainRequest(_ view: View, host: String) -> Outcome {
        let stand = view == .office ? find("front.office.test", view) : nil
        guard let cell = find(host, view) ?? stand, !cell.isPassthrough else {
            return .status(404)
        }
        return .served(cell.upstream)
    }
}
