internal import EdgeCore
internal import EdgeSystem
internal import EdgeVRRP

/// One interface, by its name, with what is on it at the moment: its number, its link, its
/// addresses, and the raw sockets that are bound to it. Several instances may share one. It
/// outlives the interface: one that is deleted and comes back has another number and gets other
/// sockets.
final class InterfaceChannel {
    let name: String
    private(set) var link: NetworkLink?
    /// Of the interface, virtual ones included; in the kernel's order.
    private(set) var addresses: [InterfaceAddress] = []
    private(set) var sockets: [IPFamily: VRRPSocket] = [:]
    /// Told why there is no socket; that is tried again with every event and every round.
    var report: ((SystemError) -> Void)?
    private var socketFailure: SystemError?
    /// Called with what arrives.
    var received: ((IPFamily, RawPacket) -> Void)?

    private let loop: PollLoop
    /// Which families are spoken here, and whether to their group.
    private var spoken: [IPFamily: Bool] = [:]
    private var paused: [IPFamily: TimerID] = [:]
    private var isSuspended = false
    /// Of the instances here, for the time of a flood.
    var routerIDs: [UInt8] = [] {
        didSet {
            if routerIDs != oldValue { refilter() }
        }
    }
    /// The only ones that count, per family; without an entry anybody does.
    var sources: [IPFamily: [SocketAddress]] = [:] {
        didSet { if sources != oldValue { refilter() } }
    }
    /// Packets may count whatever their hop limit is.
    var takesAnyHops = false {
        didSet { if takesAnyHops != oldValue { refilter() } }
    }
    /// Times that more came than is read.
    private(set) var floods: UInt64 = 0
    private var floodUntil: [IPFamily: Instant] = [:]
    /// Portions in a row that were full.
    private var fullPortions: [IPFamily: Int] = [:]

    /// Packets read in a row before timers have their turn.
    private static let packetsPerTurn = 8
    /// How long a socket that had so many waits for the next: a flood costs some percent of a core.
    private static let floodPause = Duration.milliseconds(1)
    /// So many full portions in a row are a flood.
    private static let floodPortions = 10
    /// How long the kernel then drops what can't be for us, uncounted.
    private static let floodSpan = Duration.seconds(10)

    init(name: String, loop: PollLoop) {
        self.name = name
        self.loop = loop
    }

    deinit {
        for family in Array(sockets.keys) { close(family) }
    }

    /// 0 while there is no such interface.
    var index: Int32 { link?.interface.index ?? 0 }
    var state: LinkState { LinkState(link) }
    var clockJumps: UInt64 { sockets.values.reduce(0) { $0 + $1.clockJumps } }

    // MARK: - What is told of it

    /// - Returns: whether its number is another one now: whatever was there is gone.
    func update(_ link: NetworkLink?) -> Bool {
        let isOther = link?.interface.index != self.link?.interface.index
        self.link = link
        if isOther {
            addresses = []
            for family in Array(sockets.keys) { close(family) }
        }
        openSockets()
        return isOther
    }

    func replaceAddresses(_ all: [InterfaceAddress]) {
        addresses = all.filter { $0.index == index }
    }

    func added(_ address: InterfaceAddress) {
        guard let place = place(of: address) else { return addresses.append(address) }
        addresses[place] = address
    }

    func removed(_ address: InterfaceAddress) {
        if let place = place(of: address) { addresses.remove(at: place) }
    }

    private func place(of address: InterfaceAddress) -> Int? {
        addresses.firstIndex {
            $0.address == address.address && $0.prefixLength == address.prefixLength
        }
    }

    // MARK: - Sockets

    /// - Parameters:
    ///   - families: each with whether its group is joined.
    ///   - isOpening: false: sockets of a former program are adopted first.
    func speak(_ families: [IPFamily: Bool], isOpening: Bool = true) {
        for (family, socket) in sockets where families[family] != socket.isMulticast {
            close(family)
        }
        spoken = families
        if isOpening { openSockets() }
    }

