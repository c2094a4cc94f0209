import CASClient
import CASCore
package import CASOCI

extension RegistryClient {
    private static let absent: UInt = 404
    private static let partial: UInt = 206

    /// What became of a blob that should be in a repository.
    package enum Placement: Sendable {
        /// It was there.
        case present
        /// The registry took it from another of its repositories.
        case mounted
        /// The store there makes it of a snapshot that it has.
        case derived
        /// It was sent.
        case uploaded
    }

    private func blobCall(_ method: String, _ digest: OCIDigest) -> Call {
        Call(
            method: method, address: location.address("\(repository)/blobs/\(digest)"),
            scopes: [.pull(repository)], what: "blob \(digest)")
    }

    /// Whether the repository has a blob.
    ///
    /// `isWritten` asks with the rights that writing it will need, so that one token does for both.
    package func hasBlob(_ digest: OCIDigest, isWritten: Bool = false) throws -> Bool {
        var request = blobCall("HEAD", digest)
        request.accepts = [RegistryClient.absent]
        if isWritten { request.scopes = [.push(repository)] }
        return try call(request).head.status != RegistryClient.absent
    }

    /// Reads a blob of a known size to `sink` as it comes; throws `dataLoss` at its end if it is another.
    ///
    /// Where the connection breaks it goes on from there.
    package func read(
        _ descriptor: Descriptor, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var hasher = OCIDigestHasher(descriptor.digest.algorithm)
        var done: UInt64 = 0
        try read(descriptor, from: &done) { bytes in
            hasher.update(bytes)
            try sink(bytes)
        }
        guard done == descriptor.size, hasher.finish() == descriptor.digest else {
            throw wrong(descriptor)
        }
    }

    func wrong(_ descriptor: Descriptor) -> CASError {
        CASError(.dataLoss, "\(location.host) sent another blob than \(descriptor.digest)")
    }

    /// Reads a blob from a position on, which moves with what comes, to its end; the digest is for the caller.
    ///
    /// `sink` has taken what it was given even where it throws to end the reading.
    func read(
        _ descriptor: Descriptor, from done: inout UInt64,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try retrying {
            try readPart(descriptor, from: done) { bytes in
                guard done + UInt64(bytes.count) <= descriptor.size else {
                    throw wrong(descriptor)
                }
                done += UInt64(bytes.count)
                try sink(bytes)
            }
        }
    }

    private func readPart(
        _ descriptor: Descriptor, from start: UInt64,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        guard start < descriptor.size || start == 0 else { return }
        var request = blobCall("GET", descriptor.digest)
        var skipped: UInt64 = 0
        if start > 0 { request.headers.append(("range", "bytes=\(start)-")) }
        var come = start
        _ = try stream(
            request,
            head: { head in
                // Who does not do ranges sends all of it.
                if start > 0, head.status != RegistryClient.partial { skipped = start }
            },
            { bytes in
                let skip = min(skipped, UInt64(bytes.count))
                skipped -= skip
                guard skip < bytes.count else { return }
                come += UInt64(bytes.count) - skip
                try sink(UnsafeRawBufferPointer(rebasing: bytes[Int(skip)...]))
            })
        guard come >= descriptor.size else {
            throw CASError(.unavailable, "\(location.host) stopped in the middle of a blob")
        }
    }

    /// Reads a range of a blob; what comes is checked against nothing but its length.
    ///
    /// Where the connection breaks it goes on from there; throws `unimplemented` where there are no ranges.
    package func read(
        _ digest: OCIDigest, range: Range<UInt64>,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var position = range.lowerBound
        try retrying {
            try readPart(digest, position..<range.upperBound) { bytes in
                position += UInt64(bytes.count)
                try sink(bytes)
            }
        }
    }

    private func readPart(
        _ digest: OCIDigest, _ range: Range<UInt64>,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        guard !range.isEmpty else { return }
        var request = blobCall("GET", digest)
        request.headers.append(("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)"))
        var come: UInt64 = 0
        _ = try stream(
            request,
            head: { head in
                // What others send instead is not the range, and nobody sees it.
                guard head.status == RegistryClient.partial else { throw withoutRanges }
            },
            { bytes in
                come += UInt64(bytes.count)
                guard come <= UInt64(range.count) else { throw withoutRanges }
                try sink(bytes)
            })
        guard come == UInt64(range.count) else {
            throw CASError(.unavailable, "\(location.host) stopped in the middle of a blob")
        }
    }

