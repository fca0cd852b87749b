internal import EdgeCore
internal import Glibc

/// The target that libFuzzer feeds: `EDGED_FUZZ` names it.
private let chosen: FuzzTarget = {
    let name = getenv("EDGED_FUZZ").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
        say("EDGED_FUZZ must be one of \(names)")
        exit(64)
    }
    return target
}()

/// libFuzzer calls it first, and not against the clock: keys and certificates are made here.
@_cdecl("LLVMFuzzerInitialize")
func initialize(
    _: UnsafeMutablePointer<Int32>?,
    _: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>?
) -> Int32 {
    testOneInput(nil, 0)
}

/// libFuzzer's entry point. A finding ends the process, so that the input is kept.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    do throws(Finding) {
        try chosen.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    } catch {
        say("finding: \(error)")
        brokenInvariant("every rule of the fuzz target holds", file: #fileID, line: #line)
    }
    return 0
}

private func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(2, line, line.count)
}
