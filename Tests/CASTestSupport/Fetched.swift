import CASCompression
package import CASCore
import CASPack
package import CASRepository
package import CASTree
import CASWire

/// What a fetch brought, checked against its digests.
package struct Fetched: DirectorySource {
    /// Messages of the tree.
    package private(set) var messages: [Digest: [UInt8]] = [:]
    /// Contents of files.
    package private(set) var files: [Digest: [UInt8]] = [:]
    /// What was fetched.
    package let snapshot: Snapshot
    private let decompressor: Decompressor
    private let limits: Limits

    /// Nothing yet of a snapshot.
    package init(_ snapshot: Snapshot, limits: Limits) throws {
        self.snapshot = snapshot
        self.limits = limits
        decompressor = try Decompressor()
    }

    /// Fetches what `want` names in `shares` streams; throws what the store throws.
    package init(
        _ repository: Repository, _ want: String, have: Digest? = nil, shares: Int = 1
    ) throws {
        let plan = try repository.plan(
            PlanRequest(want: want, have: have), domain: .standard)
        try self.init(
            try Snapshot(decoding: plan.snapshotMessage), limits: repository.configuration.limits)
        try take(try repository.treeRecords(plan: plan.planID, domain: .standard), isTree: true)
        for share in 0..<shares {
            try take(
                try repository.dataRecords(
                    plan: plan.planID, share: share, of: shares, domain: .standard), isTree: false)
        }
        guard files.count == Int(plan.files) else {
            throw CASError(.dataLoss, "\(files.count) files came where \(plan.files) were planned")
        }
    }

    /// Fetches single blobs.
    package init(_ repository: Repository, blobs: [Digest]) throws {
        try self.init(
            Snapshot(
                tree: SizedDigest(digest: .empty, size: 0), attributes: nil, stableAttributes: nil,
                totals: TreeTotals()), limits: repository.configuration.limits)
        try take(try repository.blobRecords(blobs, domain: .standard), isTree: false)
    }

    private mutating func take(_ source: any RecordSource, isTree: Bool) throws {
        var bytes: [UInt8] = []
        let buffer = ReusableBuffer()
        while try source.next(into: buffer) { bytes.append(contentsOf: buffer.bytes) }
        try take(bytes, isTree: isTree)
    }

    /// Takes all bytes of a stream: messages of the tree, or contents of files.
    package mutating func take(_ bytes: [UInt8], isTree: Bool) throws {
        var decoder = RecordStreamDecoder(limits: limits)
        var list: (digest: Digest, terms: ArraySlice<ChunkList.Term>, content: [UInt8])?
        try bytes.withUnsafeBytes { bytes in
            try decoder.push(bytes) { try take($0, isTree: isTree, &list) }
        }
        try decoder.finish()
        guard decoder.isEnded else { throw CASError(.dataLoss, "a stream has no end") }
        guard list == nil else { throw CASError(.dataLoss, "a list lacks chunks") }
    }

    private typealias OpenList = (
        digest: Digest, terms: ArraySlice<ChunkList.Term>, content: [UInt8]
    )

    private mutating func take(
        _ record: RecordView, isTree: Bool, _ list: inout OpenList?
    ) throws {
        let digest = record.header.digest
        if record.header.kind == .end { return }
        let content = try decode(record)
        if let open = list, let term = open.terms.first {
            guard case .chunk(let expected, let length) = term, expected == digest,
                content.count == Int(length), Digest.of(content) == digest
            else { throw CASError(.dataLoss, "another chunk than the list says") }
            list = (open.digest, open.terms.dropFirst(), open.content + content)
        } else if record.header.kind == .chunkList {
            let decoded = try ChunkList(decoding: content, limits: limits)
            list = (digest, decoded.terms[...], [])
        } else {
            guard Digest.of(content) == digest else {
                throw CASError(.dataLoss, "a record is not what it says", digest: digest)
            }
            if isTree { messages[digest] = content } else { files[digest] = content }
        }
        if let whole = list, whole.terms.isEmpty {
            guard Digest.of(whole.content) == whole.digest else {
                throw CASError(.dataLoss, "a blob is not what it says")
            }
            files[whole.digest] = whole.content
            list = nil
        }
    }

    private func decode(_ record: RecordView) throws -> [UInt8] {
        var content = [UInt8](repeating: 0, count: record.header.rawLength)
        try content.withUnsafeMutableBytes {
            try decompressor.decode(
                record.payload, codec: record.header.codec, rawLength: record.header.rawLength,
                into: $0)
        }
        return content
    }

    package func directory(_ digest: Digest) throws -> Directory? {
        try messages[digest].map { bytes in
            try bytes.withUnsafeBytes { try Directory(decodingCanonical: $0, limits: limits) }
        }
    }

    package func attributes(_ digest: Digest) throws -> AttributesDirectory? {
        try messages[digest].map { try AttributesDirectory(decoding: $0, limits: limits) }
    }

    /// The tree as it was pushed; throws if anything of it is absent.
    package func folder() throws -> SampleFolder {
        try folder(snapshot.tree.digest, snapshot.attributes?.digest)
    }

    private func folder(_ digest: Digest, _ attributesDigest: Digest?) throws -> SampleFolder {
        guard let directory = try directory(digest) else {
            throw CASError(.notFound, "a directory did not come", digest: digest)
        }
        let attributes = try attributesDigest.flatMap { try self.attributes($0) }
        var folder = SampleFolder()
        if let attributes { folder.modified = attributes.own.modified }
        for (index, file) in directory.files.enumerated() {
            guard let content = file.digest == .empty ? [] : files[file.digest] else {
                throw CASError(.notFound, "a file did not come", digest: file.digest)
            }
            folder.files[file.name.text] = SampleFolder.File(
                content: content, isExecutable: file.isExecutable)
            if let attributes {
                folder.files[file.name.text]?.modified = attributes.files[index].modified
            }
        }
        for link in directory.symlinks { folder.symlinks[link.name.text] = link.target }
        for (index, child) in directory.directories.enumerated() {
            folder.folders[child.name.text] = try self.folder(
                child.digest, attributes?.directories[index].digest)
        }
        return folder
    }
}