    private var withoutRanges: CASError {
        CASError(.unimplemented, "\(location.host) does not serve ranges of blobs")
    }

    /// Reads a small blob whole.
    package func bytes(_ descriptor: Descriptor, maximumBytes: Int) throws -> [UInt8] {
        guard descriptor.size <= UInt64(maximumBytes) else {
            throw CASError(
                .resourceExhausted,
                "\(location.host): blob \(descriptor.digest) has \(descriptor.size) bytes where at "
                    + "most \(maximumBytes) are taken")
        }
        var bytes: [UInt8] = []
        try read(descriptor) { bytes.append(contentsOf: $0) }
        return bytes
    }

    // MARK: - Writing

    /// Sends a blob, unless the registry takes it from one of its repositories `mountedFrom`.
    ///
    /// `write` may be called again where the connection broke.
    package func upload(
        _ digest: OCIDigest, size: UInt64, mountedFrom sources: [String] = [],
        _ write: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws -> Placement {
        try withoutActuallyEscaping(write) { write in
            try retrying {
                guard let session = try begin(digest, sources) else { return .mounted }
                try send(digest, size, to: session, write)
                return .uploaded
            }
        }
    }

    private func send(
        _ digest: OCIDigest, _ size: UInt64, to session: WebAddress,
        _ write: @escaping ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        let answer = try call(
            Call(
                method: "PUT", address: session.adding(query: "digest", digest.description),
                headers: [("content-type", MediaType.octetStream)],
                body: .stream(length: size) { writer in try write { try writer.write($0) } },
                scopes: [.push(repository)], what: "upload of \(digest)"))
        if let text = answer.head["docker-content-digest"], text != digest.description {
            throw CASError(.dataLoss, "\(location.host) took another blob than it was sent")
        }
    }

    /// Sends a small blob.
    package func upload(_ bytes: [UInt8]) throws -> (Descriptor, Placement) {
        let descriptor = Descriptor(mediaType: MediaType.octetStream, of: bytes)
        if try hasBlob(descriptor.digest, isWritten: true) { return (descriptor, .present) }
        let placement = try upload(descriptor.digest, size: descriptor.size) { write in
            try bytes.withUnsafeBytes { try write($0) }
        }
        return (descriptor, placement)
    }

    /// Begins an upload: where to send it, nil if a mount made it needless.
    private func begin(_ digest: OCIDigest, _ sources: [String]) throws -> WebAddress? {
        for source in sources {
            let from = location.repository(source)
            guard from != repository else { continue }
            var address = location.address("\(repository)/blobs/uploads/")
            address = address.adding(query: "mount", digest.description)
            address = address.adding(query: "from", from)
            let answer: Answer
            do {
                answer = try call(
                    Call(
                        method: "POST", address: address,
                        scopes: [.push(repository), .pull(from)], what: "a mount"))
            } catch let error as CASError
                where [.unauthenticated, .permissionDenied, .notFound, .unimplemented]
                .contains(error.code)
            {
                // Whoever may not read it there sends it.
                continue
            }
            if answer.head.status == 201 { return nil }
            return try session(answer)
        }
        return try beginAnywhere(digest)
    }

    /// Begins an upload unless the registry finds the blob in any repository that the caller may read; those that do
    /// not look begin one.
    private func beginAnywhere(_ digest: OCIDigest) throws -> WebAddress? {
        let address = location.address("\(repository)/blobs/uploads/")
        var request = Call(
            method: "POST", address: address.adding(query: "mount", digest.description),
            scopes: [.push(repository)], what: "the beginning of an upload to \(name)")
        let answer: Answer
        do { answer = try call(request) } catch let error as CASError
            where [
                .invalidArgument, .notFound, .unimplemented, .permissionDenied, .unauthenticated,
            ].contains(error.code)
        {
            // One that wants to hear from where, too.
            request.address = address
            answer = try call(request)
        }
        return answer.head.status == 201 ? nil : try session(answer)
    }

    private func session(_ answer: Answer) throws -> WebAddress {
        guard let text = answer.head["location"] else { throw garbled() }
        return try redirected(text, from: answer.address)
    }
}
