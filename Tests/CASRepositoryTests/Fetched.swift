import CASCompression
import CASCore
import CASPack
import CASRepository
import CASTree
import CASWire
import Testing

/// What a fetch brought, checked against its digests.
struct Fetched: DirectorySource {
    private(set) var messages: [Digest: [UInt8]] = [:]
    private(set) var files: [Digest: [UInt8]] = [:]
    private(set) var snapshot: Snapshot
    private let decompressor: Decompressor
    private let limits: Limits

    /// Fetches what `want` names in `shares` streams; throws what the store throws.
    init(
        _ repository: Repository, _ want: String, have: Digest? = nil, shares: Int = 1
    ) throws {
        let plan = try repository.plan(
            PlanRequest(want: want, have: have), domain: .standard)
        snapshot = try Snapshot(decoding: plan.snapshotMessage)
        decompressor = try Decompressor()
        limits = repository.configuration.limits
        try take(try repository.treeRecords(plan: plan.planID, domain: .standard), isTree: true)
        for share in 0..<shares {
            try take(
                try repository.dataRecords(
                    plan: plan.planID, share: share, of: shares, domain: .standard), isTree: false)
        }
        #expect(files.count == Int(plan.files))
    }

    /// Fetches single blobs.
    init(_ repository: Repository, blobs: [Digest]) throws {
        snapshot = Snapshot(
            tree: SizedDigest(digest: .empty, size: 0), attributes: nil, stableAttributes: nil,
            totals: TreeTotals())
        decompressor = try Decompressor()
        limits = repository.configuration.limits
        try take(try repository.blobRecords(blobs, domain: .standard), isTree: false)
    }

    private mutating func take(_ source: any RecordSource, isTree: Bool) throws {
        var decoder = RecordStreamDecoder(limits: limits)
        let buffer = ReusableBuffer()
        var list: (digest: Digest, terms: ArraySlice<ChunkList.Term>, content: [UInt8])?
        while try source.next(into: buffer) {
            try decoder.push(buffer.bytes) { record in
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
        }
        try decoder.finish()
        let isEnded = decoder.isEnded
        #expect(isEnded)
        guard list == nil else { throw CASError(.dataLoss, "a list lacks chunks") }
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

    func directory(_ digest: Digest) throws -> Directory? {
        try messages[digest].map { bytes in
            try bytes.withUnsafeBytes { try Directory(decodingCanonical: $0, limits: limits) }
        }
    }

    func attributes(_ digest: Digest) throws -> AttributesDirectory? {
        try messages[digest].map { try AttributesDirectory(decoding: $0, limits: limits) }
    }

    /// The tree as it was pushed; throws if anything of it is absent.
    func folder() throws -> SampleFolder {
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

extension SampleTree {
    /// Fetches the tree and compares everything; throws what the store throws.
    func expectWhole(
        in repository: Repository, _ want: String? = nil, shares: Int = 1,
        _ comment: Comment? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let fetched = try Fetched(repository, want ?? digest.description, shares: shares)
        // Compared apart from `#expect`, which would print both trees.
        let isSame =
            try fetched.snapshot == snapshot && fetched.folder() == folder
            && Set(fetched.messages.keys) == Set(messages.map(\.digest))
            && Set(fetched.files.keys) == Set(files.keys.filter { $0 != .empty })
        #expect(isSame, comment, sourceLocation: location)
    }
}
