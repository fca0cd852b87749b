import ArgumentParser

/// What the process says to a script. Part of the interface: numbers do not change.
enum ExitStatus: Int32 {
    case done = 0
    case refused = 1
    case usage = 2
    case unreachable = 3
    case configurationRejected = 4
    case findings = 5

    /// To be thrown by a verb that has printed what there is to say.
    var code: ExitCode { ExitCode(rawValue) }
}
