internal import EdgeCore
package import EdgeSystem
internal import Glibc

/// Sees to it that interfaces have the virtual addresses that they should: at once when that
/// changes, at once when somebody else changes them, and every ten seconds whatever was told. What
/// fails is counted and tried again. One thread, which never waits to look: the kernel answers only
/// when nobody else configures interfaces, which may take tens of milliseconds, so that what there
/// is is read by a thread of its own. Only changes are made at once, whatever that takes.
package final class AddressKeeper {
    /// What it has done since the start.
    package struct Figures: Sendable, Equatable {
        package var added: UInt64 = 0
        package var removed: UInt64 = 0
        /// Put back because somebody had taken them off.
        package var restored: UInt64 = 0
        /// Found at the start, or on an interface that they were not meant for.
        package var leftBehind: UInt64 = 0
        package var failures: UInt64 = 0
        package var lastFailure: SystemError?

        package init() {}
    }

    package enum Report: Sendable, Equatable {
        case restored(InterfaceAddress)
        case removedLeftover(InterfaceAddress)
        /// Tried again until it works or is not wanted any more.
        case failed(SystemError)
    }

    package private(set) var figures = Figures()
    /// What is wanted and was not taken by the kernel, with how many times in a row.
    package private(set) var refusals: [InterfaceAddress: Int] = [:] {
        didSet { if refusals != oldValue { refusalsChanged?() } }
    }
    /// Within `hold` and `release`, too; on the loop's thread.
    package var refusalsChanged: (() -> Void)?
    /// Told what is worth a line; on the loop's thread.
    package var report: ((Report) -> Void)?

    private let loop: PollLoop
    private let socket: NetlinkSocket
    private var wanted: [InterfaceAddress] = []
    private var governed: [InterfaceAddress] = []
    private var timer: TimerID?
    private var retries = 0
    private var isDue = false
    /// A thread reads what there is.
    private var isLooking = false
    /// What it reads is not to be trusted: something has changed since it was asked.
    private var isOutdated = false
    private var isSuspended = false

    private static let period = Duration.seconds(10)
    private static let retryMin = Duration.milliseconds(20)
    private static let retriesMax = 8

    /// - Throws: without a netlink socket.
    package init(loop: PollLoop) throws(SystemError) {
        self.loop = loop
        socket = try NetlinkSocket()
    }

    deinit { if let timer { loop.cancel(timer) } }

    /// Looks at all interfaces, now, and removes what is not wanted there.
    package func start() {
        do throws(SystemError) {
            correct(try InterfaceAddress.readAll(socket))
        } catch {
            failed(error)
        }
        reschedule()
    }

    /// What is ours to put on and take off from now on. Those that are left out and present are
    /// taken off.
    package func govern(_ addresses: [InterfaceAddress]) {
        let gone = governed.filter { old in
            !addresses.contains { $0.index == old.index && $0.address == old.address }
        }
        governed = addresses
        wanted.removeAll { want in gone.contains { $0.isSamePlace(want) } }
        forgetRefusals()
        for address in gone { remove(address) }
        if !gone.isEmpty { reconcileSoon() }
    }

    /// Puts these on, whatever of them is there; at once, in this order.
    package func hold(_ addresses: [InterfaceAddress]) {
        for address in addresses where !wanted.contains(address) {
            wanted.removeAll { $0.isSamePlace(address) }
            wanted.append(address)
        }
        for address in addresses { add(address, isRestored: false) }
    }

    /// Takes these off, at once.
    package func release(_ addresses: [InterfaceAddress]) {
        wanted.removeAll { want in addresses.contains { $0.isSamePlace(want) } }
        forgetRefusals()
        for address in addresses { remove(address) }
        // Somebody may have put one on with another prefix length meanwhile.
        reconcileSoon()
    }

    /// What was put on an interface is gone with it, or is known by another number now.
    package func forget(index: Int32) {
        wanted.removeAll { $0.index == index }
        governed.removeAll { $0.index == index }
        forgetRefusals()
    }

    /// Of what is not wanted any more.
    private func forgetRefusals() { refusals = refusals.filter { wanted.contains($0.key) } }

    /// Leaves everything as it is from now on: another program goes on. `resume` ends that.
    package func suspend() {
        isSuspended = true
        if let timer { loop.cancel(timer) }
        timer = nil
    }

    package func resume() {
        isSuspended = false
        reconcileSoon()
    }

    package func isWanted(_ address: InterfaceAddress) -> Bool {
        wanted.contains { $0.isSamePlace(address) }
    }

    /// Acts on what the kernel has told, within this turn of the loop.
    package func observed(_ event: NetworkEvent) {
        switch event {
        case .addressGone(let address) where isWanted(address): reconcileSoon()
        case .address(let address) where !isWanted(address) && isGoverned(address):
            reconcileSoon()
        case .address(let address) where address.flags.contains(.duplicate) && isWanted(address):
            reconcileSoon()
        case .overflow: reconcileSoon()
        // A link that comes back up has lost its IPv6 addresses.
        case .link(let link) where wanted.contains { $0.index == link.interface.index }:
            reconcileSoon()
        case .address, .addressGone, .link, .linkGone: break
        }
    }

    private func isGoverned(_ address: InterfaceAddress) -> Bool {
        governed.contains { $0.isSamePlace(address) }
    }

    // MARK: - Reconciling

    /// Once after the events that have come together.
    private func reconcileSoon() {
        guard !isDue, !isSuspended else { return }
        isDue = true
        loop.schedule(at: loop.now) { [weak self] in self?.look() }
    }

    /// The keeper, for the way back from the thread that looks.
    private final class Home: @unchecked Sendable {
        // Sendable: made and read on the loop's thread, only carried by the other.
        weak var keeper: AddressKeeper?

        init(_ keeper: AddressKeeper) { self.keeper = keeper }
    }

    private func look() {
        isDue = false
        guard !isSuspended else { return }
        guard !isLooking else {
            isOutdated = true
            return
        }
        isLooking = true
        isOutdated = false
        let indices = Set((wanted + governed).map(\.index))
        let home = Home(self)
        let poster = loop.poster
        do throws(SystemError) {
            try BackgroundThread.start {
                let found = Result { () throws(SystemError) in try Self.read(indices) }
                poster.post { home.keeper?.looked(found) }
            }
        } catch {
            looked(.failure(error))
        }
    }

    private static func read(_ indices: Set<Int32>) throws(SystemError) -> [InterfaceAddress] {
        let socket = try NetlinkSocket()
        var present: [InterfaceAddress] = []
        for index in indices { present += try InterfaceAddress.readAll(socket, of: index) }
        return present
    }

    private func looked(_ found: Result<[InterfaceAddress], SystemError>) {
        isLooking = false
        guard !isSuspended else { return }
        // What we have changed meanwhile may look like what somebody else has.
        if isOutdated { return reconcileSoon() }
        switch found {
        case .success(let present): correct(present)
        case .failure(let error): failed(error)
        }
        reschedule()
    }

    private func correct(_ present: [InterfaceAddress]) {
        let steps = AddressPlan.steps(wanted: wanted, governed: governed, present: present)
        for step in steps {
            switch step {
            case .add(let address): add(address, isRestored: true)
            case .remove(let address, let why):
                remove(address)
                guard why != .unusable else { continue }
                figures.leftBehind += 1
                report?(.removedLeftover(address))
            }
        }
    }

    private func reschedule() {
        guard !isSuspended else { return }
        if let timer { loop.cancel(timer) }
        var span = Self.period
        if retries > 0 { span = min(span, Self.retryMin * (1 << min(retries, Self.retriesMax))) }
        timer = loop.schedule(after: span) { [weak self] in self?.look() }
    }

    // MARK: - Changes

    private func add(_ address: InterfaceAddress, isRestored: Bool) {
        isOutdated = true
        do throws(SystemError) {
            try put(address)
            retries = 0
            // One that was never there has not been removed by anybody.
            guard refusals.removeValue(forKey: address) == nil, isRestored else { return }
            figures.restored += 1
            report?(.restored(address))
        } catch {
            // The interface has gone: whoever watches it is told.
            guard error.code != ENODEV else { return }
            refusals[address, default: 0] += 1
            failed(error)
        }
    }

    /// One without our mark is the interface's own: if it is there, it stays as it is.
    private func put(_ address: InterfaceAddress) throws(SystemError) {
        let isOurs = address.origin == AddressPlan.mark
        do throws(SystemError) {
            try address.add(socket, isReplacing: isOurs)
            figures.added += 1
        } catch {
            guard !isOurs, error.code == EEXIST else { throw error }
        }
    }

    private func remove(_ address: InterfaceAddress) {
        isOutdated = true
        do throws(SystemError) {
            if try address.remove(socket) { figures.removed += 1 }
        } catch {
            failed(error)
        }
    }

    private func failed(_ error: SystemError) {
        figures.failures += 1
        figures.lastFailure = error
        retries += 1
        report?(.failed(error))
        reschedule()
    }
}

extension InterfaceAddress {
    fileprivate func isSamePlace(_ other: InterfaceAddress) -> Bool {
        index == other.index && address == other.address
    }
}
