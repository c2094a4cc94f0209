import CASCatalog
import CASCore
import CASOCI
import CASRepository
import CASTestSupport
import CASWire

/// A push of an image: blobs are looked for, mounted or uploaded, then the manifest is put, sometimes an index of it.
struct ImagePushActivity {
    private enum Phase {
        case look(blob: Int)
        case upload(UploadState, blob: Int)
        case mount
        case put
    }
    private var image: SampleImage
    private let client: Int
    private var phase = Phase.look(blob: 0)
    private var rounds = 0
    private var troubles = 0

    init(_ simulation: StoreSimulation, client: Int) throws {
        self.client = client
        image = try simulation.drawImage()
        simulation.note(
            "client \(client) pushes image \(image.digest.short) of \(image.blobs.map(\.short)) "
                + "to \(image.name), tag \(image.tag?.tag ?? "none")")
    }

    /// Everything that it may bring now.
    func uploaded(_ images: ImageModel) -> [Digest] {
        image.blobs.flatMap { [$0] + (images.chunks[$0] ?? []) }
    }

    /// The next call; true at the end.
    mutating func step(
        _ simulation: StoreSimulation, _ repository: Repository, _ process: SimulatedProcess
    ) throws -> Bool {
        do {
            switch phase {
            case .look(let blob):
                guard blob < image.blobs.count else {
                    phase = image.mounted == nil ? .put : .mount
                    return false
                }
                try look(for: image.blobs[blob], blob, simulation, repository)
            case .upload(var upload, let blob):
                phase = .look(blob: blob)
                defer { if case .look(blob) = phase { phase = .upload(upload, blob: blob) } }
                switch try upload.step(simulation, repository, process) {
                case .more: break
                case .done: phase = .look(blob: blob + 1)
                case .left: return true
                }
            case .mount: return try mount(simulation, repository)
            case .put: return try put(simulation, repository)
            }
            return false
        } catch let error as CASError {
            return try meet(error, simulation, process)
        }
    }

    private mutating func meet(
        _ error: CASError, _ simulation: StoreSimulation, _ process: SimulatedProcess
    ) throws -> Bool {
        simulation.note("push of image \(image.digest.short) failed: \(error)")
        if error.code == .failedPrecondition, try isPurged(simulation) { return true }
        var isExpected = false
        if case .upload(var upload, let blob) = phase {
            isExpected = try upload.recover(from: error, simulation)
            phase = .upload(upload, blob: blob)
        }
        guard isExpected || simulation.isExcused(error, process) else {
            throw simulation.fail("a push of image \(image.digest.short) failed: \(error)")
        }
        troubles += 1
        return troubles > 8 || simulation.draw(8) == 0
    }

    /// Whether something of it was removed for good.
    private func isPurged(_ simulation: StoreSimulation) throws -> Bool {
        guard simulation.hasPurges else { return false }
        let own = uploaded(simulation.model.images) + image.parts + [image.digest]
        return try !simulation.purgedDigests().isDisjoint(with: own)
    }

    private mutating func look(
        for blob: Digest, _ index: Int, _ simulation: StoreSimulation, _ repository: Repository
    ) throws {
        let key = ImageModel.LinkKey(name: image.name, digest: blob, kind: .blob)
        if simulation.draw(5) > 0,
            try simulation.look(for: key, repository) != nil
        {
            phase = .look(blob: index + 1)
            return
        }
        if simulation.draw(2) == 0 {
            let other = simulation.drawImageName()
            if try simulation.mount(blob, from: other, to: image.name, repository) {
                phase = .look(blob: index + 1)
                return
            }
        }
        phase = .upload(UploadState(simulation, image.name, blob), blob: index)
    }

