internal import EdgeCore
internal import EdgeSystem

/// Somebody who goes on when all of some names have addresses, or after a while without: DNS is
/// never fatal, but what begins to serve, or changes to other names, need not do so a moment before
/// it is answered. One at a time; a new one replaces what waited. Control thread.
final class NameWait {
    private let loop: PollLoop
    private var names: Set<String> = []
    private var body: (() -> Void)?
    private var timer: TimerID?

    init(loop: PollLoop) { self.loop = loop }

    /// Runs `body` once: now if nothing has to be awaited, else when it need not be any more.
    ///
    /// - Parameter hasAddress: whether a name has one already.
    func begin(
        _ names: Set<String>, atMost span: Duration, hasAddress: (String) -> Bool,
        _ body: @escaping () -> Void
    ) {
        cancel()
        self.names = names.filter { !hasAddress($0) }
        guard !self.names.isEmpty else {
            body()
            return
        }
        self.body = body
        timer = loop.schedule(after: span) { [weak self] in
            self?.timer = nil
            self?.end()
        }
    }

    /// The name has an address.
    func found(_ name: String) {
        guard body != nil, names.remove(name) != nil, names.isEmpty else { return }
        end()
    }

    /// What waited never runs.
    func cancel() {
        if let timer { loop.cancel(timer) }
        timer = nil
        body = nil
        names = []
    }

    private func end() {
        let body = self.body
        cancel()
        body?()
    }
}
