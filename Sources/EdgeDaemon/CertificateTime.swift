internal import EdgeControlAPI
internal import EdgeCore
internal import EdgeSystem
internal import EdgeTLS
internal import Glibc

/// Finds out which time certificates' dates are judged by: the kernel's clock while somebody keeps
/// it right, else the latest of that clock, the release of this program and the last time that was
/// known to be right, which the state folder keeps. Control thread.
final class CertificateTime {
    private var file: StateFile?
    private var saved: Int64 = 0
    private var savedAt: Instant?
    /// Where the kernel does not say, its clock is believed.
    private(set) var isSynchronised = true
    private var isKnown = true
    private var isTold = false

    private static let savePeriod = Duration.seconds(3_600)

    /// - Parameter directory: the state folder; nil: there is none.
    func begin(directory: String?) {
        file = directory.map {
            StateFile(directory: $0, name: "clock", kind: "clock", version: 1)
        }
        if let file { saved = max(saved, Self.read(file)) }
        update()
    }

    /// To be called now and then.
    func update() {
        let word = KernelClock.isSynchronised
        isKnown = word != nil
        isSynchronised = word ?? true
        guard isSynchronised else {
            let earliest = max(saved, EdgedVersion.released)
            CertificateClock.assume(notBefore: earliest)
            if !isTold {
                if Int64(time(nil)) < earliest {
                    Log.warning("the kernel's clock is too early, and \(text)")
                } else {
                    Log.info("the kernel's clock is \(text)")
                }
            }
            isTold = true
            return
        }
        if isTold { Log.notice("the kernel's clock is synchronised") }
        isTold = false
        CertificateClock.assume(notBefore: nil)
        if isKnown { save() }
    }

    /// The time is another's to keep from now on.
    func stopKeeping() { file = nil }

    /// For status.
    var text: String {
        guard isKnown else { return "believed: the kernel does not say whether it is right" }
        guard !isSynchronised else { return "synchronised" }
        let day = CertificateClock.day(CertificateClock.now())
        return "not synchronised: certificates' dates are judged as of \(day)"
    }

    // MARK: - State

    private func save() {
        let now = Instant.now()
        if let savedAt, now < savedAt.advanced(by: Self.savePeriod) { return }
        savedAt = now
        saved = Int64(time(nil))
        guard let file else { return }
        let content = withUnsafeBytes(of: saved.bigEndian) { Array($0) }
        do throws(SystemError) {
            try BackgroundThread.start {
                do throws(StateFileError) {
                    try file.write(content)
                } catch {
                    Log.warning("the time is not kept", ["file": file.path, "error": "\(error)"])
                }
            }
        } catch {
            // In an hour again.
        }
    }

    private static func read(_ file: StateFile) -> Int64 {
        do throws(StateFileError) {
            guard let (_, content) = try file.read(), content.count == 8 else { return 0 }
            return content.reduce(0) { $0 << 8 | Int64($1) }
        } catch {
            _ = file.setAside()
            return 0
        }
    }
}