    /// Takes over a socket that this process had as another program.
    func adopt(_ socket: VRRPSocket) {
        let family: IPFamily = socket.isIPv4 ? .ipv4 : .ipv6
        guard socket.index == index, spoken[family] == socket.isMulticast, sockets[family] == nil
        else { return }
        watch(socket, family)
    }

    /// Those that are missing, if there is an interface to bind them to.
    func openSockets() {
        guard index > 0 else { return }
        for (family, isMulticast) in spoken where sockets[family] == nil {
            do throws(SystemError) {
                let socket = try VRRPSocket(
                    isIPv4: family == .ipv4, index: index, name: name, isMulticast: isMulticast)
                watch(socket, family)
            } catch {
                failed(error)
            }
        }
    }

    private func watch(_ socket: VRRPSocket, _ family: IPFamily) {
        do throws(SystemError) {
            try loop.watch(socket.descriptor, events: .readable) { [weak self] _ in
                self?.read(family)
            }
            sockets[family] = socket
        } catch {
            failed(error)
        }
    }

    /// Told once until it is another.
    private func failed(_ error: SystemError) {
        guard error != socketFailure else { return }
        socketFailure = error
        report?(error)
    }

    private func close(_ family: IPFamily) {
        guard let socket = sockets.removeValue(forKey: family) else { return }
        loop.unwatch(socket.descriptor)
        floodUntil[family] = nil
        fullPortions[family] = nil
        if let timer = paused.removeValue(forKey: family) { loop.cancel(timer) }
    }

    // MARK: - Packets

    /// Leaves what arrives in the sockets.
    func suspend() {
        isSuspended = true
        for socket in sockets.values { loop.change(socket.descriptor, events: []) }
    }

    func resume() {
        isSuspended = false
        for socket in sockets.values { loop.change(socket.descriptor, events: .readable) }
    }

    private func read(_ family: IPFamily) {
        guard let socket = sockets[family] else { return }
        let isMore = socket.receive(max: Self.packetsPerTurn) { received?(family, $0) }
        // The handler may have closed it.
        guard sockets[family] === socket else { return }
        guard isMore else {
            fullPortions[family] = 0
            return
        }
        fullPortions[family, default: 0] += 1
        if fullPortions[family, default: 0] == Self.floodPortions { beginFlood(family, socket) }
        loop.change(socket.descriptor, events: [])
        paused[family] = loop.schedule(after: Self.floodPause) { [weak self] in
            guard let self, self.sockets[family] === socket else { return }
            self.paused[family] = nil
            guard !self.isSuspended else { return }
            self.loop.change(socket.descriptor, events: .readable)
        }
    }

    /// More comes than is read, so that the kernel drops some, and not only rubbish: for a while
    /// it is told what rubbish is.
    private func beginFlood(_ family: IPFamily, _ socket: VRRPSocket) {
        floods += 1
        fullPortions[family] = 0
        let until = Instant.now().advanced(by: Self.floodSpan)
        floodUntil[family] = until
        admitOnly(family, socket)
        loop.schedule(at: until) { [weak self] in
            // A later one lasts longer.
            guard let self, floodUntil[family] == until, sockets[family] === socket else { return }
            socket.admitAll()
        }
    }

    /// What is for us is another, in a flood that goes on.
    private func refilter() {
        for (family, socket) in sockets {
            guard let until = floodUntil[family], until > .now() else { continue }
            admitOnly(family, socket)
        }
    }

    private func admitOnly(_ family: IPFamily, _ socket: VRRPSocket) {
        socket.admitOnly(routerIDs, from: sources[family], takesAnyHops: takesAnyHops)
    }

    /// Reads what has arrived until now, bounded by what a socket holds: before it is said that
    /// somebody was silent.
    func drain() {
        for (family, socket) in sockets {
            for _ in 0..<32 where sockets[family] === socket {
                guard socket.receive(max: 64, { received?(family, $0) }) else { break }
            }
        }
    }
}
