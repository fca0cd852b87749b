import EdgeCore
import EdgeHTTP2
import EdgeTesting
import Testing

@Suite("Frame meter") struct FrameMeterTests {
    private static let start = Instant(nanoseconds: 5_000_000_000)

    /// Five of each per second.
    private static let limits = HTTP2Limits(
        headBytes: 1024, continuations: 3, resets: 5, pings: 5, settings: 5, priorities: 5,
        windowUpdates: 5, emptyData: 5, unknownFrames: 5)

    /// The first limit that is passed; nil: none.
    private static func breach(
        _ pieces: [[UInt8]], preface: Int = 0, limits: HTTP2Limits = limits
    ) -> HTTP2Breach? {
        var meter = FrameMeter(preface: preface)
        return breach(pieces, &meter, limits: limits, at: start)
    }

    private static func breach(
        _ pieces: [[UInt8]], _ meter: inout FrameMeter, limits: HTTP2Limits = limits, at: Instant
    ) -> HTTP2Breach? {
        for piece in pieces {
            do {
                try meter.scan(piece.span, limits, now: at)
            } catch {
                return error
            }
        }
        return nil
    }

    private static func bytes(_ frames: [RawFrame]) -> [UInt8] { frames.flatMap(\.bytes) }

    private static func times(_ count: Int, _ frame: RawFrame) -> [UInt8] {
        (0..<count).flatMap { _ in frame.bytes }
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let breach: HTTP2Breach
        let frame: RawFrame
        var testDescription: String { "\(breach)" }
    }

    static let rows: [Row] = [
        Row(breach: .resets, frame: .reset(1)),
        Row(breach: .pings, frame: .ping()),
        Row(breach: .pings, frame: .ping(acknowledge: true)),
        Row(breach: .settings, frame: .settings([1: 4096])),
        Row(breach: .settings, frame: .settingsAcknowledge),
        Row(breach: .priorities, frame: .priority(1, .init())),
        Row(breach: .windowUpdates, frame: .windowUpdate(0, 1)),
        Row(breach: .emptyData, frame: .data(1)),
        Row(breach: .emptyData, frame: .data(1, [], padding: 7)),
        Row(breach: .emptyData, frame: .data(1, [], padding: 0)),
        Row(breach: .unknownFrames, frame: RawFrame(0x20, payload: [1, 2, 3])),
    ]

    @Test("Each kind of frame has its limit, passed by the next one", arguments: rows)
    func limit(row: Row) {
        #expect(Self.breach([Self.times(5, row.frame)]) == nil)
        #expect(Self.breach([Self.times(6, row.frame)]) == row.breach)
        #expect(Self.breach(Self.times(6, row.frame).map { [$0] }) == row.breach)
    }

    @Test("A limit is one per second: the next second begins anew", arguments: rows)
    func seconds(row: Row) {
        var meter = FrameMeter(preface: 0)
        let five = Self.times(5, row.frame)
        #expect(Self.breach([five], &meter, at: Self.start) == nil)
        let next = Self.start.advanced(byNanoseconds: 1_000_000_000)
        #expect(Self.breach([five], &meter, at: next) == nil)
        let early = next.advanced(byNanoseconds: 999_999_999)
        #expect(Self.breach([row.frame.bytes], &meter, at: early) == row.breach)
    }

    @Test("Frames that carry something, or end something, are no floods")
    func useful() {
        for frame in [
            RawFrame.data(1, [1]), .data(1, [], end: true), .data(1, [1], padding: 200),
            .data(1, [], end: true, padding: 3), .headers(1, HPACKBlock()), .goAway(),
        ] {
            #expect(Self.breach([Self.times(500, frame)]) == nil, "\(frame)")
        }
    }

    @Test("The bytes of a payload are never taken for frames")
    func payloads() {
        let pings = Self.times(100, .ping())
        #expect(Self.breach([RawFrame.data(1, pings).bytes]) == nil)
        #expect(Self.breach([RawFrame(0x20, payload: pings).bytes]) == nil)
        #expect(Self.breach([RawFrame.data(1, pings, padding: 255).bytes]) == nil)
        #expect(Self.breach([RawFrame.headers(1, HPACKBlock(pings)).bytes]) == nil)
    }

    @Test("The preface is passed over, whatever it holds and however it comes")
    func preface() {
        let frames = Self.times(6, .reset(1))
        #expect(Self.breach([RawFrame.preface + frames], preface: 24) == .resets)
        #expect(Self.breach((RawFrame.preface + frames).map { [$0] }, preface: 24) == .resets)
        let disguised = Self.times(20, .ping()).prefix(24)
        #expect(Self.breach([Array(disguised)], preface: 24) == nil)
    }

    @Test("Input cut anywhere gives the same result, random frames included")
    func segmentation() throws {
        try seeded(11) { random in
            for _ in 0..<300 {
                let all = Self.bytes((0..<24).map { _ in Self.frame(&random) })
                let whole = Self.breach([all])
                #expect(Self.breach(all.map { [$0] }) == whole, "\(random)")
                var isInBlock = FrameMeter(preface: 0)
                _ = Self.breach([all], &isInBlock, at: Self.start)
                for cut in stride(from: 1, to: all.count, by: 3) {
                    var meter = FrameMeter(preface: 0)
                    let pieces = [Array(all[..<cut]), Array(all[cut...])]
                    let found = Self.breach(pieces, &meter, at: Self.start)
                    try #require(found == whole, "cut at \(cut), \(random)")
                    try #require(meter.isInBlock == isInBlock.isInBlock, "\(random)")
                }
            }
        }
    }

