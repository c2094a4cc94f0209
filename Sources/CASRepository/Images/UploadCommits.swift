import CASCatalog
package import CASCore
import CASOCI
import CASPack
import CASWire
import Synchronization

/// Takes the bytes of one request of an upload; one thread at a time.
///
/// Ends with `checkpoint`, `finish` or `abandon`; nobody else can write to the upload before.
package final class UploadWriter: Sendable {
    private let repository: Repository
    private let upload: Mutex<OpenUpload?>
    private let identifier: Identifier
    private let digester: BlobDigester

    init(_ repository: Repository, _ upload: OpenUpload) {
        self.repository = repository
        self.upload = Mutex(upload)
        identifier = upload.identifier
        digester = upload.ingest.digester
    }

    deinit { abandon() }

    /// Bytes of the upload, with those that are not durable yet; zero once it was ended.
    package var size: UInt64 { upload.withLock { $0?.ingest.size ?? 0 } }

    /// Takes the next bytes; after an error only `abandon` is possible.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        hash(bytes)
        try writeHashed(bytes)
    }

    /// Hashes the next bytes, which `writeHashed` takes too, then or later; does not wait for who writes.
    package func hash(_ bytes: UnsafeRawBufferPointer) { digester.update(bytes) }

    /// Takes the next bytes, which are hashed by `hash`; after an error only `abandon` is possible.
    package func writeHashed(_ bytes: UnsafeRawBufferPointer) throws {
        try upload.withLock { upload in
            guard let upload else { throw UploadWriter.ended() }
            try upload.ingest.writeHashed(bytes)
            try repository.checkpointIfDue(upload)
        }
    }

    /// Makes everything durable and ends the writing; bytes of the upload.
    package func checkpoint() throws -> UInt64 {
        try end(isGoingOn: true) { upload in
            // Where a write failed, what came after it is hashed and not here.
            guard digester.size == upload.ingest.size else {
                throw CASError(
                    .unavailable, "a part of the upload was lost on the way",
                    hint: "ask how far it came, and go on from there")
            }
            try repository.checkpoint(upload, withTail: true)
            return upload.ingest.size
        }
    }

    /// Makes a blob of the upload and links it, as `finishUpload` does, in one commit with what was written, and ends
    /// the writing; its digest.
    ///
    /// After an error the upload is what it was when it was durable last.
    package func finish(expecting: ExpectedDigest) throws -> Digest {
        try end(isGoingOn: false) { try repository.close($0, expecting) }
    }

    /// Ends the writing; the upload is what it was when it was durable last.
    package func abandon() {
        upload.withLock { upload in
            if upload != nil { repository.uploads.release(identifier, resting: nil) }
            upload = nil
        }
    }

    private func end<Result>(
        isGoingOn: Bool, _ body: (OpenUpload) throws -> Result
    ) throws -> Result {
        let taken = upload.withLock { upload in
            defer { upload = nil }
            return upload
        }
        guard let taken else { throw UploadWriter.ended() }
        var resting: OpenUpload?
        // Once and last: from then on another request may have it.
        defer { repository.uploads.release(identifier, resting: resting) }
        let result = try body(taken)
        if isGoingOn { resting = taken }
        return result
    }

    private static func ended() -> CASError {
        CASError(.failedPrecondition, "this request wrote to the upload before, and ended")
    }
}

/// How uploads become durable.
extension Repository {
    /// Parts of an upload that are read at once.
    static let partsPerPage = 8
    /// Terms of one part.
    private static let termsPerPart = 4_096

    /// Makes the chunks so far durable where that were many bytes.
    func checkpointIfDue(_ upload: OpenUpload) throws {
        guard upload.ingest.writtenBytes >= configuration.checkpointBytes else { return }
        try checkpoint(upload, withTail: false)
    }

    /// Makes an upload durable: its chunks, and with `withTail` what was not cut yet.
    func checkpoint(_ upload: OpenUpload, withTail: Bool) throws {
        let ingest = upload.ingest
        try ingest.flush()
        ingest.noteDurable()
        let domain = upload.session.domain
        let new = Array(ingest.terms[upload.storedTerms...])
        let entry = UploadEntry(
            identifier: upload.identifier, name: upload.name,
            size: withTail ? ingest.size : ingest.cutBytes,
            tail: withTail ? ingest.tail : [], used: clock.now().seconds)
        let parts = stride(from: 0, to: new.count, by: Repository.termsPerPart).map { start in
            ChunkList(terms: Array(new[start..<min(start + Repository.termsPerPart, new.count)]))
        }
        let isRecut = upload.isRecut
        let isOld = isOld(upload.session)
        try writing {
            try commit(session: upload.session, isEvent: false) { context in
                let transaction = context.transaction
                guard try transaction.upload(entry.identifier, domain: domain) != nil else {
                    throw CASError(.notFound, "the upload was cancelled")
                }
                try Repository.requireChunks(new, transaction, domain)
                if isRecut { _ = try transaction.removeUpload(entry.identifier, domain: domain) }
                try transaction.insert(upload: entry, domain: domain)
                try transaction.append(parts: parts, toUpload: entry.identifier, domain: domain)
                if isOld { try transaction.remove(lease: entry.identifier) }
            }
        }
        if isOld { upload.session.lease = (0, 0) }
        upload.storedTerms = ingest.terms.count
        upload.isRecut = false
    }

    /// Whether the lease of an upload is to begin anew: a push is given a day, an upload may take longer, and relies on
    /// nothing but its entry once that is durable.
    private func isOld(_ session: PushSession) -> Bool {
        let began = session.lease.began
        let now = clock.monotonicNanoseconds()
        return began > 0 && now > began && now - began > limits.pushNanoseconds / 2
    }

