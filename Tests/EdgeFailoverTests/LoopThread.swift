import EdgeSystem
import EdgeTesting
import Foundation

/// A loop on a thread of its own inside a namespace, as the failover thread has one.
final class LoopThread<State: AnyObject>: @unchecked Sendable {
    // Sendable: `state` and `loop` are touched on the thread only, after `ready` was signalled.
    private var loop: PollLoop?
    private var state: State?
    private var failure: (any Error)?
    private let ready = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)

    /// - Parameter make: runs on the thread.
    init(in namespace: String, _ make: @escaping @Sendable (PollLoop) throws -> State) throws {
        Thread.detachNewThread { [self] in
            do {
                try enterNamespace(namespace)
                let made = try PollLoop()
                loop = made
                state = try make(made)
            } catch {
                failure = error
            }
            ready.signal()
            if failure == nil { loop?.run() }
            state = nil
            loop = nil
            ended.signal()
        }
        ready.wait()
        if let failure { throw failure }
    }

    /// Runs `body` on the thread and waits for what it returns.
    func sync<Result: Sendable>(_ body: @escaping @Sendable (State) -> Result) -> Result {
        let slot = Slot<Result>()
        let done = DispatchSemaphore(value: 0)
        loop?.post { [self] in
            if let state { slot.value = body(state) }
            done.signal()
        }
        done.wait()
        return slot.value!
    }

    func stop() {
        loop?.post { [self] in loop?.stop() }
        ended.wait()
    }

    private final class Slot<Value>: @unchecked Sendable {
        // Sendable: written before the semaphore is signalled, read after it was waited for.
        var value: Value?
    }
}

/// True as soon as `condition` holds; asks every millisecond.
func eventually(
    within span: Duration = .seconds(2), _ condition: () throws -> Bool
) rethrows -> Bool {
    let deadline = ContinuousClock.now + span
    while true {
        if try condition() { return true }
        if ContinuousClock.now > deadline { return false }
        usleep(1000)
    }
}
