import CASClient
import CASCore
import CASFileSystem
import CASServer
import CASTestSupport
import CASWire
import Synchronization
import Testing

/// Requests that wait for a ref to move.
@Suite(.timeLimit(.minutes(10))) struct WaitingTests {
    /// Waits on a thread and gives what came.
    private final class Wait: Sendable {
        private let result = SharedResult<RefEntry?>()
        private let thread: WorkerThread

        init(_ world: ServerWorld, _ name: RefName, after: UInt64, seconds: Int = 25) throws {
            let result = result
            thread = try WorkerThread(name: "wait") {
                result.set(
                    Result {
                        try world.withRemote {
                            try $0.awaitRef(name, after: after, seconds: seconds)
                        }
                    })
            }
        }

        func get() throws -> RefEntry? {
            try thread.join()
            return try result.get()
        }
    }

    @Test func `a push, a removal and a tag end the wait`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let name = try RefName("team/project")
            try world.withRemote { remote in
                let first = try Wait(world, name, after: 0)
                try world.write("a", [1])
                let pushed = try world.push("team/project", remote)
                let entry = try #require(try first.get())
                #expect(entry.target.digest == pushed.snapshot)
                let second = try Wait(world, name, after: entry.sequence)
                try remote.removeRef(name, RefUpdate())
                #expect(try second.get() == nil)
                let third = try Wait(world, name, after: 0)
                _ = try remote.setRef(name, RefUpdate(target: pushed.snapshot))
                #expect(try third.get()?.target.digest == pushed.snapshot)
            }
        }
    }

    @Test func `what moved before is answered at once, and what does not move after the time`()
        async throws
    {
        try await onThread {
            let world = try ServerWorld()
            let name = try RefName("team/project")
            try world.write("a", [1])
            try world.withRemote { remote in
                try world.push("team/project", remote)
                let entry = try #require(try remote.awaitRef(name, after: 0, seconds: 25))
                let again = try remote.awaitRef(name, after: entry.sequence, seconds: 1)
                #expect(again?.sequence == entry.sequence)
                let other = try RefName("team/other")
                #expect(try remote.awaitRef(other, after: 0, seconds: 1) == nil)
                #expect(try remote.awaitRef(other, after: 5, seconds: 25) == nil)
            }
        }
    }

    @Test func `many may wait, and the end of the server ends them`() async throws {
        try await onThread {
            let world = try ServerWorld { configuration, _ in configuration.shutdownSeconds = 20 }
            let name = try RefName("team/project")
            let waits = try (0..<40).map { _ in try Wait(world, name, after: 0) }
            try world.write("a", [1])
            try world.withRemote { remote in
                let pushed = try world.push("team/project", remote)
                for wait in waits { #expect(try wait.get()?.target.digest == pushed.snapshot) }
                let sequence = try #require(try remote.ref(name)).sequence
                let last = try (0..<4).map { _ in try Wait(world, name, after: sequence) }
                Sleep.milliseconds(50)
                try world.stop()
                for wait in last {
                    // Answered, or cut off if it came a moment too late.
                    do { #expect(try wait.get()?.sequence == sequence) } catch let error as CASError
                    {
                        #expect(error.code == .unavailable)
                    }
                }
            }
        }
    }

    @Test func `who may not read a ref may not wait for it`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let error = #expect(throws: CASError.self) {
                try world.withRemote(token: "cas_wrong") {
                    try $0.awaitRef(try RefName("team/project"), after: 0, seconds: 25)
                }
            }
            #expect(error?.code == .unauthenticated)
        }
    }
}
