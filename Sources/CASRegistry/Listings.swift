import CASCore
import CASHTTP
import CASOCI
import CASRepository
import CASWire
import HTTPTypes
import Hummingbird

/// Lists: tags, repositories, and what refers to a manifest; each in pages.
extension RegistryDoor {
    /// Bytes that one page of referrers has at most: clients read no more.
    private static let referrersBytes = 4 << 20

    func tags(_ name: String, _ query: RegistryQuery) async throws -> Response {
        let wanted = try RegistryDoor.count(query)
        let limit = min(wanted ?? .max, shared.limits.listingEntries)
        let last = query["last"] ?? ""
        let page = try await shared.blocking { [self] in
            try tagPage(name, after: last, limit: max(1, limit))
        }
        guard let page else {
            throw Refusal(.nameUnknown, "there is no repository '\(name)'")
        }
        let shown = limit == 0 ? [] : page.tags
        var headers = HTTPFields()
        if limit > 0, page.hasMore, let end = shown.last {
            headers.set("Link", RegistryDoor.link("/v2/\(name)/tags/list", limit, end))
        }
        return RegistryDoor.json(
            .object([JSON.Member("name", .text(name)), JSON.Member("tags", .texts(shown))]),
            headers: headers)
    }

    /// Tags behind one, in the order of their bytes; nil where there is no such repository.
    private func tagPage(
        _ name: String, after last: String, limit: Int
    ) throws -> (tags: [String], hasMore: Bool)? {
        var tags: [String] = []
        // A text that is no tag has its place among tags too; what is in front of it is passed over.
        var after: RefName? =
            RefName.isTag(last) ? try RefName(name: name, tag: last) : nil
        pages: while tags.count <= limit {
            let page = try repository.refs(
                prefix: name, after: after, limit: shared.limits.listingEntries, domain: domain)
            for entry in page {
                guard entry.name.name == name else { break pages }
                guard last.utf8.lexicographicallyPrecedes(entry.name.tag.utf8) else { continue }
                tags.append(entry.name.tag)
            }
            guard page.count == shared.limits.listingEntries, let end = page.last else { break }
            after = end.name
        }
        if tags.isEmpty, try !isThere(name) { return nil }
        return (Array(tags.prefix(limit)), tags.count > limit)
    }

    /// Whether a repository has anything.
    private func isThere(_ name: String) throws -> Bool {
        if try !repository.links(
            name, kind: .manifest, after: nil, limit: 1, domain: domain
        ).isEmpty {
            return true
        }
        if try !repository.links(name, kind: .blob, after: nil, limit: 1, domain: domain).isEmpty {
            return true
        }
        return try repository.refs(prefix: name, after: nil, limit: 1, domain: domain)
            .first?.name.name == name
    }

    func catalog(_ query: RegistryQuery, _ caller: RegistryCaller) async throws -> Response {
        let limit = try RegistryDoor.count(query) ?? 100
        guard limit <= shared.limits.listingEntries else {
            throw Refusal(
                .paginationNumberInvalid,
                "at most \(shared.limits.listingEntries) names can be asked for at once")
        }
        let last = query["last"] ?? ""
        let page = try await shared.blocking { [self] in
            try catalogPage(caller, after: last, limit: limit)
        }
        var headers = HTTPFields()
        if limit > 0, let next = page.next {
            headers.set("Link", RegistryDoor.link("/v2/_catalog", limit, next))
        }
        return RegistryDoor.json(
            .object([JSON.Member("repositories", .texts(page.names))]), headers: headers)
    }

    private func catalogPage(
        _ caller: RegistryCaller, after last: String, limit: Int
    ) throws -> (names: [String], next: String?) {
        let found = try caller.visibleNames.page(after: last, limit: limit + 1) { after, limit in
            try repository.repositories(
                after: after, limit: min(limit, shared.limits.listingEntries), domain: domain)
        } exists: {
            try isThere($0)
        }
        let names = Array(found.prefix(limit))
        return (names, found.count > limit ? names.last : nil)
    }

