extension UpstreamConfiguration {
    /// How the upstream is used, for status: a few words per policy, in the configuration's own.
    package var policyWords: [String] {
        var words = [balance.words]
        if let sticky { words.append("sticky \(sticky.cookie)") }
        words.append(health.map { "check \($0.kind.words)" } ?? "no checks")
        if ejection == nil { words.append("no ejection") }
        if !failsOpen { words.append("closed when all are down") }
        return words
    }
}

extension BalancePolicy {
    fileprivate var words: String {
        switch self {
        case .roundRobin: "round-robin"
        case .leastRequests: "least-requests"
        case .fastest: "fastest"
        case .hash(.client): "hash client"
        case .hash(.header(let name)): "hash header \(name)"
        case .hash(.cookie(let name)): "hash cookie \(name)"
        }
    }
}

extension HealthPolicy.Kind {
    /// Without a query: there may be secrets in it.
    fileprivate var words: String {
        switch self {
        case .tcp: "tcp"
        case .tls: "tls"
        case .http(let request): "http \(request.bare)"
        case .http2(let request): "h2 \(request.bare)"
        case .grpc(let service): service.isEmpty ? "grpc" : "grpc \(service)"
        case .kubeAPIServer: "kube-apiserver"
        case .activeMember(let request): "active-member \(request.bare)"
        }
    }
}

extension HealthPolicy.Request {
    fileprivate var bare: String { String(path.prefix { $0 != "?" }) }
}
