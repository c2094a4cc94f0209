import CASCatalog
package import CASCore
import CASPack

/// Uploads of blobs whose digest is known at the end only.
extension Repository {
    /// Begins an upload to a name; throws `resourceExhausted` where there are too many.
    package func beginUpload(_ name: String, domain: Domain) throws -> Identifier {
        try Repository.requireName(name)
        try reserve.admitPush()
        let entry = UploadEntry(identifier: .random(), name: name, used: clock.now().seconds)
        if try !insert(entry, domain) {
            // Room may be taken by what nobody goes on with.
            try expireUploads(domain: domain)
            guard try insert(entry, domain) else {
                throw CASError(
                    .resourceExhausted, "too many uploads were begun and not ended",
                    hint: "end or cancel some, or wait until they expire")
            }
        }
        return entry.identifier
    }

    /// Notes an upload; false where there are too many of all or to its name.
    private func insert(_ entry: UploadEntry, _ domain: Domain) throws -> Bool {
        try writing {
            try catalog.write { [limits] transaction in
                let count = try transaction.uploadCount(to: nil, domain: domain)
                guard count < limits.concurrentUploads else { return false }
                if count >= limits.uploadsPerName {
                    let ofName = try transaction.uploadCount(to: entry.name, domain: domain)
                    guard ofName < limits.uploadsPerName else { return false }
                }
                try transaction.insert(upload: entry, domain: domain)
                return true
            }
        }
    }

    /// Bytes so far, all of them durable; nil if there is no such upload to that name.
    package func uploadStatus(
        _ name: String, _ identifier: Identifier, domain: Domain
    ) throws -> UInt64? {
        let entry = try catalog.read { try $0.upload(identifier, domain: domain) }
        return entry?.name == name ? entry?.size : nil
    }

    /// Goes on with an upload; throws `notFound`, `outOfRange` where it does not end at `offset`, and
    /// `aborted` while another request writes to it.
    package func append(
        _ name: String, _ identifier: Identifier, at offset: UInt64?, domain: Domain
    ) throws -> UploadWriter {
        try reserve.admitPush()
        let upload = try take(name, identifier, domain)
        guard offset == nil || offset == upload.ingest.size else {
            uploads.release(identifier, resting: upload)
            throw CASError(
                .outOfRange, "the upload has \(upload.ingest.size) bytes so far",
                hint: "go on there")
        }
        return UploadWriter(self, upload)
    }

    /// Makes a blob of what was uploaded and links it; its digest.
    ///
    /// Throws `invalidArgument` where it has another digest, after which the upload can still be cancelled, unless
    /// it was one time too many (`Limits.wrongDigestsPerUpload`), `notFound`, and `aborted` while another request writes to it.
    package func finishUpload(
        _ name: String, _ identifier: Identifier, expecting: ExpectedDigest, domain: Domain
    ) throws -> Digest {
        let upload = try take(name, identifier, domain)
        // Nothing of it is used again: after an error it is read anew.
        defer { uploads.release(identifier, resting: nil) }
        return try close(upload, expecting)
    }

    /// Forgets an upload; false if there is none.
    package func cancelUpload(
        _ name: String, _ identifier: Identifier, domain: Domain
    ) throws -> Bool {
        guard try uploadStatus(name, identifier, domain: domain) != nil else { return false }
        uploads.forget(identifier)
        return try makingRoom {
            try catalog.write { transaction in
                try transaction.remove(lease: identifier)
                return try transaction.removeUpload(identifier, domain: domain)
            }
        }
    }

    /// Forgets uploads that nobody went on with for `Limits.uploadSeconds`.
    func expireUploads(domain: Domain) throws {
        let oldest = clock.now().seconds - Int64(limits.uploadSeconds)
        try expireUploads(before: Timestamp(seconds: oldest), domain: domain)
    }

    /// Forgets uploads that nobody went on with since then; how many.
    @discardableResult
    package func expireUploads(before: Timestamp, domain: Domain) throws -> Int {
        var count = 0
        var after: Identifier?
        while true {
            let page = try catalog.read {
                try $0.uploads(after: after, limit: limits.listingEntries, domain: domain)
            }
            let old = page.filter { $0.used < before.seconds && !uploads.isBusy($0.identifier) }
            if !old.isEmpty {
                for upload in old { uploads.forget(upload.identifier) }
                count += try catalog.write { transaction in
                    try old.count { upload in
                        // Somebody may have gone on with it meanwhile.
                        guard
                            let present = try transaction.upload(
                                upload.identifier, domain: domain), present.used == upload.used
                        else { return false }
                        return try transaction.removeUpload(upload.identifier, domain: domain)
                    }
                }
            }
            guard page.count == limits.listingEntries, let last = page.last else { return count }
            after = last.identifier
        }
    }

    /// Takes an upload for one request, and reads it where it is not in memory.
    private func take(
        _ name: String, _ identifier: Identifier, _ domain: Domain
    ) throws -> OpenUpload {
        let known = try uploads.take(
            identifier, to: name, limit: limits.concurrentPushes)
        do {
            guard let entry = try catalog.read({ try $0.upload(identifier, domain: domain) }),
                entry.name == name
            else {
                throw CASError(
                    .notFound, "there is no such upload", hint: "it may have expired: begin anew")
            }
            // Another process may have gone on with it.
            if let known, known.ingest.size == entry.size { return known }
            let upload = OpenUpload(self, entry, domain)
            uploads.opened(upload)
            try restore(upload, entry, domain)
            return upload
        } catch {
            uploads.release(identifier, resting: nil)
            throw error
        }
    }

    /// Reads what an upload has so far, for its hash and cuts to go on where they were.
    private func restore(
        _ upload: OpenUpload, _ entry: UploadEntry, _ domain: Domain
    ) throws {
        let scratch = ReusableBuffer(capacity: 64 << 10)
        var count = 0
        var stored: [ChunkList.Term] = []
        while true {
            let parts = try catalog.read {
                try $0.uploadParts(
                    upload.identifier, after: count, limit: Repository.partsPerPage, domain: domain)
            }
            guard !parts.isEmpty else { break }
            count += parts.count
            for case .chunk(let digest, let length) in parts.lazy.flatMap(\.terms) {
                stored.append(.chunk(digest, length: length))
                // Copied: it is looked at in the catalog again, which must not happen within a look.
                let found: Void? = try withContent(digest, upload.session) { content in
                    scratch.removeAll()
                    scratch.append(content)
                }
                guard found != nil, scratch.count == Int(length) else {
                    throw CASError(
                        .notFound, "a part of the upload is lost", hint: "begin anew",
                        digest: digest)
                }
                try upload.ingest.write(scratch.bytes)
            }
        }
        try entry.tail.withUnsafeBytes { try upload.ingest.write($0) }
        try upload.ingest.flush()
        guard upload.ingest.size == entry.size else {
            throw CASError(.notFound, "a part of the upload is lost", hint: "begin anew")
        }
        if upload.ingest.terms.starts(with: stored) {
            upload.storedTerms = stored.count
        } else {
            upload.isRecut = true
        }
    }
}