    func referrers(
        _ name: String, _ digest: OCIDigest, _ query: RegistryQuery
    ) async throws -> Response {
        let type = query.mediaType("artifactType").flatMap { $0.isEmpty ? nil : $0 }
        let wanted = try RegistryDoor.count(query) ?? shared.limits.listingEntries
        let limit = max(1, min(wanted, shared.limits.listingEntries))
        let last = query["last"].flatMap { Digest(hexadecimal: $0) }
        let page = try await shared.blocking { [self] in
            try referrersPage(name, digest, type, after: last, limit: limit)
        }
        var headers = HTTPFields()
        if type != nil { headers.set("OCI-Filters-Applied", "artifactType") }
        if let next = page.next {
            let more = type.map { "&artifactType=\(PercentCoding.encode($0))" } ?? ""
            headers.set(
                "Link",
                RegistryDoor.link(
                    "/v2/\(name)/referrers/\(digest)", limit, next.hexadecimal, more))
        }
        return RegistryDoor.json(
            .object([
                JSON.Member("schemaVersion", .integer(2)),
                JSON.Member("mediaType", .text(MediaType.imageIndex)),
                JSON.Member("manifests", .list(page.manifests)),
            ]), type: MediaType.imageIndex, headers: headers)
    }

    private func referrersPage(
        _ name: String, _ subject: OCIDigest, _ type: String?, after last: Digest?, limit: Int
    ) throws -> (manifests: [JSON], next: Digest?) {
        var manifests: [JSON] = []
        var bytes = 0
        var readBytes = 0
        let links = try referring(name, subject, after: last, limit: limit + 1)
        for (index, link) in links.prefix(limit).enumerated() {
            // The page goes on behind what was looked at, also where that is gone or of another type.
            let done = index > 0 ? links[index - 1].digest : last
            guard type == nil || link.artifactType == type else { continue }
            readBytes += Int(clamping: link.size)
            if index > 0, readBytes > shared.limits.referrersReadBytes { return (manifests, done) }
            guard let json = try descriptor(link)?.json else { continue }
            bytes += json.encode().count
            if index > 0, bytes > RegistryDoor.referrersBytes { return (manifests, done) }
            manifests.append(json)
        }
        return (manifests, links.count > limit ? links[limit - 1].digest : nil)
    }

    /// Links about a subject, those too that were made before anything was known by its SHA-512.
    private func referring(
        _ name: String, _ subject: OCIDigest, after last: Digest?, limit: Int
    ) throws -> [OCILink] {
        var keys: Set<Digest> = [try key(of: subject)]
        if case .sha512 = subject { keys.insert(subject.stand) }
        let links = try keys.flatMap {
            try repository.referrers(name, to: $0, after: last, limit: limit, domain: domain)
        }
        return Array(links.sorted { $0.digest < $1.digest }.prefix(limit))
    }

    /// What is said of a manifest in such a list; nil where its bytes are gone.
    private func descriptor(_ link: OCILink) throws -> Descriptor? {
        guard
            let bytes = try repository.read(
                blob: link.digest, maximumBytes: shared.limits.manifestBytes, domain: domain)
        else { return nil }
        let annotations = try JSON(decoding: bytes)["annotations"]?.map ?? [:]
        return Descriptor(
            mediaType: link.mediaType, digest: RegistryDoor.shownDigest(link, bytes),
            size: UInt64(bytes.count), annotations: annotations, artifactType: link.artifactType)
    }

    /// How many entries are wanted; nil where the request does not say.
    private static func count(_ query: RegistryQuery) throws -> Int? {
        guard let text = query["n"] else { return nil }
        guard let count = Int(text), count >= 0, !text.hasPrefix("+") else {
            throw Refusal(
                .paginationNumberInvalid, "'\(Refusal.shown(text))' is not a number of entries")
        }
        return count
    }

    /// Where the next page is (RFC 8288).
    private static func link(
        _ path: String, _ count: Int, _ last: String, _ more: String = ""
    ) -> String {
        "<\(path)?n=\(count)&last=\(PercentCoding.encode(last))\(more)>; rel=\"next\""
    }
}
