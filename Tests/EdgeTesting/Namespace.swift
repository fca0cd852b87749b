internal import Foundation

/// Runs `body` with the calling thread inside the network namespace `name` (as `ip netns` lists
/// it), then returns to where the thread was. A socket made in `body` stays in that namespace for
/// life, whatever thread uses it. nil: no change. Needs root.
package func inNamespace<Result>(_ name: String?, _ body: () throws -> Result) throws -> Result {
    guard let name else { return try body() }
    let home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    guard home >= 0 else { throw KitError.system("open the thread's own namespace") }
    defer { close(home) }
    try enterNamespace(name)
    defer {
        // A thread of the pool left in a foreign namespace would poison unrelated tests.
        precondition(setNamespace(home) == 0, "the thread returns to its own namespace")
    }
    return try body()
}

/// Moves the calling thread, which must be one of our own, into a namespace for good.
package func enterNamespace(_ name: String) throws {
    let target = open("/run/netns/" + name, O_RDONLY | O_CLOEXEC)
    guard target >= 0 else { throw KitError.system("open namespace \(name)") }
    defer { close(target) }
    guard setNamespace(target) == 0 else { throw KitError.system("enter namespace \(name)") }
}

/// setns(2), which glibc's headers show only to _GNU_SOURCE and Swift therefore not at all.
private let setnsFunction: (@convention(c) (Int32, Int32) -> Int32)? = {
    guard let symbol = dlsym(dlopen(nil, RTLD_NOW), "setns") else { return nil }
    return unsafeBitCast(symbol, to: (@convention(c) (Int32, Int32) -> Int32).self)
}()

private func setNamespace(_ descriptor: Int32) -> Int32 {
    let cloneNewNetwork: Int32 = 0x4000_0000
    return setnsFunction?(descriptor, cloneNewNetwork) ?? -1
}