    private mutating func mount(
        _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Bool {
        guard let mounted = image.mounted else { return true }
        phase = .put
        // Without it there is no image.
        return try !simulation.mount(
            mounted.digest, from: mounted.from, to: image.name, repository)
    }

    private mutating func put(
        _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Bool {
        switch try simulation.put(image, repository) {
        case .missing(let missing):
            // Somebody ended what the index is of.
            if image.isIndex { return true }
            rounds += 1
            guard rounds < 12 else {
                throw simulation.fail("the store goes on lacking what was sent")
            }
            if let mounted = image.mounted, missing.contains(mounted.digest) { return true }
            phase = .look(blob: 0)
            return false
        case .conflict: return true
        case .done:
            // An index of what nobody has any more would bring it back to mind.
            guard !image.isIndex, simulation.draw(3) == 0 else { return true }
            image = simulation.index(of: image)
            phase = .put
            return false
        }
    }
}

/// Calls of one step.
extension StoreSimulation {
    /// Whether a name has something, as the store says; it stays for half a day then.
    func look(for key: ImageModel.LinkKey, _ repository: Repository) throws -> OCILink? {
        let wasPromised = try isPromised(key)
        let (tick, count) = (model.images.ticks, model.images.changeCount(key))
        let wasGone = model.images.isGone(key)
        let link = try repository.link(
            key.name, key.digest, kind: key.kind, domain: .standard)
        guard link != nil else {
            if wasPromised, try isPromised(key) {
                throw fail("\(key.name) lacks \(key.kind) \(key.digest.short)")
            }
            return nil
        }
        if wasGone, model.images.changeCount(key) == count {
            throw fail("\(key.name) has \(key.kind) \(key.digest.short), which was ended")
        }
        model.images.found(
            key, since: tick, used: clock.now().seconds - StoreSimulation.linkSeconds / 2)
        return link
    }

    func mount(
        _ digest: Digest, from source: String, to name: String, _ repository: Repository
    ) throws -> Bool {
        note("mounts \(digest.short) of \(source) in \(name)")
        let old = ImageModel.LinkKey(name: source, digest: digest, kind: .blob)
        let wasPromised = try isPromised(old)
        let change = model.images.begin(
            .put, ImageModel.LinkKey(name: name, digest: digest, kind: .blob))
        do {
            let isDone = try repository.mount(digest, from: source, to: name, domain: .standard)
            model.images.end(
                change, isDone ? .done : .refused, used: clock.now().seconds)
            if !isDone, wasPromised, try isPromised(old) {
                throw fail("\(source) lacks \(digest.short)")
            }
            return isDone
        } catch {
            if error is CASError { model.images.end(change, .open) }
            throw error
        }
    }

    func put(_ image: SampleImage, _ repository: Repository) throws -> PutManifestResult {
        note("puts \(image.digest.short) in \(image.name), tag \(image.tag?.tag ?? "none")")
        model.add(
            manifest: image.manifest,
            .init(
                parts: image.parts, isIndex: image.isIndex, subject: image.subject,
                isBase: image.isBase),
            to: image.name, isTagged: image.tag != nil)
        let marker = image.tag.map { begin($0, image.digest, nil) }
        let change = model.images.begin(
            image.tag == nil ? .putAsRoot : .put,
            ImageModel.LinkKey(name: image.name, digest: image.digest, kind: .manifest))
        let promised = try image.parts.filter { try isPromised(of: image, $0) }
        var manifest = NewManifest(
            name: image.name, bytes: image.manifest,
            mediaType: image.isIndex ? MediaType.imageIndex : MediaType.imageManifest)
        manifest.tags = image.tag.map { [$0.tag] } ?? []
        manifest.isByDigest = image.tag == nil
        if image.isIndex { manifest.manifests = image.parts } else { manifest.blobs = image.parts }
        manifest.subject = image.subject
        manifest.optional = []
        if image.hasSHA512, case .sha512(let sum) = OCIDigest.of(image.manifest, .sha512) {
            manifest.sha512 = sum
            model.images.tryAlias(sum, image.digest)
        }
        if draw(8) == 0 { manifest.precondition = .absent }
        manifest.provenance = Provenance(author: marker ?? "", time: clock.now())
        let result: PutManifestResult
        do {
            result = try repository.putManifest(manifest, domain: .standard)
        } catch {
            model.images.end(change, .open)
            throw error
        }
        guard case .done(let digest) = result else {
            model.images.end(change, .refused)
            if let marker { end(marker, .refused) }
            if case .missing(let missing) = result {
                note("\(image.name) lacks \(missing.map(\.short))")
                let lost = try missing.first { lacks in
                    try promised.contains(lacks) && isPromised(of: image, lacks)
                }
                if let lost { throw fail("\(image.name) lacks \(lost.short)") }
            }
            return result
        }
        guard digest == image.digest else { throw fail("a manifest became \(digest.short)") }
        model.images.end(change, .done, used: clock.now().seconds)
        if image.hasSHA512 { model.images.alias(digest) }
        if let tag = image.tag, let marker { try endMove(of: tag, marker) }
        summary.manifests += 1
        return result
    }

    private func isPromised(of image: SampleImage, _ part: Digest) throws -> Bool {
        try isPromised(
            ImageModel.LinkKey(
                name: image.name, digest: part, kind: image.isIndex ? .manifest : .blob))
    }

    /// Finds out whether a move that was acknowledged moved something.
    private func endMove(of tag: RefName, _ marker: String) throws {
        let entry = try catalog.read {
            try $0.history(tag, before: nil, limit: 1_000, domain: .standard).first {
                $0.provenance.author == marker
            }
        }
        end(marker, .done(moved: entry != nil), sequence: entry?.sequence)
    }
}