    private static func frame(_ random: inout SeededRandom) -> RawFrame {
        switch random.next() % 12 {
        case 0: .data(1, random.bytes(Int(random.next() % 40)))
        case 1: .data(1, [], padding: UInt8(random.next() % 9))
        case 2: .data(1, [1], padding: UInt8(random.next() % 9))
        case 3: .reset(1)
        case 4: .ping()
        case 5: .settings()
        case 6: .priority(1, .init())
        case 7: .windowUpdate(1, 5)
        case 8: RawFrame(0x77, payload: random.bytes(Int(random.next() % 9)))
        case 9:
            .headers(
                1, HPACKBlock(random.bytes(20)), complete: random.chance(1, of: 2), padding: 2)
        case 10: .continuation(1, random.bytes(9), complete: random.chance(1, of: 2))
        default: .data(1, end: true)
        }
    }

    // MARK: - Header blocks

    @Test("CONTINUATION frames are counted per block, empty ones too")
    func continuations() {
        let begin = RawFrame.headers(1, HPACKBlock(), complete: false)
        let more = RawFrame.continuation(1, complete: false)
        let end = RawFrame.continuation(1)
        let block = begin.bytes + more.bytes + more.bytes + end.bytes
        #expect(Self.breach([block + block + block]) == nil)
        #expect(Self.breach([begin.bytes + Self.times(4, more)]) == .continuations)
    }

    @Test("A header block as compressed is bounded by the larger of 64 KiB and the head's limit")
    func blockBytes() {
        let begin = RawFrame.headers(
            1, HPACKBlock([UInt8](repeating: 0, count: 16384)), complete: false)
        let more = RawFrame.continuation(
            1, [UInt8](repeating: 0, count: 16384), complete: false)
        #expect(Self.breach([begin.bytes + Self.times(3, more)]) == nil)
        var limits = Self.limits
        limits.continuations = 100
        let one = RawFrame.continuation(1, [0]).bytes
        #expect(
            Self.breach([begin.bytes + Self.times(3, more) + one], limits: limits)
                == .headerBlock)
        limits.headBytes = 80 << 10
        #expect(Self.breach([begin.bytes + Self.times(4, more)], limits: limits) == nil)
        #expect(
            Self.breach([begin.bytes + Self.times(4, more) + one], limits: limits) == .headerBlock)
    }

    @Test("A block is open from a HEADERS frame without its end to the CONTINUATION with it")
    func openBlock() {
        var meter = FrameMeter(preface: 0)
        func isInBlock(_ frame: RawFrame) -> Bool {
            #expect(Self.breach([frame.bytes], &meter, at: Self.start) == nil)
            return meter.isInBlock
        }
        #expect(!isInBlock(.settings()))
        #expect(!isInBlock(.headers(1, HPACKBlock([0x82]))))
        #expect(isInBlock(.headers(3, HPACKBlock([0x82]), complete: false)))
        #expect(isInBlock(.continuation(3, [0x84], complete: false)))
        #expect(!isInBlock(.continuation(3, [0x86])))
    }

    // MARK: - What is earned

    @Test("Requests earn PRIORITY and WINDOW_UPDATE frames")
    func earnedByRequests() {
        let request = RawFrame.headers(1, HPACKBlock()).bytes
        for frame in [RawFrame.priority(1, .init()), .windowUpdate(1, 9)] {
            #expect(Self.breach([request + Self.times(7, frame)]) == nil)
            #expect(Self.breach([request + Self.times(8, frame)]) != nil)
        }
    }

    @Test("Bytes sent earn WINDOW_UPDATE and PING frames, content received earns PINGs")
    func earnedByContent() {
        var meter = FrameMeter(preface: 0)
        meter.noteSent(32 << 10)
        let updates = Self.times(5 + 64, .windowUpdate(0, 512))
        #expect(Self.breach([updates], &meter, at: Instant(nanoseconds: 1)) == nil)
        #expect(
            Self.breach(
                [RawFrame.windowUpdate(0, 1).bytes], &meter, at: Instant(nanoseconds: 1))
                == .windowUpdates)
        var other = FrameMeter(preface: 0)
        other.noteSent(32 << 10)
        #expect(
            Self.breach([Self.times(7, .ping())], &other, at: Instant(nanoseconds: 1)) == nil)
        #expect(
            Self.breach([RawFrame.ping().bytes], &other, at: Instant(nanoseconds: 1)) == .pings)

        let withContent = RawFrame.data(1, [1]).bytes + RawFrame.ping().bytes
        #expect(Self.breach([(0..<100).flatMap { _ in withContent }]) == nil)
    }

    // MARK: - Resets

    @Test("Resets of either side count together")
    func resets() throws {
        var meter = FrameMeter(preface: 0)
        for _ in 0..<3 { try meter.countReset(Self.limits, now: Self.start) }
        #expect(Self.breach([Self.times(2, .reset(1))], &meter, at: Self.start) == nil)
        #expect(throws: HTTP2Breach.resets) {
            try meter.countReset(Self.limits, now: Self.start)
        }
    }

    @Test("More than half of the last thousand streams reset is a breach, half of them is none")
    func share() throws {
        var meter = FrameMeter(preface: 0)
        for index in 0..<5000 { try meter.countEnd(isReset: index % 2 == 0) }

        var other = FrameMeter(preface: 0)
        for index in 0..<999 { try other.countEnd(isReset: index % 3 != 0) }
        #expect(throws: HTTP2Breach.resetShare) { try other.countEnd(isReset: true) }
    }
}
