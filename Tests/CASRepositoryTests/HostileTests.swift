import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

struct HostileTests {
    @Test func `does not take a directory that came alone for its tree`() throws {
        let store = try TestStore { $0.checkpointBytes = 1 }
        let tree = try SampleTree.random(1)
        let root = tree.snapshot.tree.digest
        let records = try SampleRecords(store.repository.chunker)
        let push = try TestPush("project")
        // Of all that was pushed only the root is here, committed by a checkpoint.
        try store.repository.upload(try records.messages(tree, only: [root]), push)
        try store.reopen()
        #expect(
            try store.repository.missing([root], push: push.pushID, domain: .standard) == [false])
        #expect(
            try code {
                _ = try store.repository.resolve(.digest(root, name: nil), domain: .standard)
            } == .notFound)
        #expect(
            try code {
                _ = try store.repository.plan(
                    PlanRequest(want: root.description), domain: .standard)
            } == .notFound)
        let response = try store.repository.commit(
            push, tree.digest, try records.messages(tree, only: [tree.digest]))
        #expect(response.outcome == .missing)
        #expect(!response.missing.contains(root))
        let update = RefUpdate(target: root, precondition: .any, provenance: Provenance())
        #expect(
            try code {
                _ = try store.repository.setRef(push.ref, update, domain: .standard)
            } == .notFound)
        // Nor is it a base from which somebody may be sent only a difference.
        #expect(try store.repository.push(tree, push).outcome == .done)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `refuses records that are not what their digests say`() throws {
        let store = try TestStore()
        let push = try TestPush("project")
        let records = try SampleRecords(store.repository.chunker)
        var random = SeededGenerator(seed: 2)
        for kind in [RecordKind.chunk, .directory, .attributes, .snapshot] {
            for count in [1, 100, 3_000] {
                let content = SampleFolder.content(count, &random)
                let wrong = Digest.of(content + [0])
                let output = ReusableBuffer()
                try records.append(kind, wrong, content, to: output)
                #expect(try code { try store.repository.upload(output, push) } == .dataLoss)
                #expect(
                    try store.repository.missing([wrong], push: push.pushID, domain: .standard)
                        == [true])
            }
        }
    }

    @Test func `refuses records that belong elsewhere and bodies that are cut short`() throws {
        let store = try TestStore()
        let push = try TestPush("project")
        let records = try SampleRecords(store.repository.chunker)
        for kind in [RecordKind.event, .failure] {
            let output = ReusableBuffer()
            try records.append(kind, Digest.of([1, 2]), [1, 2], to: output)
            #expect(try code { try store.repository.upload(output, push) } == .invalidArgument)
        }
        let end = ReusableBuffer()
        RecordCoding.appendMark(kind: .end, to: end)
        #expect(try code { try store.repository.upload(end, push) } == .invalidArgument)
        let output = ReusableBuffer()
        try records.append(file: Array(repeating: 5, count: 50), to: output)
        for count in 1..<output.count {
            let failure = try code {
                try store.repository.upload(
                    push: push.pushID, stream: 0, sequence: 0,
                    records: UnsafeRawBufferPointer(rebasing: output.bytes[..<count]),
                    trusted: false, domain: .standard)
            }
            #expect(failure == .dataLoss, "\(count) bytes")
        }
        #expect(try code { try store.repository.upload(output, push, stream: 64) } != nil)
        #expect(try code { try store.repository.upload(output, push, stream: -1) } != nil)
        try store.repository.upload(output, push)
    }

    @Test(arguments: [false, true])
    func `refuses permuted, shortened and foreign chunk lists`(_ isAlone: Bool) throws {
        let store = try TestStore()
        let records = try SampleRecords(store.repository.chunker)
        var random = SeededGenerator(seed: 3)
        let content = random.bytes(12_000)
        let digest = Digest.of(content)
        let list = records.list(content)
        #expect(list.terms.count > 3)
        var permuted = list.terms
        permuted.swapAt(0, 2)
        let other = records.list(random.bytes(12_000))
        let repeated = list.terms + [list.terms[0]]
        let bad = [permuted, Array(list.terms.dropLast()), Array(list.terms.dropFirst()), repeated]
        for (index, terms) in bad.enumerated() {
            let push = try TestPush("project")
            let output = ReusableBuffer()
            if !isAlone { RecordCoding.appendMark(kind: .fileStart, to: output) }
            for piece in records.pieces(content) {
                try records.append(.chunk, Digest.of(Array(piece)), piece, to: output)
            }
            try records.append(
                .chunkList, digest, ChunkList(terms: terms).encode(), to: output)
            #expect(
                try code { try store.repository.upload(output, push) } == .dataLoss,
                "list \(index)")
            #expect(
                try store.repository.missing([digest], push: push.pushID, domain: .standard)
                    == [true], "list \(index)")
        }
        // The list of another blob, whose chunks are not here, is left out; one under a name that is
        // not its blob's is refused.
        let push = try TestPush("project")
        let output = ReusableBuffer()
        try records.append(.chunkList, digest, other.encode(), to: output)
        try store.repository.upload(output, push)
        #expect(
            try store.repository.missing([digest], push: push.pushID, domain: .standard) == [true])
        // The true one is taken on the same stream.
        let good = ReusableBuffer()
        try records.append(file: content, to: good)
        try store.repository.upload(good, push, stream: 1)
        #expect(
            try store.repository.missing([digest], push: push.pushID, domain: .standard) == [false])
    }

    @Test func `refuses references to chunks that do not compose the file`() throws {
        let store = try TestStore()
        let records = try SampleRecords(store.repository.chunker)
        var random = SeededGenerator(seed: 4)
        let content = random.bytes(12_000)
        let push = try TestPush("project")
        let whole = ReusableBuffer()
        try records.append(file: content, to: whole)
        try store.repository.upload(whole, push)
        let pieces = records.pieces(content)
        // Two references in the wrong order, with a list that agrees with them.
        let output = ReusableBuffer()
        RecordCoding.appendMark(kind: .fileStart, to: output)
        var terms: [ChunkList.Term] = []
        for piece in [pieces[1], pieces[0]] {
            let digest = Digest.of(Array(piece))
            terms.append(.chunk(digest, length: UInt32(piece.count)))
            RecordCoding.appendMark(
                kind: .chunkReference, digest: digest, rawLength: piece.count, to: output)
        }
        let claimed = Digest.of(Array(pieces[0] + pieces[1]))
        try records.append(.chunkList, claimed, ChunkList(terms: terms).encode(), to: output)
        #expect(try code { try store.repository.upload(output, push, stream: 1) } == .dataLoss)
    }

    @Test func `refuses a snapshot whose attributes belong to another tree`() throws {
        let store = try TestStore()
        let records = try SampleRecords(store.repository.chunker)
        let first = try SampleTree.random(61)
        var folder = first.folder
        folder.files["one more"] = SampleFolder.File(content: [1, 2, 3])
        let second = try SampleTree(folder)
        // Both are here whole, each with its own.
        try store.repository.push(first, to: "first")
        try store.repository.push(second, to: "second")
        for attributes in [second.snapshot.attributes, first.snapshot.tree] {
            let crossed = Snapshot(
                tree: first.snapshot.tree, attributes: attributes, stableAttributes: nil,
                totals: first.snapshot.totals)
            let output = ReusableBuffer()
            try records.append(.snapshot, crossed.digest, crossed.encode(), to: output)
            let push = try TestPush("crossed")
            let error = try code {
                _ = try store.repository.commit(push, crossed.digest, output)
            }
            #expect(error != nil)
            #expect(
                try store.repository.ref(try RefName("crossed"), domain: .standard) == nil)
        }
    }

    @Test func `refuses a snapshot with other totals and a file of another size`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(5)
        try store.repository.push(tree, to: "project")
        let records = try SampleRecords(store.repository.chunker)
        var snapshot = tree.snapshot
        snapshot.totals.files += 1
        let push = try TestPush("other")
        let output = ReusableBuffer()
        try records.append(.snapshot, snapshot.digest, snapshot.encode(), to: output)
        #expect(
            try code { _ = try store.repository.commit(push, snapshot.digest, output) }
                == .invalidArgument)
        let file = FileNode(
            name: try EntryName("file"), digest: Digest.of([1, 2, 3]), size: 4,
            isExecutable: false)
        #expect(
            try commit(
                Directory(files: [file]), TreeTotals(files: 1, directories: 1, bytes: 4), store)
                == .invalidArgument)
        #expect(try store.repository.ref(push.ref, domain: .standard) == nil)
    }

    @Test func `refuses a tree of forty directories that names 2 to the 40 files`() throws {
        let store = try TestStore()
        var directory = Directory(files: [
            FileNode(
                name: try EntryName("f"), digest: Digest.of([1, 2, 3]), size: 3,
                isExecutable: false)
        ])
        let records = try SampleRecords(store.repository.chunker)
        let output = ReusableBuffer()
        var totals = TreeTotals(files: 1, directories: 1, bytes: 3)
        for _ in 0..<40 {
            let bytes = directory.encode()
            try records.append(.directory, Digest.of(bytes), bytes, to: output)
            let names = [try EntryName("a"), try EntryName("b")]
            directory = Directory(
                directories: names.map {
                    DirectoryNode(name: $0, digest: Digest.of(bytes), size: UInt64(bytes.count))
                })
            let below = totals
            totals = TreeTotals(directories: 1)
            totals.add(below)
            totals.add(below)
        }
        #expect(totals.files == 1 << 40)
        try store.repository.upload(output, try TestPush("project"))
        #expect(try commit(directory, totals, store, records: output) == .resourceExhausted)
        #expect(
            try store.repository.ref(try RefName("hostile"), domain: .standard) == nil)
    }

    @Test func `refuses a tree that is deeper than allowed`() throws {
        let store = try TestStore { $0.limits.treeDepth = 10 }
        for (depth, expected) in [(10, nil), (11, CASError.Code.resourceExhausted)] {
            var folder = SampleFolder()
            for _ in 1..<depth {
                var parent = SampleFolder()
                parent.folders["d"] = folder
                folder = parent
            }
            let tree = try SampleTree(folder)
            #expect(
                try code { try store.repository.push(tree, to: "depth-\(depth)") } == expected)
        }
        // Also where the lower part is complete already.
        var deep = SampleFolder()
        for _ in 1..<10 {
            var parent = SampleFolder()
            parent.folders["d"] = deep
            deep = parent
        }
        var above = SampleFolder()
        above.folders["above"] = deep
        let tree = try SampleTree(above)
        #expect(
            try code { try store.repository.push(tree, to: "above") } == .resourceExhausted)
    }

    /// What a commit of a root with these totals throws; the file [1, 2, 3] is uploaded along.
    private func commit(
        _ root: Directory, _ totals: TreeTotals, _ store: TestStore,
        records below: ReusableBuffer = ReusableBuffer()
    ) throws -> CASError.Code? {
        let push = try TestPush("hostile")
        let records = try SampleRecords(store.repository.chunker)
        let output = ReusableBuffer()
        output.append(below.bytes)
        try records.append(file: [1, 2, 3], to: output)
        let bytes = root.encode()
        try records.append(.directory, Digest.of(bytes), bytes, to: output)
        let snapshot = Snapshot(
            tree: SizedDigest(digest: Digest.of(bytes), size: UInt64(bytes.count)),
            attributes: nil, stableAttributes: nil, totals: totals)
        try records.append(.snapshot, snapshot.digest, snapshot.encode(), to: output)
        return try code { _ = try store.repository.commit(push, snapshot.digest, output) }
    }
}
