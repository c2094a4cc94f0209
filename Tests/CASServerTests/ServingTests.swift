import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASWire
import Foundation
import Synchronization
import Testing

@testable import CASServer

/// A store is served by one server at a time; tokens are renewed under way.
@Suite struct ServingTests {
    @Test func `a second server of a store is refused, and takes it over once the first is gone`()
        async throws
    {
        try await onThread {
            let world = try ServerWorld()
            try world.write("a", [1])
            try world.withRemote { _ = try world.push("team/x", $0) }
            let error = failure(Result { try Server.start(world.configuration) })
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message == "another server uses this store")
            #expect(error?.path == world.configuration.storeDirectory)
            // Whoever has the directory may still push into it.
            let local = try LocalStore(
                directory: world.configuration.storeDirectory, create: false)
            try world.push("team/y", local)
            try local.close()
            let port = world.port
            try world.stop()
            try world.start(port: port)
            let entries = try world.withRemote {
                try $0.refs(prefix: "", after: "", limit: 9).entries
            }
            #expect(entries.count == 2)
        }
    }

    @Test func `a server that was killed leaves a store that the next one opens`() async throws {
        try await onThread {
            let temporary = try TemporaryDirectory()
            let directory = temporary.path + "/store"
            do {
                let first = try ServerProcess(storeDirectory: directory)
                let second = try ServerProcess.failing(storeDirectory: directory)
                #expect(second.contains("error: \(directory): another server uses this store"))
                first.kill()
            }
            let next = try ServerProcess(storeDirectory: directory)
            #expect(next.port != 0)
        }
    }

    @Test func `a token that is refused is read again from its file`() async throws {
        try await onThread {
            let world = try ServerWorld { configuration, _ in
                try configuration.setListen("0.0.0.0:0")
                configuration.isPlaintext = true
            }
            let good = try world.configuration.administrator("read")
            let old =
                "cas_\(String(repeating: "0", count: 32))_\(String(repeating: "0", count: 64))"
            let asked = Mutex(0)
            // As if kubelet replaced the file between the look at it and the answer.
            let access = ServerAccess(address: world.loopbackAddress) {
                asked.withLock { count in
                    count += 1
                    return count == 1 ? old : good
                }
            }
            let store = try RemoteStore(access)
            #expect(try store.describe().scopes.map(\.description) == ["read"])
            #expect(asked.withLock { $0 } == 2)
            try store.close()
            // The same token again is not sent again.
            let stale = try RemoteStore(
                ServerAccess(address: world.loopbackAddress) {
                    asked.withLock { $0 += 1 }
                    return old
                })
            #expect(code { _ = try stale.describe() } == .unauthenticated)
            #expect(asked.withLock { $0 } == 4)
            try stale.close()
        }
    }
}
