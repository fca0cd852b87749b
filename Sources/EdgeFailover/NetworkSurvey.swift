internal import EdgeCore
internal import EdgeSystem

/// Reads all interfaces and their addresses anew, on a thread of its own: the kernel answers only
/// when nobody else configures interfaces, which may take tens of milliseconds, and whoever loses
/// events loses them while somebody does. One thread otherwise.
///
///     idle ── request ──► reading ── done ──► idle, or reading again after `spacing` if asked
final class NetworkSurvey {
    /// What there is.
    struct Findings: Sendable, Equatable {
        /// By number.
        var links: [Int32: NetworkLink] = [:]
        var addresses: [InterfaceAddress] = []

        /// Brings it up to a change that was told after the reading had begun.
        mutating func apply(_ event: NetworkEvent) {
            switch event {
            case .link(let link): links[link.interface.index] = link
            case .linkGone(let index):
                links[index] = nil
                addresses.removeAll { $0.index == index }
            case .address(let address):
                if let place = place(of: address) {
                    addresses[place] = address
                } else {
                    addresses.append(address)
                }
            case .addressGone(let address):
                if let place = place(of: address) { addresses.remove(at: place) }
            case .overflow: break
            }
        }

        private func place(of address: InterfaceAddress) -> Int? {
            addresses.firstIndex {
                $0.index == address.index && $0.address == address.address
                    && $0.prefixLength == address.prefixLength
            }
        }
    }

    /// Readings begun.
    private(set) var count: UInt64 = 0
    /// On the loop's thread.
    var handler: ((Result<Findings, SystemError>) -> Void)?

    private let loop: PollLoop
    private var isReading = false
    private var isAskedAgain = false
    private var timer: TimerID?
    private var earliest = Instant(nanoseconds: 0)
    /// Told since the reading began.
    private var newer: [NetworkEvent] = []

    /// From the beginning of one to that of the next: a storm costs ten of them a second.
    static let spacing = Duration.milliseconds(100)

    init(loop: PollLoop) { self.loop = loop }

    deinit { if let timer { loop.cancel(timer) } }

    /// Reads soon: one reading for all that ask meanwhile.
    func request() {
        guard !isReading else {
            isAskedAgain = true
            return
        }
        guard timer == nil else { return }
        timer = loop.schedule(at: max(earliest, loop.now)) { [weak self] in
            self?.timer = nil
            self?.begin()
        }
    }

    /// Tells it of every event, so that what it finds is not older than what is known.
    func observed(_ event: NetworkEvent) {
        guard isReading else { return }
        if event == .overflow { isAskedAgain = true } else { newer.append(event) }
    }

    /// The way back from the thread that reads.
    private final class Home: @unchecked Sendable {
        // Sendable: made and read on the loop's thread, only carried by the other.
        weak var survey: NetworkSurvey?

        init(_ survey: NetworkSurvey) { self.survey = survey }
    }

    private func begin() {
        isReading = true
        count += 1
        newer = []
        earliest = loop.now.advanced(by: Self.spacing)
        let home = Home(self)
        let poster = loop.poster
        do throws(SystemError) {
            try BackgroundThread.start {
                let found = Result { () throws(SystemError) in try Self.read() }
                poster.post { home.survey?.ended(found) }
            }
        } catch {
            ended(.failure(error))
        }
    }

    private static func read() throws(SystemError) -> Findings {
        let socket = try NetlinkSocket()
        var found = Findings()
        for link in try NetworkLink.readAll(socket) { found.links[link.interface.index] = link }
        found.addresses = try InterfaceAddress.readAll(socket)
        return found
    }

    private func ended(_ result: Result<Findings, SystemError>) {
        isReading = false
        let events = newer
        newer = []
        var isAgain = isAskedAgain
        isAskedAgain = false
        switch result {
        case .success(var found):
            for event in events { found.apply(event) }
            handler?(.success(found))
        case .failure(let error):
            isAgain = true
            handler?(.failure(error))
        }
        if isAgain { request() }
    }
}
