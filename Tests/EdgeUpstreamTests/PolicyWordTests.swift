import EdgeUpstream
import Testing

@Suite("Policies in words")
struct PolicyWordTests {
    private static func upstream(
        _ change: (inout UpstreamConfiguration) -> Void = { _ in }
    ) -> UpstreamConfiguration {
        var upstream = UpstreamConfiguration(
            name: "a", servers: [.init(host: .name("b.c"), port: 1)], tls: nil,
            connectTimeout: .seconds(1), responseTimeout: .seconds(1), bodyTimeout: .seconds(1),
            keepAlive: .seconds(1))
        change(&upstream)
        return upstream
    }

    @Test("What is usual takes two words")
    func usual() {
        #expect(Self.upstream().policyWords == ["round-robin", "check tcp"])
    }

    @Test("What differs from it is named, and no query of a check is")
    func named() {
        let words = Self.upstream {
            $0.balance = .hash(.header("x-user"))
            $0.sticky = StickyPolicy(cookie: "EDGED")
            $0.health = HealthPolicy(kind: .http2(.init(path: "/up?token=secret")))
            $0.ejection = nil
            $0.failsOpen = false
        }.policyWords

        #expect(
            words == [
                "hash header x-user", "sticky EDGED", "check h2 /up", "no ejection",
                "closed when all are down",
            ])
    }

    @Test(
        "Every check has its word",
        arguments: [
            (.tcp, "tcp"), (.tls, "tls"), (.http(.init()), "http /"), (.grpc(service: ""), "grpc"),
            (.grpc(service: "a.B"), "grpc a.B"), (.kubeAPIServer, "kube-apiserver"),
            (.activeMember(.init(path: "/ui")), "active-member /ui"),
        ] as [(HealthPolicy.Kind, String)])
    func checks(kind: HealthPolicy.Kind, word: String) {
        let words = Self.upstream { $0.health = HealthPolicy(kind: kind) }.policyWords
        #expect(words.last == "check \(word)")
        #expect(Self.upstream { $0.health = nil }.policyWords.last == "no checks")
    }
}
