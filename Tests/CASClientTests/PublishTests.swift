import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWire
import CASWorkspace
import Synchronization
import Testing

@Suite struct PublishTests {
    /// A world with a volume.
    private struct Volume {
        let world: LocalWorld
        let path: String

        init() throws {
            world = try LocalWorld()
            path = world.temporary.path + "/volume"
            try world.write("a.py", "print(1)\n")
            try world.write("run.sh", "#!/bin/sh\n", permissions: 0o750)
            try world.write("sub/empty", "")
            try world.write("sub/data", SeededGenerator.text(seed: 1, count: 2 << 20))
            try world.link("sub/link", "../a.py")
        }

        func publish(
            from store: (any StoreConnection)? = nil, want: String? = nil, grace: Int64 = 0,
            isDryRun: Bool = false,
            onStep: @escaping (PublishedVolume.Step) throws -> Void = { _ in }
        ) throws -> PublishSummary {
            var options = PublishOptions(
                want: want ?? world.ref.description, directory: path, workers: 2)
            options.graceSeconds = grace
            options.isDryRun = isDryRun
            return try Publish.run(
                options, connection: store ?? world.store, counters: ProgressCounters(),
                onStep: onStep)
        }

        /// The versions that have their names, and that each of them is what its name says.
        func check(sourceLocation: SourceLocation = #_sourceLocation) throws -> Set<String> {
            guard try DiskFileSystem().status(path) != nil else { return [] }
            let names = try DiskFileSystem().list(path).filter { $0.count == 64 }
            for name in names {
                let plan = try world.store.plan(PlanRequest(want: "sha256:\(name)"))
                let (snapshot, contents) = try Fetch.messages(
                    plan, have: nil, world.store, ProgressCounters(), .standard)
                let found = try TreeVerification.run(
                    directory: "\(path)/\(name)", snapshot: snapshot, contents: contents,
                    workers: 2
                ).differences.filter { $0.kind != .mode }
                #expect(found == [], sourceLocation: sourceLocation)
            }
            if let current = try current() {
                #expect(names.contains(current), sourceLocation: sourceLocation)
            }
            return Set(names)
        }

        func current() throws -> String? {
            let handle = try DirectoryHandle(path: path)
            guard try handle.status(Array("current".utf8)) != nil else { return nil }
            return String(decoding: try handle.readLink(Array("current".utf8)), as: UTF8.self)
        }

        func status(_ file: String) throws -> FileStatus? {
            try DiskFileSystem().status("\(path)/\(file)")
        }
    }

    @Test func `a version appears whole, sealed, and current names it`() throws {
        let volume = try Volume()
        let pushed = try volume.world.push()
        let summary = try volume.publish()
        let name = pushed.snapshot.hexadecimal
        #expect(try volume.check() == [name])
        #expect(try volume.current() == name)
        #expect(summary.fetched.files == 3)
        #expect(try volume.status("\(name)")?.permissions == 0o555)
        #expect(try volume.status("\(name)/sub")?.permissions == 0o555)
        #expect(try volume.status("\(name)/a.py")?.permissions == 0o444)
        #expect(try volume.status("\(name)/run.sh")?.permissions == 0o555)
        #expect(try volume.status("\(name)/.cas") == nil)
        let again = try volume.publish()
        #expect(again.wasPresent)
        #expect(again.fetched.files == 0)
        #expect(again.previous == nil)
    }

    @Test func `the next version takes from the one before what it has`() throws {
        let volume = try Volume()
        let first = try volume.world.push()
        _ = try volume.publish(grace: 1_000)
        try volume.world.write("a.py", "print(2)\n")
        let second = try volume.world.push()
        let store = DecoratedStore(volume.world.store)
        let summary = try volume.publish(from: store, grace: 1_000)
        #expect(summary.previous == first.snapshot)
        #expect(summary.fetched.files == 1)
        #expect(summary.shared.linked + summary.shared.cloned + summary.shared.copied == 2)
        #expect(
            try volume.check() == [first.snapshot.hexadecimal, second.snapshot.hexadecimal])
        let old = try volume.status("\(first.snapshot.hexadecimal)/sub/data")
        let new = try volume.status("\(second.snapshot.hexadecimal)/sub/data")
        if summary.shared.linked == 2 { #expect(old?.inode == new?.inode) }
        #expect(old?.modified == new?.modified)
        guard case .inGrace = summary.old.first?.fate else {
            Issue.record("the old version should be in its grace")
            return
        }
    }

