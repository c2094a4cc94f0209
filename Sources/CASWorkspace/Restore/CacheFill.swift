package import CASCore
import CASFileSystem
import CASPack

/// A node cache to be filled without a destination.
package final class CacheFill: Sendable {
    private let cache: NodeCache
    private let limit: UInt64

    /// The cache in a directory, made if need be.
    package init(_ directory: String, limit: UInt64) throws {
        cache = try NodeCache(directory)
        self.limit = limit
    }

    /// Whether the cache has a file of this content and size.
    ///
    /// Whoever takes it hashes it.
    package func has(_ digest: Digest, size: UInt64) throws -> Bool {
        let status = try cache.files.folder(digest).status(NodeCacheShelf.name(digest))
        return status?.kind == .regular && status?.size == size
    }

    /// A sink for one connection.
    package func makeSink() -> any BlobSink { CacheSink(cache) }

    /// Makes the cache as small as it has to be.
    package func finish() throws { try cache.evict(limit: limit) }
}

/// Writes blobs into a cache; one thread each.
private final class CacheSink: BlobSink {
    private struct Writing: ~Copyable {
        let file: OpenFile
        let name: [UInt8]
    }

    private let cache: NodeCache
    private var writing: Writing?

    init(_ cache: NodeCache) { self.cache = cache }

    func takeSmall(
        _ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView
    ) throws {
        try begin()
        try take(content, nil)
        try finish(digest)
    }

    func begin(_ digest: Digest, _ list: ChunkList, _ record: RecordView) throws { try begin() }

    private func begin() throws {
        let name = Array("\(Identifier.random())".utf8)
        writing = Writing(
            file: try cache.temporaries.createFile(name, permissions: 0o644), name: name)
    }

    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws {
        do { try writing?.file.write(content) } catch {
            cancel()
            throw error
        }
    }

    func finish(_ digest: Digest) throws {
        guard let done = writing.take() else { return }
        do {
            try cache.temporaries.rename(
                done.name, to: try cache.files.folder(digest), NodeCacheShelf.name(digest))
        } catch {
            try cache.temporaries.removeFile(done.name)
            throw error
        }
        cache.noteGrowth()
    }

    func cancel() {
        guard let lost = writing.take() else { return }
        // What stays is removed a day later.
        _ = try? cache.temporaries.removeFile(lost.name)
    }
}
