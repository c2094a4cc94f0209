import CASCatalog
import CASCore
import CASOCI
import CASTree
import CASWire

/// Images that a commit brings, as far as they can be looked at before it: what their manifests say.
struct BroughtImages {
    /// What one name is to have.
    struct Named {
        let contents: ImageContents
        let manifests: [ManifestPut]
    }
    fileprivate(set) var named: [Named] = []
    /// What is not here.
    fileprivate(set) var missing: [Digest] = []

    var isEmpty: Bool { named.isEmpty && missing.isEmpty }

    /// A manifest of a name.
    func manifest(_ name: String, _ digest: Digest) -> ManifestPut? {
        for image in named where image.contents.name == name {
            if let found = image.manifests.first(where: { $0.digest == digest }) { return found }
        }
        return nil
    }
}

extension Repository {
    /// Reads the manifests of images that a commit brings, and checks by which SHA-512 things go.
    ///
    /// Everything that was uploaded is durable by then. Throws `invalidArgument` for what is no manifest.
    func bring(_ images: [ImageContents], domain: Domain) throws -> BroughtImages {
        var brought = BroughtImages()
        var readBytes = 0
        for contents in images {
            try Repository.requireName(contents.name)
            var aliases: [[UInt8]: Digest] = [:]
            for (digest, alias) in contents.manifests.map({ ($0.digest, $0.sha512) })
                + contents.blobs.map({ ($0.digest, $0.sha512) })
            where !alias.isEmpty {
                if try isNamed(digest, by: alias, domain) {
                    aliases[alias] = digest
                } else {
                    brought.missing.append(digest)
                }
            }
            var manifests: [ManifestPut] = []
            for entry in contents.manifests {
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
                manifests.append(
                    try ManifestPut(
                        try newManifest(contents.name, entry, bytes, aliases, domain), limits))
            }
            brought.named.append(BroughtImages.Named(contents: contents, manifests: manifests))
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
        func resolve(_ digest: OCIDigest) throws -> Digest? {
            switch digest {
            case .sha256(let digest): digest
            case .sha512(let alias): try aliases[alias] ?? self.digest(alias: alias, domain: domain)
            }
        }
        func required(_ digests: [OCIDigest]) throws -> [Digest] {
            try digests.map { digest in
                guard let known = try resolve(digest) else {
                    throw CASError(
                        .invalidArgument, "an image names \(digest), and nothing is known by that")
                }
                return known
            }
        }
        let summary = try ManifestSummary.checked(bytes, entry.mediaType)
        var manifest = NewManifest(name: name, bytes: bytes, mediaType: summary.mediaType)
        manifest.artifactType = summary.artifactType
        manifest.subject = try summary.subject.map {
            // What nothing is known by stands for itself.
            try resolve($0.digest) ?? $0.digest.stand
        }
        manifest.sha512 = entry.sha512.isEmpty ? nil : entry.sha512
        manifest.isByDigest = entry.isRoot
        manifest.blobs = try required(summary.requiredBlobs)
        manifest.manifests = try required(summary.requiredManifests)
        manifest.optional = try summary.optional.compactMap(resolve)
        return manifest
    }

    /// What of brought images is not here whole; what is stays while a collection runs.
    func lacking(
        _ brought: BroughtImages, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> [Digest] {
        var missing = brought.missing
        for image in brought.named {
            let own = Set(image.contents.digests)
            for digest in image.contents.digests where try !revive(digest, transaction, domain) {
                missing.append(digest)
            }
            for put in image.manifests {
                var others = put.manifest
                others.blobs.removeAll { own.contains($0) }
                others.manifests.removeAll { own.contains($0) }
                missing += try lacking(others, transaction, domain)
            }
        }
        return missing
    }

    /// Throws where a quota has no room for manifests that no tag and no index will hold.
    func requireRoom(
        for brought: BroughtImages, tagging tagged: (name: String, digest: Digest)?,
        _ rules: RuleSet, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws {
        let now = clock.now()
        for image in brought.named {
            var held = Set(image.manifests.flatMap(\.manifest.manifests))
            if let tagged, tagged.name == image.contents.name { held.insert(tagged.digest) }
            for put in image.manifests
            where put.manifest.isByDigest && !held.contains(put.digest) {
                let bytes = try bytes(of: put, brought, transaction, domain)
                let link = try self.link(of: put, bytes, now, transaction, domain)
                try requireRoom(
                    forLone: link, holding: put.manifest.manifests, rules, transaction, domain)
            }
        }
    }

    /// Bytes of a manifest and all that it names.
    private func bytes(
        of put: ManifestPut, _ brought: BroughtImages, _ transaction: any CatalogTransaction,
        _ domain: Domain
    ) throws -> UInt64 {
        try imageTotals(
            put.digest, bytes: UInt64(put.manifest.bytes.count), parts: put.parts + put.optional,
            transaction, domain
        ) { brought.manifest(put.manifest.name, $0).map { $0.parts + $0.optional } }.bytes
    }

    /// Links everything that was brought.
    func link(
        _ brought: BroughtImages, _ context: CommitContext, _ domain: Domain
    ) throws {
        let now = clock.now()
        for image in brought.named {
            let name = image.contents.name
            for blob in image.contents.blobs {
                let size = try blobSize(blob.digest, context.transaction, domain) ?? blob.size
                let link = OCILink(
                    name: name, digest: blob.digest, kind: .blob, size: size, created: now)
                try insert(link, context, now, domain)
                if !blob.sha512.isEmpty {
                    try insert(alias: blob.sha512, blob.digest, context, domain)
                }
            }
            let shown = Set(image.contents.manifests.filter(\.isBySHA512).map(\.digest))
            for put in image.manifests {
                let bytes = try bytes(of: put, brought, context.transaction, domain)
                var own = try self.link(of: put, bytes, now, context.transaction, domain)
                own.isBySHA512 = own.isBySHA512 && shown.contains(put.digest)
                try insert(own, context, now, domain)
                if let alias = put.manifest.sha512 {
                    try insert(alias: alias, put.digest, context, domain)
                }
                try holdFromNow(put, context, now, domain)
            }
        }
    }

    /// Whether a name has a manifest, by a link or because one of its snapshots is that image.
    func hasManifest(
        _ name: String, _ digest: Digest, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> Bool {
        if try transaction.link(name, digest, .manifest, domain: domain) != nil { return true }
        return try derivedLink(name, digest, .manifest, transaction, domain) != nil
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
