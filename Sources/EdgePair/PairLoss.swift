/// Why there is no link.
package enum PairLoss: Error, Sendable, Equatable, CustomStringConvertible {
    /// The connection could not be made, failed, or was closed; in words.
    case transport(String)
    /// Not a word for `PairTiming.silence`.
    case silent
    case noHello
    /// The peer has said why.
    case farewell(PairFarewell)
    case violation(PairViolation)
    /// What the peer speaks, and none of it we do.
    case versions(ClosedRange<UInt16>)
    /// There is a newer one.
    case replaced
    /// By us.
    case stopped

    /// It will be the same until one of the programs is another.
    var isUnfit: Bool {
        switch self {
        case .versions, .farewell(.versions): true
        case .transport, .silent, .noHello, .farewell, .violation, .replaced, .stopped: false
        }
    }

    package var description: String {
        switch self {
        case .transport(let words): words
        case .silent: "the other node is silent"
        case .noHello: "the other node does not greet"
        case .farewell(.stopping): "the other node's proxy has stopped"
        case .farewell(.replaced): "the other node has a newer link"
        case .farewell(.versions): "no version of the link is spoken by both"
        case .farewell(.violation): "the other node did not understand us"
        case .farewell(.unpaired): "the other node is paired with another certificate"
        case .violation(let violation): "the other node is not understood: \(violation)"
        case .versions(let theirs):
            "no version of the link is spoken by both (theirs: \(theirs.lowerBound) to "
                + "\(theirs.upperBound))"
        case .replaced: "there is a newer link"
        case .stopped: "stopped"
        }
    }
}
