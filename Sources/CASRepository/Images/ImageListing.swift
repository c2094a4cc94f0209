import CASCatalog
package import CASCore
import CASOCI
package import CASWire

/// What refs stand for besides their snapshots, for somebody who brings it to another store.
extension Repository {
    /// What belongs to a ref: of an image all of it, with what is about it; of a snapshot what is about the image
    /// that it is, and the image below that.
    ///
    /// With `derives`, that image is made where nobody asked for it yet. Throws `notFound` for no ref, and `dataLoss`
    /// where something of an image is gone.
    package func images(
        of ref: RefName, derives: Bool = false, domain: Domain,
        mayRead: (String) -> Bool = { _ in true }
    ) throws -> RefImages {
        guard let entry = try self.ref(ref, domain: domain) else {
            throw CASError(
                .notFound, "there is no ref '\(ref)'", hint: "cas ls lists what there is")
        }
        if derives { _ = try derivedManifest(entry, domain: domain) }
        var found = RefImages(ref: ref)
        var listing = ImageListing(self, ref.name, domain)
        guard entry.target.kind == .snapshot, let tree = entry.tree else {
            try listing.add(manifest: entry.target.digest)
            found.images = [listing.contents]
            return found
        }
        let options = try SnapshotImageOptions(entry.imageOptions)
        if let image = try knownImage(tree, options, domain) {
            found.derived = image.manifest
            try listing.add(referrersOf: image.manifest)
        }
        if let base = options.base {
            try add(base, &listing, &found, mayRead)
        }
        if !listing.contents.digests.isEmpty { found.images.insert(listing.contents, at: 0) }
        return found
    }

    /// What belongs to a manifest of a name; throws `notFound`.
    package func images(
        of digest: Digest, name: String, domain: Domain
    ) throws -> RefImages {
        // One that a snapshot is, is found by that.
        guard try catalog.read({ try $0.link(name, digest, .manifest, domain: domain) }) != nil
        else {
            throw CASError(
                .notFound, "'\(name)' has no image with this digest",
                hint: "cas ls lists what there is", digest: digest)
        }
        var listing = ImageListing(self, name, domain)
        try listing.add(manifest: digest)
        return RefImages(ref: nil, images: [listing.contents])
    }

    /// Adds the image that others are on top of, as far as somebody may see it and it is here.
    private func add(
        _ base: (name: String, digest: Digest), _ listing: inout ImageListing,
        _ found: inout RefImages, _ mayRead: (String) -> Bool
    ) throws {
        guard mayRead(base.name) else {
            found.unreadable.append(base.name)
            return
        }
        do {
            if base.name == listing.contents.name {
                return try listing.add(manifest: base.digest)
            }
            var other = ImageListing(self, base.name, listing.domain)
            try other.add(manifest: base.digest)
            found.images.append(other.contents)
        } catch let error as CASError where error.code == .dataLoss {
            // The snapshot is whole without it.
            found.unreadable.append(base.name)
        }
    }
}

/// Lists what a name has of images, from manifests down, and then what is about them.
struct ImageListing {
    /// How deep indexes may name indexes.
    private static let depth = 16

    private let repository: Repository
    let domain: Domain
    private(set) var contents: ImageContents
    private var manifests: Set<Digest> = []
    /// Where in the list blobs stand.
    private var blobs: [Digest: Int] = [:]

    init(_ repository: Repository, _ name: String, _ domain: Domain) {
        self.repository = repository
        self.domain = domain
        contents = ImageContents(name: name)
    }

    /// Adds a manifest, what it names, and what is about all of these.
    mutating func add(manifest digest: Digest) throws {
        var added = try add(digest, depth: 0)
        while let next = added.popLast() { added += try referrers(of: next) }
    }

    /// Adds what is about a manifest.
    mutating func add(referrersOf digest: Digest) throws {
        var added = try referrers(of: digest)
        while let next = added.popLast() { added += try referrers(of: next) }
    }

    private func gone(_ digest: Digest) -> CASError {
        CASError(
            .dataLoss, "'\(contents.name)' lacks a part of this image",
            hint: "push the image again", digest: digest)
    }

    private mutating func referrers(of subject: Digest) throws -> [Digest] {
        var added: [Digest] = []
        var after: Digest?
        while true {
            let page = try repository.referrers(
                contents.name, to: subject, after: after,
                limit: repository.limits.listingEntries, domain: domain)
            for link in page { added += try add(link.digest, depth: 0, isAbout: true) }
            guard page.count == repository.limits.listingEntries, let last = page.last else {
                return added
            }
            after = last.digest
        }
    }

    /// Adds a manifest and what it names, those below it first; the manifests that were added.
    ///
    /// One that is about another stays with that: a tag that it has here does not come along.
    private mutating func add(
        _ digest: Digest, depth: Int, isAbout: Bool = false
    ) throws -> [Digest] {
        guard manifests.insert(digest).inserted else { return [] }
        guard manifests.count <= repository.limits.imageManifests,
            depth < ImageListing.depth
        else { throw CASError(.resourceExhausted, "an image has too many manifests") }
        let name = contents.name
        guard let link = try repository.link(name, digest, kind: .manifest, domain: domain),
            let bytes = try repository.read(
                blob: digest, maximumBytes: repository.limits.manifestBytes, domain: domain)
        else { throw gone(digest) }
        var added: [Digest] = []
        for member in try ManifestSummary.checked(bytes, link.mediaType).members {
            added += try add(member, depth)
        }
        let alias = bytes.withUnsafeBytes { SHA512Hasher.of($0) }
        let isKnown = try repository.digest(alias: alias, domain: domain) == digest
        contents.manifests.append(
            ImageManifestEntry(
                digest: digest, size: UInt64(bytes.count), mediaType: link.mediaType,
                isRoot: isAbout || link.isRoot, sha512: isKnown ? alias : [],
                isBySHA512: isKnown && link.isBySHA512))
        return added + [digest]
    }

    /// Adds what a manifest names, unless it is good without it and the name does not have it.
    private mutating func add(_ member: ManifestSummary.Member, _ depth: Int) throws -> [Digest] {
        var alias: [UInt8] = []
        let digest: Digest?
        switch member.digest {
        case .sha256(let known): digest = known
        case .sha512(let bytes):
            alias = bytes
            digest = try repository.digest(alias: bytes, domain: domain)
        }
        guard let digest else {
            if member.isOptional { return [] }
            throw CASError(.dataLoss, "'\(contents.name)' lacks \(member.digest) of this image")
        }
        if member.role == .manifest || member.role == .either {
            let link = try repository.link(contents.name, digest, kind: .manifest, domain: domain)
            if link != nil { return try add(digest, depth: depth + 1) }
        }
        if try !add(blob: digest, alias), !member.isOptional { throw gone(digest) }
        return []
    }

    private mutating func add(blob digest: Digest, _ alias: [UInt8]) throws -> Bool {
        if let place = blobs[digest] {
            // It may be named in both ways.
            if !alias.isEmpty { contents.blobs[place].sha512 = alias }
            return true
        }
        guard
            let link = try repository.link(contents.name, digest, kind: .blob, domain: domain)
                ?? repository.link(contents.name, digest, kind: nil, domain: domain)
        else { return false }
        let isStored = try repository.catalog.read {
            try $0.location(of: digest, domain: domain) != nil
        }
        blobs[digest] = contents.blobs.count
        contents.blobs.append(
            ImageBlob(
                digest: digest, size: link.size, isDerived: !isStored && digest != .empty,
                sha512: alias))
        return true
    }
}
