package import CASClient
import CASCore
package import CASOCI
import CASRepository
package import CASWire

/// A repository of images in a store that this process opened.
package final class LocalImages: ImageRepository {
    private let store: LocalStore
    private let provenance: @Sendable () -> Provenance
    package let name: String
    package var host: String? { nil }
    private var repository: Repository { store.repository }

    /// The images of a name; `provenance` is asked when something is put.
    package init(
        _ store: LocalStore, name: String, provenance: @escaping @Sendable () -> Provenance
    ) {
        self.store = store
        self.name = name
        self.provenance = provenance
    }

    private func digest(_ digest: OCIDigest) throws -> Digest? {
        switch digest {
        case .sha256(let digest): digest
        case .sha512(let bytes): try repository.digest(alias: bytes, domain: .standard)
        }
    }

    package func manifest(_ selector: String) throws -> RegistryManifest? {
        let found: Digest?
        if selector.contains(":") {
            found = try digest(try OCIDigest(selector))
        } else {
            let entry = try store.ref(try RefName(name: name, tag: selector))
            if let entry, entry.target.kind != .manifest {
                throw CASError(
                    .failedPrecondition,
                    "\(entry.name) is a snapshot, and a store without a server makes no image of it",
                    hint: "cas image build --base scratch --workspace \(entry.name) --to …")
            }
            found = entry?.target.digest
        }
        guard let found,
            let link = try repository.link(name, found, kind: .manifest, domain: .standard),
            let reader = try repository.blobReader(found, domain: .standard)
        else { return nil }
        guard reader.size <= UInt64(RegistryClient.manifestBytes) else { return nil }
        var bytes: [UInt8] = []
        try reader.read(0..<reader.size) { bytes.append(contentsOf: $0) }
        return RegistryManifest(
            bytes: bytes, mediaType: link.mediaType, digest: .sha256(found))
    }

    package func read(
        _ descriptor: Descriptor, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        guard let found = try digest(descriptor.digest),
            let reader = try repository.blobReader(found, domain: .standard)
        else {
            throw CASError(
                .notFound, "the store lacks blob \(descriptor.digest) of \(name)")
        }
        var hasher = OCIDigestHasher(descriptor.digest.algorithm)
        try reader.read(0..<reader.size) { bytes in
            hasher.update(bytes)
            try sink(bytes)
        }
        guard hasher.finish() == descriptor.digest else {
            throw CASError(.dataLoss, "the store holds another blob than \(descriptor.digest)")
        }
    }

    package func hasBlob(_ digest: OCIDigest, isWritten: Bool) throws -> Bool {
        guard let found = try self.digest(digest) else { return false }
        return try repository.link(name, found, kind: .blob, domain: .standard) != nil
    }

    package func upload(
        _ digest: OCIDigest, size: UInt64, mountedFrom sources: [String],
        _ write: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws -> RegistryClient.Placement {
        if let found = try self.digest(digest) {
            // One user's store: whatever repository has it may give it.
            let all = try repository.linkedAnywhere(found, limit: 1, domain: .standard)
            for source in all + sources
            where try repository.mount(found, from: source, to: name, domain: .standard) {
                return .mounted
            }
        }
        let upload = try repository.beginUpload(name, domain: .standard)
        do {
            let writer = try repository.append(name, upload, at: 0, domain: .standard)
            do {
                try write { try writer.write($0) }
                _ = try writer.checkpoint()
            } catch {
                writer.abandon()
                throw error
            }
            _ = try repository.finishUpload(
                name, upload, expecting: digest, domain: .standard)
        } catch {
            _ = try repository.cancelUpload(name, upload, domain: .standard)
            throw error
        }
        return .uploaded
    }

    package func put(manifest bytes: [UInt8], mediaType: String, as selector: String) throws {
        let summary = try ManifestSummary(bytes, contentType: mediaType)
        var manifest = NewManifest(name: name, bytes: bytes, mediaType: summary.mediaType)
        manifest.artifactType = summary.artifactType
        manifest.subject = try summary.subject.flatMap { try digest($0.digest) }
        if selector.contains(":") {
            manifest.isByDigest = true
        } else {
            manifest.tags = [selector]
        }
        manifest.blobs = try summary.requiredBlobs.compactMap { try digest($0) }
        manifest.manifests = try summary.requiredManifests.compactMap { try digest($0) }
        manifest.optional = try summary.optional.compactMap { try digest($0) }
        manifest.provenance = provenance()
        switch try repository.putManifest(manifest, domain: .standard) {
        case .done: return
        case .missing(let digests):
            throw CASError(
                .failedPrecondition, "the store lacks what the image names",
                digest: digests.first)
        case .conflict:
            throw CASError(.aborted, "\(name):\(selector) was moved meanwhile")
        }
    }

    package func tags() throws -> [String]? {
        var found: [String] = []
        var after = ""
        while true {
            let page = try store.refs(prefix: name, after: after, limit: 1_000)
            found += page.entries.filter { $0.name.name == name }.map(\.name.tag)
            guard !page.next.isEmpty else { return found.isEmpty ? nil : found }
            after = page.next
        }
    }

    package func referrers(
        to subject: OCIDigest, artifactType: String?
    ) throws -> [Descriptor] {
        guard let subject = try digest(subject) else { return [] }
        return try repository.referrers(
            name, to: subject, after: nil, limit: 1_000, domain: .standard
        ).filter { artifactType == nil || $0.artifactType == artifactType }.map {
            Descriptor(
                mediaType: $0.mediaType, digest: .sha256($0.digest), size: $0.size,
                artifactType: $0.artifactType)
        }
    }
}
