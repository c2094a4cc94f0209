import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASWire
import Glibc
import Synchronization
import Testing

/// What the processes have in memory when there is much to carry.
@Suite struct MemoryTests {
    /// More than any of the limits, so that a process that holds all of it is found out.
    private static let largeFiles = TestForm.isFull ? 40 : 10
    private static let largeBytes = 60 << 20
    private static let smallFiles = TestForm.isFull ? 60_000 : 3_000

    @Test func `pushes, fetches and the server stay within their memory`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try Self.writeCorpus(world)
            try world.startServer()
            let push = try world.run(
                ["push", world.path("work"), "--to", "team/x", "--large"] + world.server)
            #expect(push.status == 0, "\(push.errors)")
            #expect(push.peakBytes < 512 << 20, "a push took \(push.peakBytes >> 20) MiB")
            #expect(push.peakBytes > 1 << 20, "nobody measured")
            let afterPush = world.serverPeakBytes
            #expect(afterPush < 512 << 20, "the server took \(afterPush >> 20) MiB for a push")
            let fetch = try world.run(["fetch", "team/x", world.path("copy")] + world.server)
            #expect(fetch.status == 0, "\(fetch.errors)")
            #expect(fetch.peakBytes < 256 << 20, "a fetch took \(fetch.peakBytes >> 20) MiB")
            try Self.fetchSixteenTimes(world)
            let peak = world.serverPeakBytes
            #expect(peak < 512 << 20, "the server took \(peak >> 20) MiB for 16 fetches")
        }
    }

    /// What no compressor makes smaller, and many small files.
    private static func writeCorpus(_ world: ProcessWorld) throws {
        let random = try DirectoryHandle(path: "/dev").openFile(Array("urandom".utf8))
        let buffer = ReusableBuffer(capacity: 4 << 20)
        try DiskFileSystem().createDirectory(world.path("work/small"))
        let work = try DirectoryHandle(path: world.path("work"))
        for number in 0..<largeFiles {
            let file = try work.createFile(Array("large\(number)".utf8))
            var rest = largeBytes
            while rest > 0 {
                buffer.removeAll()
                rest -= try buffer.append(maximum: min(rest, 4 << 20)) { try random.read(into: $0) }
                try file.write(buffer.bytes)
            }
        }
        let small = try work.openDirectory(Array("small".utf8))
        for number in 0..<smallFiles {
            let file = try small.createFile(Array("\(number)".utf8))
            let text = Array(String(repeating: "line \(number)\n", count: 1 + number % 200).utf8)
            try text.withUnsafeBytes { try file.write($0) }
        }
    }

    /// Sixteen clients with four connections each, as pods that start together; none reads on before
    /// all have begun, so that a server that runs ahead of its readers shows it.
    private static func fetchSixteenTimes(_ world: ProcessWorld) throws {
        let (clients, connections) = (16, 4)
        let reading = Atomic<Int>(0)
        try WorkerGroup.run(count: clients, name: "client") { _ in
            let remote = try RemoteStore(ServerAccess(address: world.address, token: { nil }))
            let plan = try remote.plan(PlanRequest(want: "team/x"))
            let result = Result {
                try WorkerGroup.run(count: connections, name: "fetch") { share in
                    var bytes = 0
                    try remote.readData(plan: plan.planID, share: share, of: connections) {
                        if bytes == 0 { reading.add(1, ordering: .relaxed) }
                        bytes += $0.count
                        while reading.load(ordering: .relaxed) < clients * connections {
                            usleep(1_000)
                        }
                    }
                    guard bytes > largeFiles * largeBytes / connections * 3 / 4 else {
                        throw CASError(.dataLoss, "a stream is not whole: \(bytes)")
                    }
                }
            }
            try remote.close()
            try result.get()
        }
    }
}
