/// A byte range in the buffer that a head was parsed from. 32-bit, because a head is bounded far
/// below 4 GiB.
///
/// Public, as all leaf types of this file, so that the parsers of other targets inline them.
@frozen
public struct ByteRange: Equatable, Sendable {
    public var start: UInt32
    public var count: UInt32

    @inlinable
    public init(start: Int, count: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.count = UInt32(truncatingIfNeeded: count)
    }

    @inlinable
    public init(_ range: Range<Int>) {
        self.init(start: range.lowerBound, count: range.upperBound - range.lowerBound)
    }

    /// No bytes, at no particular place.
    @inlinable
    public static var none: ByteRange { ByteRange(start: 0, count: 0) }

    @inlinable
    public var end: Int { Int(start) + Int(count) }

    @inlinable
    public var isEmpty: Bool { count == 0 }

    /// The same range as array indices.
    @inlinable
    public var indices: Range<Int> { Int(start)..<end }
}

/// One field line of a head: where it stands, what it is, what happens to it.
@frozen
public struct Field: Sendable {
    /// `.other` for every name that the proxy does not act upon.
    public var name: FieldName
    public var flags: Flags
    public var nameRange: ByteRange
    /// Without the white space around it.
    public var value: ByteRange

    @inlinable
    public init(name: FieldName, nameRange: ByteRange, value: ByteRange, flags: Flags = []) {
        self.name = name
        self.flags = flags
        self.nameRange = nameRange
        self.value = value
    }

    @frozen
    public struct Flags: OptionSet, Sendable {
        public let rawValue: UInt8

        @inlinable
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Ends at this hop: by its name, or because a Connection field names it.
        @inlinable
        public static var hopByHop: Flags { Flags(rawValue: 1) }
        /// The name contains `_`, which applications cannot tell from `-`.
        @inlinable
        public static var underscore: Flags { Flags(rawValue: 2) }
        /// The line is exactly `name: value` CR LF in the buffer, so it can be copied as it is.
        @inlinable
        public static var canonical: Flags { Flags(rawValue: 4) }
    }
}

/// The fields of one head, in order. Its storage is made once and reused for every head; a full
/// list refuses further fields and the client pays with a 431.
@safe
public struct FieldList: ~Copyable {
    /// Fields that fit. `HeadLimits.fieldsMax` is never above it.
    public static let capacity = 256

    // Owned: allocated by `init`, freed by `deinit`; every index is checked against `count`, which
    // never exceeds `capacity`, and slots below `count` are initialised.
    @usableFromInline
    let storage: UnsafeMutablePointer<Field>
    @usableFromInline
    var used = 0

    public init() { unsafe storage = .allocate(capacity: Self.capacity) }

    deinit { unsafe storage.deallocate() }

    @inlinable
    public var count: Int { used }

    @inlinable
    public subscript(index: Int) -> Field {
        precondition(index >= 0 && index < used, "a field index is below count")
        return unsafe storage[index]
    }

    /// Returns false, and appends nothing, when the list is full.
    @inlinable
    public mutating func append(_ field: Field) -> Bool {
        guard used < 256 else { return false }
        unsafe (storage + used).initialize(to: field)
        used += 1
        return true
    }

    @inlinable
    public mutating func setFlag(_ flag: Field.Flags, at index: Int) {
        precondition(index >= 0 && index < used, "a field index is below count")
        unsafe storage[index].flags.insert(flag)
    }

    @inlinable
    public mutating func removeAll() { used = 0 }

    /// The first field of that name. O(count).
    @inlinable
    public func first(_ name: FieldName) -> Field? {
        var index = 0
        while index < used {
            let field = self[index]
            if field.name == name { return field }
            index += 1
        }
        return nil
    }
}