    @Test func `a file with another time is copied, and not fetched`() throws {
        let volume = try Volume()
        _ = try volume.world.push()
        _ = try volume.publish()
        let handle = try DirectoryHandle(path: volume.world.workspace + "/sub")
        try handle.setModified(Array("data".utf8), Timestamp(seconds: 1_000_000_000))
        let second = try volume.world.push()
        let summary = try volume.publish()
        #expect(summary.fetched.files == 0)
        #expect(try volume.check() == [second.snapshot.hexadecimal])
        #expect(
            try volume.status("current/sub/data")?.modified == Timestamp(seconds: 1_000_000_000))
    }

    @Test func `what somebody wrote through an old name is not taken, and mended`() throws {
        let volume = try Volume()
        let first = try volume.world.push()
        _ = try volume.publish(grace: 1_000)
        let path = "\(volume.path)/\(first.snapshot.hexadecimal)"
        let handle = try DirectoryHandle(path: path)
        let name = Array("a.py".utf8)
        let modified = try #require(try handle.status(name)).modified
        try handle.setPermissions(0o755)
        try handle.removeFile(name)
        let file = try handle.createFile(name)
        try Array("print(9)\n".utf8).withUnsafeBytes { try file.write($0) }
        try file.setModified(modified)
        try file.setPermissions(0o444)
        try volume.world.write("b.py", "new")
        _ = try volume.world.push()
        let summary = try volume.publish(grace: 1_000)
        #expect(summary.fetched.files == 2)
        _ = try volume.publish(want: "\(first.snapshot)", grace: 1_000)
        #expect(try volume.check().count == 2)
    }

    @Test func `old versions go after their grace, unless something keeps them`() throws {
        let volume = try Volume()
        var pushed: [Digest] = []
        for number in 0..<4 {
            try volume.world.write("a.py", "print(\(number))\n")
            pushed.append(try volume.world.push().snapshot)
            if number == 1 {
                _ = try volume.world.store.setRef(
                    try RefName("team/project:run-x"), RefUpdate(target: pushed[1]))
            }
            _ = try volume.publish(grace: number == 3 ? 0 : 1_000)
            if number == 2 {
                let keep = try DirectoryHandle(path: volume.path + "/.cas/keep")
                _ = try keep.createFile(Array("\(pushed[2].hexadecimal).pod".utf8))
                _ = try keep.createFile(Array("\(pushed[0].hexadecimal)".utf8))
            }
        }
        #expect(try volume.check() == Set(pushed.map(\.hexadecimal)))
        try DirectoryHandle(path: volume.path + "/.cas/keep").removeFile(
            Array(pushed[0].hexadecimal.utf8))
        let dry = try volume.publish(isDryRun: true)
        #expect(try volume.check() == Set(pushed.map(\.hexadecimal)))
        let last = try volume.publish()
        #expect(dry.old.map(\.fate) == last.old.map(\.fate))
        let fates = Dictionary(uniqueKeysWithValues: last.old.map { ($0.digest, $0.fate) })
        #expect(fates[pushed[0]] == .retired)
        #expect(fates[pushed[1]] == .named(try RefName("team/project:run-x")))
        #expect(fates[pushed[2]] == .kept)
        #expect(try volume.check() == Set(pushed[1...].map(\.hexadecimal)))
        let states = try DiskFileSystem().list(volume.path + "/.cas/versions")
        #expect(Set(states) == Set(pushed[1...].map(\.hexadecimal)))
    }

    @Test func `a version that a ref of another name names stays, whatever is published next`()
        throws
    {
        let volume = try Volume()
        let first = try volume.world.push().snapshot
        _ = try volume.world.store.setRef(
            try RefName("other/project:v1"), RefUpdate(target: first))
        _ = try volume.publish()
        try volume.world.write("a.py", "print(2)\n")
        let second = try volume.world.push().snapshot
        // By the digest alone, which names no project at all.
        let summary = try volume.publish(want: "\(second)")
        #expect(summary.old.map(\.fate) == [.named(try RefName("other/project:v1"))])
        #expect(try volume.check() == [first.hexadecimal, second.hexadecimal])
    }

    @Test func `a dry run of the first version changes nothing`() throws {
        let volume = try Volume()
        _ = try volume.world.push()
        let summary = try volume.publish(isDryRun: true)
        #expect(summary.fetched.files >= 3)
        #expect(try DiskFileSystem().status(volume.path) == nil)
    }

    @Test func `directories with other things in them are refused`() throws {
        let volume = try Volume()
        _ = try volume.world.push()
        func expectRefusal(_ path: String) throws {
            let before = try DiskFileSystem().list(path)
            let options = PublishOptions(
                want: volume.world.ref.description, directory: path, workers: 2)
            let error = #expect(throws: CASError.self) {
                try Publish.run(
                    options, connection: volume.world.store, counters: ProgressCounters())
            }
            #expect(error?.code == .failedPrecondition)
            #expect(try DiskFileSystem().list(path) == before)
        }
        try expectRefusal(volume.world.workspace)
        _ = try volume.world.fetch()
        try expectRefusal(volume.world.destination)
        _ = try volume.publish()
        #expect(throws: CASError.self) { try volume.world.fetch { $0.destination = volume.path } }
    }

    @Test func `every step may fail, and a version is whole or not there`() throws {
        for step in PublishedVolume.Step.allCases {
            for time in 1...2 {
                let volume = try Volume()
                _ = try volume.world.push()
                _ = try volume.publish()
                try volume.world.write("a.py", "print(2)\n")
                let second = try volume.world.push()
                var count = 0
                let failing: (PublishedVolume.Step) throws -> Void = { now in
                    guard now == step else { return }
                    count += 1
                    if count == time { throw CASError(.dataLoss, "the disk fails at \(now)") }
                }
                do { _ = try volume.publish(onStep: failing) } catch let error as CASError {
                    #expect(error.message.hasPrefix("the disk fails"))
                }
                #expect(try volume.current() != nil, "\(step)")
                _ = try volume.check()
                _ = try volume.publish()
                #expect(try volume.check() == [second.snapshot.hexadecimal], "\(step)")
                #expect(
                    try DiskFileSystem().list(volume.path)
                        == [".cas", second.snapshot.hexadecimal, "current"].sorted(), "\(step)")
            }
        }
    }

    @Test func `a store that breaks off leaves nothing visible`() throws {
        for failing in 0..<6 {
            let volume = try Volume()
            _ = try volume.world.push()
            let reads = Mutex(0)
            let store = DecoratedStore(volume.world.store)
            store.onRead.withLock {
                $0 = {
                    let number = reads.withLock { reads in
                        defer { reads += 1 }
                        return reads
                    }
                    if number == failing { throw CASError(.dataLoss, "broken") }
                }
            }
            do { _ = try volume.publish(from: store) } catch let error as CASError {
                #expect(error.message == "broken")
                #expect(try volume.check() == [])
                let isMade = try DiskFileSystem().status(volume.path) != nil
                let seen = try isMade ? DiskFileSystem().list(volume.path) : []
                #expect(seen.filter { $0 != ".cas" } == [])
            }
            _ = try volume.publish()
            #expect(try volume.check().count == 1)
        }
    }

    @Test func `two publishers at once take turns`() throws {
        let volume = try Volume()
        let first = try volume.world.push()
        try volume.world.write("a.py", "print(2)\n")
        let second = try volume.world.push()
        try WorkerGroup.run(count: 4, name: "publish") { number in
            let digest = number.isMultiple(of: 2) ? first.snapshot : second.snapshot
            for _ in 0..<5 { _ = try volume.publish(want: "team/project@\(digest)", grace: 1_000) }
        }
        #expect(
            try volume.check() == [first.snapshot.hexadecimal, second.snapshot.hexadecimal])
        let held = try #require(try PublishedVolume(volume.path))
        #expect(try PublishedVolume(volume.path) == nil)
        withExtendedLifetime(held) {}
    }
}
