import CASCatalog
import CASCore
import CASRepository
import CASTestSupport
import CASWire

/// Image options of refs, with images below, and look-ups by SHA-512.
extension StoreSimulation {
    /// Options, and the image below that they name.
    func drawOptions() -> (text: String, base: ImageModel.LinkKey?) {
        let texts = [
            "", "owner=7:7", "layers=1", "layers=2\nprefix=/opt/app", "platform=linux/arm64",
        ]
        let number = draw(8)
        if number < texts.count { return (texts[number], nil) }
        let known = model.images.links.filter { key in
            key.kind == .manifest && key.name.hasPrefix(StoreSimulation.imageNames)
                && model.images.manifests[key.digest]?.isBase ?? false
        }
        guard !known.isEmpty else { return ("", nil) }
        let base = known[draw(known.count)]
        return ("base=\(base.name)@\(base.digest)", base)
    }

    /// The image below that options name.
    static func base(of text: String) -> ImageModel.LinkKey? {
        // Only what somebody gave as options comes here.
        guard let base = try? SnapshotImageOptions(text).base else { return nil }
        return ImageModel.LinkKey(name: base.name, digest: base.digest, kind: .manifest)
    }

    /// Whether an image has to be here with all that it names.
    func isBaseWhole(_ key: ImageModel.LinkKey) throws -> Bool {
        guard try isPromised(key) else { return false }
        return try (model.images.manifests[key.digest]?.parts ?? []).allSatisfy { part in
            try isPromised(.init(name: key.name, digest: part, kind: .blob))
        }
    }

    /// Gives a ref other image options.
    func setOptions(_ repository: Repository, _ process: SimulatedProcess) throws {
        let ref = drawRef()
        let (text, base) = drawOptions()
        let known: RefEntry?
        do {
            known = try repository.ref(ref, domain: .standard)
        } catch let error as CASError {
            guard isExcused(error, process) else { throw fail("\(ref) can not be read: \(error)") }
            return
        }
        guard let target = known?.target, target.kind == .snapshot else { return }
        let wasProtected = try isProtected(target.digest.description)
        let wasWhole = try base.map { try isBaseWhole($0) } ?? false
        // It is a move where somebody moved it meanwhile.
        let marker = begin(ref, target.digest, nil)
        let change = model.options.begin(ref, text)
        note("\(ref) gets the options '\(text)', \(marker)")
        do {
            let entry = try repository.setRef(
                ref,
                RefUpdate(
                    target: target.digest, provenance: Provenance(author: marker),
                    imageOptions: text), domain: .standard)
            guard entry.imageOptions == text else {
                throw fail("\(ref) has the options '\(entry.imageOptions)', not '\(text)'")
            }
            let moved = entry.provenance.author == marker
            end(marker, .done(moved: moved), sequence: moved ? entry.sequence : nil)
            let isWhole = try base.map { try wasWhole && isBaseWhole($0) } ?? false
            model.options.end(change, isDone: true, base: isWhole ? base : nil)
        } catch let error as CASError {
            let isSafe = try wasProtected && isProtected(target.digest.description)
            let refusals: Set<CASError.Code> =
                isSafe ? [] : [.notFound, .dataLoss, .failedPrecondition]
            model.options.end(change, isDone: refusals.contains(error.code) ? false : nil)
            try refuse(marker, error, process, expected: refusals)
        }
    }

    /// Checks that refs have the options that somebody gave them last.
    func checkOptions(_ reader: any CatalogReader) throws {
        for ref in model.refs where !ref.name.hasPrefix(StoreSimulation.imageNames) {
            guard let entry = try reader.ref(ref, domain: .standard) else { continue }
            var possible = model.options.possible(ref)
            // The store itself removes what expired or names what was purged, and the next push begins without any.
            if hasPurges || model.moves.values.contains(where: { $0.ref == ref && $0.expires }) {
                possible.insert("")
            }
            guard possible.contains(entry.imageOptions) else {
                throw fail(
                    "\(ref) has the options '\(entry.imageOptions)', not one of \(possible.sorted())"
                )
            }
        }
    }

    /// Images below that refs name, as the catalog says, and that were there when they began to.
    func keptBases(_ reader: any CatalogReader) throws -> [Digest] {
        try model.options.bases.compactMap { ref, base in
            guard let entry = try reader.ref(ref, domain: .standard),
                StoreSimulation.base(of: entry.imageOptions) == base
            else { return nil }
            return base.digest
        }
    }

    // MARK: - SHA-512

    /// Looks for what was pushed under a SHA-512, and for a link of it.
    func lookUp(_ repository: Repository, _ process: SimulatedProcess) throws {
        let known = model.images.sums.keys.sorted()
        guard !known.isEmpty else { return }
        let digest = known[draw(known.count)]
        let sum = model.images.sums[digest] ?? []
        let wasPromised = try isAliasPromised(digest)
        note("looks for the SHA-512 of \(digest.short)")
        do {
            guard let found = try repository.digest(alias: sum, domain: .standard) else {
                if wasPromised, try isAliasPromised(digest) {
                    throw fail("nobody knows the SHA-512 of \(digest.short)")
                }
                return
            }
            guard found == digest else {
                throw fail("the SHA-512 of \(digest.short) is that of \(found.short)")
            }
            let kind: OCILink.Kind = model.images.manifests[digest] == nil ? .blob : .manifest
            let key = ImageModel.LinkKey(name: drawImageName(), digest: digest, kind: kind)
            _ = try look(for: key, repository)
        } catch let error as CASError {
            note("the look-up failed: \(error)")
            guard isExcused(error, process) else { throw fail("a look-up failed: \(error)") }
        }
    }

    private func isAliasPromised(_ digest: Digest) throws -> Bool {
        guard model.images.aliased.contains(digest) else { return false }
        return try catalog.read { try keptImages($0).contains(digest) }
    }

    /// Checks that what was pushed under a SHA-512 is known by it, and nothing else.
    func checkAliases(_ reader: any CatalogReader, _ kept: Set<Digest>) throws {
        let purged = hasPurges ? try purgedDigests() : []
        for (digest, sum) in model.images.sums.sorted(by: { $0.key < $1.key }) {
            let found = try reader.alias(sum, domain: .standard)
            if let found, found != digest {
                throw fail("the SHA-512 of \(digest.short) is that of \(found.short)")
            }
            if found != nil, purged.contains(digest) {
                throw fail("the SHA-512 of \(digest.short) is known, which was purged")
            }
            if found == nil, kept.contains(digest), model.images.aliased.contains(digest) {
                throw fail("nobody knows the SHA-512 of \(digest.short)")
            }
        }
    }
}
