package import EdgeControlAPI

/// Who is at the other end of the admin socket, as the kernel says (SO_PEERCRED): the process
/// that called connect(2).
package struct PeerCredentials: Sendable, Equatable, CustomStringConvertible {
    package let pid: Int32
    package let uid: UInt32
    package let gid: UInt32
    /// The other node, if it orders; nil: somebody here.
    package let node: String?

    package init(pid: Int32, uid: UInt32, gid: UInt32) {
        self.pid = pid
        self.uid = uid
        self.gid = gid
        node = nil
    }

    /// An administrator of the pair's other node, who is not known here.
    package init(node: String) {
        (pid, uid, gid) = (0, .max, .max)
        self.node = node
    }

    package var description: String { node ?? "uid \(uid) pid \(pid)" }
}

/// How a reload is to go.
package struct ReloadOptions: Sendable, Equatable {
    /// It is undone unless it is confirmed within this time; nil: it stays.
    package var confirmWithin: Duration?

    package init(confirmWithin: Duration? = nil) { self.confirmWithin = confirmWithin }
}

/// Why an order about the node is not followed, as a sentence. Nothing has changed.
package struct OrderRefusal: Error, Equatable {
    package let reason: String
    /// What is asked for cannot be done now; else it makes no sense as things are.
    package let isUnavailable: Bool

    package init(_ reason: String, isUnavailable: Bool = false) {
        self.reason = reason
        self.isUnavailable = isUnavailable
    }
}

/// What has become of an administrator's word.
package enum MemberOrderResult: Sendable, Equatable {
    case done
    /// Nothing has changed.
    case refused(String)
}

/// What the admin server asks and orders. All on the loop's thread.
package protocol ControlTarget: AnyObject {
    func status() -> StatusReply
    /// Appends the Prometheus text; `MetricsText` helps.
    func metrics(into text: inout String)
    /// What is counted per site, upstream and view, in the same format.
    ///
    /// - Parameter completion: called once, now or later, on the loop's thread.
    func traffic(completion: @escaping ([UInt8]) -> Void)
    /// Whether clients should be sent here, and a word why or why not.
    func isReady() -> (Bool, String)
    /// The same of one view's clients; nil: there is no such view. Asked only when `isReady()`.
    func isReady(view: String) -> (Bool, String)?
    /// An administrator's word about a member; what has become of it is in the next `status()`.
    ///
    /// - Parameters:
    ///   - upstream: one that `status()` has.
    ///   - address: of one of its members, as there.
    func setMember(upstream: String, address: String, order: MemberOrder) -> MemberOrderResult
    /// What DNS has to say to the clients of a view.
    ///
    /// - Parameter view: nil: none was named.
    func dnsRecords(view: String?) -> Result<DNSRecordsReply, DNSRecordsRefusal>
    /// The configuration that is in use, with every default and where each value comes from; nil:
    /// none is.
    func effectiveConfiguration() -> ConfigurationReply?
    /// What becomes of a request.
    func explain(_ question: ExplainQuestion) -> Result<ExplainReply, ExplainRefusal>
    /// Every certificate, and every file that cannot be used.
    func certificates() -> CertificatesReply
    /// Completions are called once, now or later, on the loop's thread.
    func reload(
        by peer: PeerCredentials, options: ReloadOptions,
        completion: @escaping (ReloadReply) -> Void)
    /// Both nodes of a pair: the standby first, and neither unless both can.
    func reloadPair(
        by peer: PeerCredentials,
        completion: @escaping (Result<ReloadReply, OrderRefusal>) -> Void)
    /// What a reload would do; nothing changes.
    func plan(completion: @escaping (Result<ReloadPlanReply, OrderRefusal>) -> Void)
    /// The newest reload stays.
    func confirm(
        by peer: PeerCredentials,
        completion: @escaping (Result<ConfirmReply, OrderRefusal>) -> Void)
    /// Another program takes over, on the same listeners.
    func upgrade(
        by peer: PeerCredentials,
        completion: @escaping (Result<UpgradeReply, OrderRefusal>) -> Void)
    /// Called back when clients have been told and, where addresses move between nodes, when it is
    /// known what becomes of them.
    func setNode(
        _ order: NodeOrder, completion: @escaping (Result<NodeReply, OrderRefusal>) -> Void)
    /// Nil: no address moves between nodes.
    func vip() -> VIPReply?
    /// The addresses are wanted on another node.
    func yieldVIP(
        isForced: Bool, completion: @escaping (Result<VIPYieldReply, OrderRefusal>) -> Void)
    /// What rates are made of.
    func figures() -> FiguresReply
    func incidents() -> IncidentsReply
    /// What is wrong with what the daemon sees of its host.
    func doctor() -> DoctorReply
    /// Policies, what they have done, and bans.
    func limits() -> LimitsReply
    /// Who was refused most lately.
    func limitTop() -> LimitTopReply
    /// How a client stands.
    ///
    /// - Parameter text: an address, as an administrator has typed it.
    func limitClient(_ text: String) -> Result<LimitClientReply, OrderRefusal>
    func orderLimits(_ order: LimitOrder) -> Result<LimitOrderReply, OrderRefusal>
}

extension ControlTarget {
    /// Who has no other node refuses.
    package func reloadPair(
        by peer: PeerCredentials,
        completion: @escaping (Result<ReloadReply, OrderRefusal>) -> Void
    ) {
        completion(.failure(OrderRefusal("there is no other node (`pair` in the configuration)")))
    }

    /// Who counts nothing has nothing to say.
    package func traffic(completion: @escaping ([UInt8]) -> Void) { completion([]) }
}