    /// Has chunks stay; throws `unavailable` where one is gone that was here when it was looked for.
    private static func requireChunks(
        _ terms: [ChunkList.Term], _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws {
        let digests = ChunkList(terms: terms).chunks
        let places = try transaction.locations(of: digests, domain: domain)
        for (digest, place) in zip(digests, places) where place == nil {
            throw CASError(
                .unavailable, "a part of the upload was lost on the way",
                hint: "send the last part again", digest: digest)
        }
        // Its lease protects it for a while only, and the upload may rest for longer.
        let condemned = try transaction.condemned(of: digests, domain: domain)
        let back = zip(digests, condemned).filter { $0.1 != nil }.map(\.0)
        if !back.isEmpty { try transaction.revive(back, domain: domain) }
        try Barrier.note(uploaded: digests, transaction, domain: domain)
    }

    /// Makes a blob of an upload that was taken, and links it; gives it up after too many wrong digests, as each
    /// costs reading all of it.
    func close(_ upload: OpenUpload, _ expected: ExpectedDigest) throws -> Digest {
        let digest: Digest
        do {
            digest = try finish(upload, expected)
        } catch let error as CASError where error.code == .invalidArgument {
            let count = uploads.noteWrongDigest(upload.identifier)
            guard count >= limits.wrongDigestsPerUpload else { throw error }
            _ = try cancelUpload(upload.name, upload.identifier, domain: upload.session.domain)
            throw CASError(
                .invalidArgument, "\(error.message), for the \(count)th time: it was given up",
                hint: "begin a new upload", digest: error.digest)
        } catch let error as CASError where error.code == .failedPrecondition {
            try giveUp(upload, refusedFor: error.digest)
            throw error
        }
        uploads.forget(upload.identifier)
        return digest
    }

    /// Forgets an upload of what was removed for good: nobody can end it, and what it has would stay for as long as it may
    /// rest.
    private func giveUp(_ upload: OpenUpload, refusedFor digest: Digest?) throws {
        let domain = upload.session.domain
        guard let digest, try catalog.read({ try $0.purged([digest], domain: domain)[0] }) != nil
        else { return }
        _ = try cancelUpload(upload.name, upload.identifier, domain: domain)
    }

    /// Makes a blob of an upload, and links it.
    private func finish(_ upload: OpenUpload, _ expected: ExpectedDigest) throws -> Digest {
        let domain = upload.session.domain
        let digest = try upload.ingest.finish()
        let list = ChunkList(terms: upload.ingest.terms)
        try require(expected, digest, list, upload.session)
        try refusePurged([digest], domain: domain)
        for _ in 0..<2 {
            try writing { try storeList(list, digest, upload.session) }
            let isDone = try writing {
                try commit(session: upload.session, isEvent: true) { [self] context in
                    try link(
                        upload.name, digest, list, expected, upload.identifier, context, domain)
                }
            }
            if isDone {
                endLease(upload.identifier)
                return digest
            }
        }
        throw CASError(
            .unavailable, "a part of the upload was lost on the way",
            hint: "upload the blob again", digest: digest)
    }

    /// Throws `invalidArgument` where a blob is not what was announced.
    private func require(
        _ expected: ExpectedDigest, _ digest: Digest, _ list: ChunkList, _ session: PushSession
    ) throws {
        switch expected {
        case .sha256(let wanted):
            guard wanted != digest else { return }
        case .sha512(let wanted):
            var hasher = SHA512Hasher()
            for chunk in list.chunks {
                guard try withContent(chunk, session, { hasher.update($0) }) != nil else {
                    throw CASError(
                        .unavailable, "a part of the upload was lost on the way",
                        hint: "upload the blob again", digest: chunk)
                }
            }
            guard hasher.finish() != wanted else { return }
        }
        throw CASError(
            .invalidArgument, "what was uploaded is not what its digest says", digest: digest)
    }

    /// Appends the list of a blob of several chunks, unless the store has the blob whole.
    private func storeList(
        _ list: ChunkList, _ digest: Digest, _ session: PushSession
    ) throws {
        guard list.terms.count > 1, session.location(digest) == nil else { return }
        let domain = session.domain
        if try catalog.read({ try $0.location(of: digest, domain: domain) }) != nil {
            // One that lacks chunks goes, for this one to take its place.
            guard try !catalog.write({ try revive(digest, $0, domain) }) else { return }
        }
        let encoded = list.encode()
        let record = ReusableBuffer(capacity: 4096)
        let header = try encoded.withUnsafeBytes {
            try appendRecord(.chunkList, digest, $0, to: record)
        }
        session.insert(digest, list)
        try append(record.bytes, [header], .metadata, session)
    }

    /// Links the blob of an upload; false where something of it is not here.
    private func link(
        _ name: String, _ digest: Digest, _ list: ChunkList, _ expected: ExpectedDigest,
        _ upload: Identifier, _ context: CommitContext, _ domain: Domain
    ) throws -> Bool {
        let transaction = context.transaction
        guard try transaction.upload(upload, domain: domain) != nil else {
            throw CASError(.notFound, "the upload was cancelled")
        }
        guard try revive(digest, transaction, domain) else { return false }
        let now = clock.now()
        let link = OCILink(name: name, digest: digest, kind: .blob, size: list.size, created: now)
        try insert(link, context, now, domain)
        if case .sha512(let sha512) = expected {
            try insert(alias: sha512, digest, context, domain)
        }
        _ = try transaction.removeUpload(upload, domain: domain)
        return true
    }
}
