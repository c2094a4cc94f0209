import CASCatalog
import CASCore
import CASOCI
import CASRepository
import CASTestSupport
import CASWire

/// Ends of links and tags, and snapshots that are images.
extension StoreSimulation {
    /// Ends a tag.
    func untag(_ repository: Repository, _ process: SimulatedProcess) throws {
        let tag = drawImageTag(drawImageName())
        let marker = begin(tag, nil, nil)
        note("ends tag \(tag), \(marker)")
        do {
            try repository.removeRef(tag, .any, Provenance(author: marker), domain: .standard)
            end(marker, .done(moved: true))
        } catch let error as CASError {
            try refuse(marker, error, process, expected: [.notFound])
        }
    }

    /// Ends a manifest with all its tags, or a blob.
    func unlink(_ repository: Repository, _ process: SimulatedProcess) throws {
        let known = model.images.links.filter { $0.name.hasPrefix(StoreSimulation.imageNames) }
        guard !known.isEmpty else { return }
        let key = known[draw(known.count)]
        let wasPromised = try isPromised(key)
        let (author, change) = model.images.beginUnlink(key)
        note("ends \(key.kind) \(key.digest.short) of \(key.name), \(author)")
        do {
            let tags = try repository.unlink(
                key.name, key.digest, kind: key.kind, Provenance(author: author),
                domain: .standard)
            let isDone = tags != nil
            let isStillPromised = try !isDone && wasPromised && isPromised(key)
            model.images.end(change, isDone ? .done : .refused)
            if isStillPromised { throw fail("\(key.name) lacks \(key.digest.short)") }
        } catch let error as CASError {
            model.images.end(change, .open)
            note("\(author) failed: \(error)")
            guard isExcused(error, process) else { throw fail("\(author) failed: \(error)") }
        }
    }

    /// Asks for the image that a snapshot is, and gets all of it.
    func derive(_ repository: Repository, _ process: SimulatedProcess) throws {
        var ref = drawRef()
        let based = model.options.bases.keys.sorted()
        if !based.isEmpty, draw(2) == 0 { ref = based[draw(based.count)] }
        note("asks for the image of \(ref)")
        let wasProtected = try isProtected(ref.description)
        var asked: RefEntry?
        var wasWhole = false
        do {
            guard let entry = try repository.ref(ref, domain: .standard) else { return }
            asked = entry
            wasWhole = try StoreSimulation.base(of: entry.imageOptions).map(isBaseWhole) ?? true
            guard let manifest = try repository.derivedManifest(entry, domain: .standard) else {
                throw fail("\(ref) is no image")
            }
            try take(manifest, of: ref, entry, repository)
        } catch let error as CASError {
            note("no image of \(ref): \(error)")
            let isGone = [.notFound, .dataLoss, .failedPrecondition].contains(error.code)
            // It may have been moved and collected, or purged, meanwhile.
            if isGone, let asked {
                let snapshot = asked.target.digest
                let isKept = try wasProtected && isProtected(snapshot.description)
                if try !isKept || isTouched(snapshot) { return }
                // Nobody can make one on top of what nothing kept.
                let base = StoreSimulation.base(of: asked.imageOptions)
                if try !wasWhole || base.map({ try !isBaseWhole($0) }) ?? false { return }
            }
            guard isExcused(error, process) else { throw fail("no image of \(ref): \(error)") }
        }
    }

    /// Reads an image and compares it with what was answered before.
    private func take(
        _ manifest: Digest, of ref: RefName, _ entry: RefEntry, _ repository: Repository
    ) throws {
        guard let bytes = try repository.blobBytes(manifest) else {
            throw CASError(.notFound, "the manifest is gone", digest: manifest)
        }
        let decoded = try ImageManifest(decoding: bytes)
        var contents = [manifest: bytes]
        let blobs = ([decoded.config] + decoded.layers).compactMap(\.digest.sha256)
        for blob in blobs {
            guard let bytes = try repository.blobBytes(blob) else {
                throw CASError(.notFound, "a blob is gone", digest: blob)
            }
            contents[blob] = bytes
        }
        for (digest, bytes) in contents where Digest.of(bytes) != digest {
            throw fail("the image of \(ref) is not what its digests say")
        }
        guard let tree = entry.tree else { return }
        let key = ImageModel.Derived.Key(tree: tree, options: entry.imageOptions)
        if let known = model.images.derived[key], known.manifest != manifest {
            throw fail("the image of \(ref) was \(known.manifest.short)")
        }
        var image = ImageModel.Derived(key: key, ref: ref, manifest: manifest, blobs: blobs)
        if let base = StoreSimulation.base(of: entry.imageOptions) {
            image.base = base
            image.inherited = Array(
                (model.images.manifests[base.digest]?.parts ?? []).dropFirst())
            guard Array(blobs.dropFirst().prefix(image.inherited.count)) == image.inherited else {
                throw fail("the image of \(ref) is not on top of \(base.digest.short)")
            }
            summary.based += 1
        }
        try checkLayers(blobs.dropFirst().compactMap { contents[$0] }, entry)
        note("\(ref) is image \(manifest.short)")
        // Kept from now on, should it have been forgotten.
        model.images.add(derived: image, contents)
        summary.derived += 1
    }

    /// Checks that the layers have all that the tree has.
    private func checkLayers(_ layers: [[UInt8]], _ entry: RefEntry) throws {
        guard let tree = model.trees[entry.target.digest] else { return }
        let bytes = Array(layers.joined())
        for content in tree.files.values where !bytes.contains(content) {
            throw fail("the image of \(entry.name) lacks a file")
        }
    }
}

extension Repository {
    /// All bytes of a blob; nil if there is none.
    func blobBytes(_ digest: Digest) throws -> [UInt8]? {
        guard let reader = try blobReader(digest, domain: .standard) else { return nil }
        var bytes: [UInt8] = []
        try reader.read(0..<reader.size) { bytes += $0 }
        return bytes
    }
}
