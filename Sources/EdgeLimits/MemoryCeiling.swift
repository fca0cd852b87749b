/// What a process's memory calls for.
package enum MemoryLevel: Int, Sendable, Comparable {
    case enough
    /// Idle connections are closed, newcomers that matter less are refused.
    case scarce
    /// All newcomers are refused.
    case exhausted

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Compares what is resident with what may be. Scarce from seven eighths of the ceiling on,
/// exhausted from the ceiling on; each level ends a sixteenth below where it began, so that it does
/// not swing. Pure.
package struct MemoryCeiling: Sendable {
    /// Bytes.
    package let ceiling: UInt64
    package private(set) var level = MemoryLevel.enough

    /// - Parameter ceiling: in bytes; 0: there is none.
    package init(_ ceiling: UInt64) { self.ceiling = ceiling }

    /// Bytes from which on a level holds.
    package func mark(_ level: MemoryLevel) -> UInt64 {
        switch level {
        case .enough: 0
        case .scarce: ceiling / 8 * 7
        case .exhausted: ceiling
        }
    }

    /// - Parameter resident: bytes.
    /// - Returns: true if the level is another one.
    @discardableResult
    package mutating func update(resident: UInt64) -> Bool {
        guard ceiling > 0 else { return false }
        let before = level
        var next = MemoryLevel.enough
        for candidate in [MemoryLevel.scarce, .exhausted] {
            let slack = before >= candidate ? ceiling / 16 : 0
            if resident >= mark(candidate) - slack { next = candidate }
        }
        level = next
        return next != before
    }

    /// What a process may take if nobody says: three quarters of what there is.
    package static func automatic(available: UInt64) -> UInt64 { available / 4 * 3 }
}
