import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird
import NIOCore

/// Manifests: taken, and deleted.
extension RegistryDoor {
    func putManifest(
        _ name: String, _ reference: ManifestReference, _ query: RegistryQuery,
        _ caller: RegistryCaller, _ request: Request, _ context: Context,
        _ notes: inout RequestNotes
    ) async throws -> Response {
        let tags = try tags(reference, query)
        let limit = shared.limits.manifestBytes
        if let declared = request.headers[.contentLength].flatMap({ Int($0) }), declared > limit {
            throw IncomingBody.tooLarge(limit)
        }
        let body = shared.body(request, limit: limit)
        defer { body.end() }
        context.askForBody(request)
        try await receive(body, request, context)
        notes.received = body.buffer.count
        let bytes = Array(body.buffer.bytes)
        let type = request.headers[.contentType]
        let condition = try RegistryDoor.condition(request)
        let put = try await shared.blocking { [self] in
            try self.put(
                bytes, type, name, reference, tags, condition, caller)
        }
        for tag in tags { shared.moved(try RefName(name: name, tag: tag)) }
        var response = Response(
            status: .created, headers: [.location: "/v2/\(name)/manifests/\(put.digest)"])
        response.setDigest(put.digest)
        if let subject = put.subject { response.headers.set("OCI-Subject", subject.description) }
        if case .digest = reference {
            for tag in tags { response.headers.add("OCI-Tag", tag) }
        }
        return response
    }

    /// The tags that a manifest is put under.
    private func tags(
        _ reference: ManifestReference, _ query: RegistryQuery
    ) throws -> [String] {
        guard case .digest = reference else { return [reference.text] }
        var tags: [String] = []
        for tag in query.all("tag") where !tags.contains(tag) {
            guard RefName.isTag(tag) else {
                throw Refusal(.tagInvalid, "'\(Refusal.shown(tag))' is not a valid tag")
            }
            tags.append(tag)
        }
        guard tags.count <= shared.limits.tagsPerManifest else {
            throw Refusal(
                .tagInvalid,
                "a manifest can be put under at most \(shared.limits.tagsPerManifest) tags at once",
                status: 414)
        }
        return tags
    }

    private func put(
        _ bytes: [UInt8], _ type: String?, _ name: String, _ reference: ManifestReference,
        _ tags: [String], _ condition: Condition, _ caller: RegistryCaller
    ) throws -> (digest: OCIDigest, subject: OCIDigest?) {
        var digest = OCIDigest.of(bytes)
        if case .digest(let expected) = reference {
            guard expected.names(bytes) else {
                throw Refusal(
                    .digestInvalid, "the manifest is not the one that \(expected) names")
            }
            digest = expected
        }
        let summary = try ManifestSummary(bytes, contentType: type)
        var manifest = NewManifest(name: name, bytes: bytes, mediaType: summary.mediaType)
        manifest.artifactType = summary.artifactType
        manifest.subject = try summary.subject.map { try key(of: $0.digest) }
        if case .sha512(let alias) = digest { manifest.sha512 = alias }
        manifest.tags = tags
        if case .digest = reference { manifest.isByDigest = true }
        var names: [Digest: OCIDigest] = [:]
        manifest.blobs = try keys(summary.requiredBlobs, &names)
        manifest.manifests = try keys(summary.requiredManifests, &names)
        manifest.optional = try summary.optional.compactMap(resolve)
        manifest.precondition = try precondition(condition)
        if case .something = condition { manifest.movesOnly = true }
        manifest.provenance = provenance(caller)
        switch try repository.putManifest(manifest, domain: domain) {
        case .done: return (digest, summary.subject?.digest)
        case .missing(let missing):
            throw RegistryDoor.missing(missing.map { names[$0] ?? .sha256($0) })
        case .conflict:
            throw Refusal(
                .manifestInvalid, "a tag names something else than the request expects",
                status: 412)
        }
    }

    /// What the store calls these.
    ///
    /// A SHA-512 that nobody pushed stands for itself by what no repository has, so that the answer does not tell
    /// it from one that another repository has.
    private func keys(
        _ digests: [OCIDigest], _ names: inout [Digest: OCIDigest]
    ) throws -> [Digest] {
        try digests.map { digest in
            let key = try key(of: digest)
            names[key] = digest
            return key
        }
    }

    private static func missing(_ digests: [OCIDigest]) -> Refusal {
        var refusal = Refusal(.manifestBlobUnknown, "the manifest names what is not there")
        refusal.errors = digests.map { digest in
            RegistryError(
                .manifestBlobUnknown, "the repository does not have \(digest)",
                detail: .object([JSON.Member("digest", .text(digest.description))]))
        }
        return refusal
    }

    /// What links call something: a SHA-512 that nothing is known by stands for itself by its own digest.
    func key(of digest: OCIDigest) throws -> Digest {
        try resolve(digest) ?? digest.stand
    }

    /// What the tags of a manifest have to name, as a request says.
    private enum Condition: Sendable {
        case anything
        case nothing
        case something
        case manifest(OCIDigest)
    }

    /// Reads the conditions of a request (RFC 9110, 13.1).
    private static func condition(_ request: Request) throws -> Condition {
        if request.headers[.ifNoneMatch] == "*" { return .nothing }
        guard let header = request.headers[.ifMatch] else { return .anything }
        if header == "*" { return .something }
        guard header.hasPrefix("\""), header.hasSuffix("\""), header.count > 2,
            let digest = try? OCIDigest(String(header.dropFirst().dropLast()))
        else { throw unmatched }
        return .manifest(digest)
    }

    private func precondition(_ condition: Condition) throws -> Precondition {
        switch condition {
        case .anything, .something: return .any
        case .nothing: return .absent
        case .manifest(let digest):
            guard let known = try resolve(digest) else { throw RegistryDoor.unmatched }
            return .digest(known)
        }
    }

    private static var unmatched: Refusal {
        Refusal(.manifestInvalid, "no manifest has the tag that If-Match names", status: 412)
    }

    func deleteManifest(
        _ name: String, _ reference: ManifestReference, _ caller: RegistryCaller
    ) async throws -> Response {
        let isThere = try await shared.blocking { [self] in
            switch reference {
            case .tag(let tag):
                let ref = try RefName(name: name, tag: tag)
                do {
                    try repository.removeRef(ref, .any, provenance(caller), domain: domain)
                } catch let error as CASError where error.code == .notFound {
                    return false
                }
                shared.moved(ref)
                return true
            case .digest(let digest):
                guard let known = try resolve(digest) else { return false }
                let tags = try repository.unlink(
                    name, known, kind: .manifest, provenance(caller), domain: domain)
                guard try tags != nil || !isDerived(name, known, .manifest) else {
                    throw RegistryDoor.notDeletable(digest)
                }
                for tag in tags ?? [] { shared.moved(tag) }
                return tags != nil
            }
        }
        guard isThere else { throw Refusal.unknownManifest(reference.text) }
        return Response(status: .accepted)
    }

    /// Whether a name has something because one of its snapshots stands for it.
    func isDerived(_ name: String, _ digest: Digest, _ kind: OCILink.Kind) throws -> Bool {
        try repository.link(name, digest, kind: kind, domain: domain) != nil
    }

    /// Who does something, for the history.
    func provenance(_ caller: RegistryCaller) -> Provenance {
        Provenance(time: clock.now(), subject: caller.subject)
    }
}

extension ManifestReference {
    /// As it stands in the path.
    var text: String {
        switch self {
        case .tag(let tag): tag
        case .digest(let digest): digest.description
        }
    }
}
