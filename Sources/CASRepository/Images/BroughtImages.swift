import CASCatalog
import CASCore
import CASOCI
import CASTree
import CASWire

/// Images that a commit brings, as far as they can be looked at before it: what their manifests say.
struct BroughtImages {
    /// What names are to have, as the request says it.
    fileprivate(set) var contents: [ImageContents] = []
    /// Manifests, each once, those that others name before these.
    private(set) var order: [NamedDigest] = []
    private var manifests: [NamedDigest: ManifestPut] = [:]
    /// Manifests that answers for their tags call by their SHA-512.
    private var shown: Set<NamedDigest> = []
    /// What is not here.
    fileprivate(set) var missing: [Digest] = []

    var isEmpty: Bool { contents.isEmpty }

    /// A manifest of a name.
    func manifest(_ name: String, _ digest: Digest) -> ManifestPut? {
        manifests[NamedDigest(name: name, digest: digest)]
    }

    /// All manifests, in their order.
    var puts: [ManifestPut] { order.compactMap { manifests[$0] } }

    /// Whether answers for the tags of a manifest call it by its SHA-512.
    func isBySHA512(_ put: ManifestPut) -> Bool {
        shown.contains(NamedDigest(name: put.manifest.name, digest: put.digest))
    }

    /// Adds what is said of a manifest that was read before; false if it was not.
    fileprivate mutating func add(_ entry: ImageManifestEntry, _ key: NamedDigest) -> Bool {
        if entry.isBySHA512 { shown.insert(key) }
        return manifests[key]?.add(isByDigest: entry.isRoot, sha512: entry.sha512) != nil
    }

    fileprivate mutating func add(_ put: ManifestPut, _ key: NamedDigest) {
        order.append(key)
        manifests[key] = put
    }
}

extension Repository {
    /// Reads the manifests of images that a commit brings, and checks by which SHA-512 things go.
    ///
    /// Everything that was uploaded is durable by then. Throws `invalidArgument` for what is no manifest. One
    /// manifest at a time is in memory.
    func bring(_ images: [ImageContents], domain: Domain) throws -> BroughtImages {
        var brought = BroughtImages()
        brought.contents = images
        var aliases: [String: [[UInt8]: Digest]] = [:]
        for contents in images {
            try Repository.requireName(contents.name)
            for (digest, alias) in contents.manifests.map({ ($0.digest, $0.sha512) })
                + contents.blobs.map({ ($0.digest, $0.sha512) })
            where !alias.isEmpty {
                // Of what is not here it is taken for true: nothing is committed without it.
                aliases[contents.name, default: [:]][alias] = digest
                if try !isNamed(digest, by: alias, domain) { brought.missing.append(digest) }
            }
        }
        var readBytes = 0
        for contents in images {
            for entry in contents.manifests {
                let key = NamedDigest(name: contents.name, digest: entry.digest)
                if brought.add(entry, key) { continue }
                guard let bytes = try manifestBytes(entry.digest, domain) else {
                    brought.missing.append(entry.digest)
                    continue
                }
                readBytes += bytes.count
                guard readBytes <= limits.broughtManifestBytes else {
                    throw CASError(
                        .resourceExhausted,
                        "the manifests of the images are more than one push may bring",
                        hint: "bring fewer of them at once")
                }
                let manifest = try newManifest(
                    contents.name, entry, bytes, aliases[contents.name] ?? [:], domain)
                brought.add(try ManifestPut(manifest, limits), key)
            }
        }
        return brought
    }

    /// The bytes of a manifest; nil where they are not here whole.
    private func manifestBytes(_ digest: Digest, _ domain: Domain) throws -> [UInt8]? {
        do {
            return try read(blob: digest, maximumBytes: limits.manifestBytes, domain: domain)
        } catch let error as CASError where error.code == .dataLoss {
            return nil
        }
    }

    /// Whether a blob has a SHA-512; false where it is not here whole, and `invalidArgument` for another one.
    private func isNamed(
        _ digest: Digest, by alias: [UInt8], _ domain: Domain
    ) throws -> Bool {
        if try self.digest(alias: alias, domain: domain) == digest { return true }
        guard let reader = try blobReader(digest, domain: domain) else { return false }
        var hasher = SHA512Hasher()
        do {
            try reader.read(0..<reader.size) { hasher.update($0) }
        } catch let error as CASError where error.code == .dataLoss {
            return false
        }
        guard hasher.finish() == alias else {
            throw CASError(
                .invalidArgument, "a blob of an image has another SHA-512 than is said of it",
                digest: digest)
        }
        return true
    }

    private func newManifest(
        _ name: String, _ entry: ImageManifestEntry, _ bytes: [UInt8],
        _ aliases: [[UInt8]: Digest], _ domain: Domain
    ) throws -> NewManifest {
        /// What goes by a SHA-512 in another name only is answered as what does not exist.
        func known(_ digest: OCIDigest) throws -> Digest? {
            switch digest {
            case .sha256(let digest): return digest
            case .sha512(let alias):
                if let brought = aliases[alias] { return brought }
                return try catalog.read { reader in
                    guard let found = try reader.alias(alias, domain: domain),
                        try has(name, found, as: [.blob, .manifest], reader, domain)
                    else { return nil }
                    return found
                }
            }
        }
        func required(_ digests: [OCIDigest]) throws -> [Digest] {
            try digests.map { try known($0) ?? $0.stand }
        }
        let summary = try ManifestSummary.checked(bytes, entry.mediaType)
        var manifest = NewManifest(name: name, bytes: bytes, mediaType: summary.mediaType)
        manifest.artifactType = summary.artifactType
        if case .sha512(let alias)? = summary.subject?.digest {
            // It need not be in this name, and nobody is told.
            manifest.subject =
                try aliases[alias] ?? self.digest(alias: alias, domain: domain)
                ?? OCIDigest.sha512(alias).stand
        } else {
            manifest.subject = try summary.subject.flatMap { try known($0.digest) }
        }
        manifest.sha512 = entry.sha512.isEmpty ? nil : entry.sha512
        manifest.isByDigest = entry.isRoot
        manifest.blobs = try required(summary.requiredBlobs)
        manifest.manifests = try required(summary.requiredManifests)
        manifest.optional = try summary.optional.compactMap(known)
        return manifest
    }

    /// What of brought images is not here whole, each once; what is stays while a collection runs.
    func lacking(
        _ brought: BroughtImages, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> [Digest] {
        var missing = brought.missing
        var own: [String: Set<Digest>] = [:]
        for contents in brought.contents {
            own[contents.name, default: []].formUnion(contents.digests)
            for digest in contents.digests where try !revive(digest, transaction, domain) {
                missing.append(digest)
            }
        }
        for put in brought.puts {
            var others = put.manifest
            let listed = own[others.name] ?? []
            others.blobs.removeAll { listed.contains($0) }
            others.manifests.removeAll { listed.contains($0) }
            missing += try lacking(others, transaction, domain)
        }
        var seen: Set<Digest> = []
        return missing.filter { seen.insert($0).inserted }
    }
}

extension ManifestSummary {
    /// What a manifest says; throws `invalidArgument` for what is none.
    static func checked(_ bytes: [UInt8], _ type: String) throws -> ManifestSummary {
        do {
            return try ManifestSummary(bytes, contentType: type)
        } catch let error as RegistryError {
            throw CASError(.invalidArgument, error.message, digest: Digest.of(bytes))
        }
    }
}
