import CASCore
import CASPack
import CASWire

extension InMemoryState {
    /// A link of one domain.
    struct LinkKey: Hashable, Comparable, Sendable {
        var domain: Domain
        var name: String
        var kind: OCILink.Kind
        var digest: Digest

        static func < (left: LinkKey, right: LinkKey) -> Bool {
            (left.domain.rawValue, left.name, left.kind.rawValue, left.digest)
                < (right.domain.rawValue, right.name, right.kind.rawValue, right.digest)
        }
    }

    /// An image by what it is made of.
    struct DerivationKey: Hashable, Comparable, Sendable {
        var tree: Digest
        var options: [UInt8]

        init(_ image: DerivedImage) {
            tree = image.tree
            options = image.options
        }

        init(tree: Digest, options: [UInt8]) {
            self.tree = tree
            self.options = options
        }

        static func < (left: DerivationKey, right: DerivationKey) -> Bool {
            left.tree == right.tree
                ? left.options.lexicographicallyPrecedes(right.options) : left.tree < right.tree
        }
    }

    /// What it holds of images.
    struct Images: Sendable {
        var links: [LinkKey: UsedLink] = [:]
        var aliases: [[UInt8]: Digest] = [:]
        var derived: [DerivationKey: DerivedImage] = [:]
        var uploads: [Identifier: UploadEntry] = [:]
        var uploadParts: [Identifier: [ChunkList]] = [:]
    }
}

extension InMemoryTransaction: ImageTransaction {
    private func key(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, _ domain: Domain
    ) -> InMemoryState.LinkKey {
        .init(domain: domain, name: name, kind: kind, digest: digest)
    }

    /// Links in their order.
    private func sortedLinks(
        _ domain: Domain, _ isWanted: (UsedLink) -> Bool
    ) -> [UsedLink] {
        state.images.links.filter { $0.key.domain == domain && isWanted($0.value) }
            .sorted { $0.key < $1.key }.map(\.value)
    }

    func link(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, domain: Domain
    ) -> UsedLink? { state.images.links[key(name, digest, kind, domain)] }

    func links(
        _ name: String, _ kind: OCILink.Kind, after: Digest?, limit: Int, domain: Domain
    ) -> [OCILink] {
        let found = sortedLinks(domain) { used in
            used.link.name == name && used.link.kind == kind
                && after.map { $0 < used.link.digest } ?? true
        }
        return found.prefix(limit).map(\.link)
    }

    func links(after: OCILink?, limit: Int, domain: Domain) -> [UsedLink] {
        let last = after.map { key($0.name, $0.digest, $0.kind, domain) }
        let found = sortedLinks(domain) { used in
            let link = used.link
            return last.map { $0 < key(link.name, link.digest, link.kind, domain) } ?? true
        }
        return Array(found.prefix(limit))
    }

    func links(to digest: Digest, limit: Int, domain: Domain) -> [OCILink] {
        sortedLinks(domain) { $0.link.digest == digest }.prefix(limit).map(\.link)
    }

    func referrers(
        _ name: String, to subject: Digest, after: Digest?, limit: Int, domain: Domain
    ) -> [OCILink] {
        let found = sortedLinks(domain) { used in
            used.link.name == name && used.link.subject == subject
                && used.link.kind == .manifest && after.map { $0 < used.link.digest } ?? true
        }
        return found.prefix(limit).map(\.link)
    }

    func referrers(to subject: Digest, domain: Domain) -> [OCILink] {
        sortedLinks(domain) { $0.link.subject == subject && $0.link.kind == .manifest }.map(\.link)
    }

    func imageNames(after: String?, limit: Int, domain: Domain) -> [String] {
        let names = Set(state.images.links.keys.filter { $0.domain == domain }.map(\.name))
            .union(state.refs.keys.filter { $0.domain == domain }.map(\.name.name))
        return Array(names.filter { $0 > after ?? "" }.sorted().prefix(limit))
    }

    func moves(
        named name: String, after: HistoryEntry?, limit: Int, domain: Domain
    ) -> [HistoryEntry] {
        let all = moves(after: nil, limit: .max, domain: domain).filter { entry in
            entry.name.name == name
                && after.map { ($0.name, $0.sequence) < (entry.name, entry.sequence) } ?? true
        }
        return Array(all.prefix(limit))
    }

    func parts(of manifest: Digest, domain: Domain) -> [Digest]? {
        if state.neglects.contains(.parts) { return nil }
        let found = sortedLinks(domain) { $0.link.digest == manifest && $0.link.kind == .manifest }
        guard !found.isEmpty else { return nil }
        return Set(found.flatMap(\.link.reached)).sorted()
    }

    func manifests(naming parts: Set<Digest>, domain: Domain) -> [Digest] {
        let found = sortedLinks(domain) { !parts.isDisjoint(with: $0.link.reached) }
        return Set(found.map(\.link.digest)).sorted()
    }

    func alias(_ sha512: [UInt8], domain: Domain) throws -> Digest? {
        try domain.requireStandard()
        return state.images.aliases[sha512]
    }

    func aliases(
        after: [UInt8]?, limit: Int, domain: Domain
    ) throws -> [(sha512: [UInt8], digest: Digest)] {
        try domain.requireStandard()
        return state.images.aliases.filter { key, _ in
            after.map { $0.lexicographicallyPrecedes(key) } ?? true
        }.sorted { $0.key.lexicographicallyPrecedes($1.key) }.prefix(limit).map {
            ($0.key, $0.value)
        }
    }

    private func sortedImages(_ isWanted: (DerivedImage) -> Bool) -> [DerivedImage] {
        state.images.derived.filter { isWanted($0.value) }.sorted { $0.key < $1.key }.map(\.value)
    }

    func derivedImage(tree: Digest, options: [UInt8], domain: Domain) throws -> DerivedImage? {
        try domain.requireStandard()
        return state.images.derived[.init(tree: tree, options: options)]
    }

    func derivedImages(of tree: Digest, domain: Domain) throws -> [DerivedImage] {
        try domain.requireStandard()
        return sortedImages { $0.tree == tree }
    }

    func derivedImages(naming digest: Digest, limit: Int, domain: Domain) throws -> [DerivedImage] {
        try domain.requireStandard()
        return Array(sortedImages { $0.names.contains(digest) }.prefix(limit))
    }

    func derivedImages(after: DerivedImage?, limit: Int, domain: Domain) throws -> [DerivedImage] {
        try domain.requireStandard()
        let last = after.map { InMemoryState.DerivationKey($0) }
        return Array(
            sortedImages { image in last.map { $0 < .init(image) } ?? true }.prefix(limit))
    }

    func upload(_ identifier: Identifier, domain: Domain) throws -> UploadEntry? {
        try domain.requireStandard()
        return state.images.uploads[identifier]
    }

    func uploads(after: Identifier?, limit: Int, domain: Domain) throws -> [UploadEntry] {
        try domain.requireStandard()
        let found = state.images.uploads.values.filter { upload in
            after.map { $0 < upload.identifier } ?? true
        }.sorted { $0.identifier < $1.identifier }.prefix(limit)
        return found.map { upload in
            var upload = upload
            upload.tail = []
            return upload
        }
    }

    func uploadCount(to name: String?, domain: Domain) throws -> Int {
        try domain.requireStandard()
        guard let name else { return state.images.uploads.count }
        return state.images.uploads.values.count { $0.name == name }
    }

    func uploadParts(
        _ identifier: Identifier, after count: Int, limit: Int, domain: Domain
    ) throws -> [ChunkList] {
        try domain.requireStandard()
        return Array((state.images.uploadParts[identifier] ?? []).dropFirst(count).prefix(limit))
    }

    // MARK: - Changes

    func insert(link: OCILink, used: Int64, domain: Domain) {
        let key = key(link.name, link.digest, link.kind, domain)
        state.images.links[key] = UsedLink(link: link, used: used)
    }

    func use(
        link name: String, _ digest: Digest, _ kind: OCILink.Kind, at seconds: Int64, domain: Domain
    ) {
        let key = key(name, digest, kind, domain)
        guard let known = state.images.links[key] else { return }
        state.images.links[key]?.used = max(known.used, seconds)
    }

    func removeLink(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, domain: Domain
    ) -> Bool { state.images.links.removeValue(forKey: key(name, digest, kind, domain)) != nil }

    func insert(alias sha512: [UInt8], _ digest: Digest, domain: Domain) throws {
        try domain.requireStandard()
        if state.images.aliases[sha512] == nil { state.images.aliases[sha512] = digest }
    }

    func remove(aliasesAndImagesOf digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        let gone = Set(digests)
        state.images.aliases = state.images.aliases.filter { !gone.contains($0.value) }
        state.images.derived = state.images.derived.filter { _, image in
            !gone.contains(image.manifest) && !gone.contains(image.config)
        }
    }

    func insert(derivedImage: DerivedImage, domain: Domain) throws {
        try domain.requireStandard()
        state.images.derived[.init(derivedImage)] = derivedImage
    }

    func removeDerivedImage(tree: Digest, options: [UInt8], domain: Domain) throws {
        try domain.requireStandard()
        state.images.derived[.init(tree: tree, options: options)] = nil
    }

    func insert(upload: UploadEntry, domain: Domain) throws {
        try domain.requireStandard()
        state.images.uploads[upload.identifier] = upload
    }

    func append(parts: [ChunkList], toUpload identifier: Identifier, domain: Domain) throws {
        try domain.requireStandard()
        guard state.images.uploads[identifier] != nil else { return }
        state.images.uploadParts[identifier, default: []] += parts
    }

    func removeUpload(_ identifier: Identifier, domain: Domain) throws -> Bool {
        try domain.requireStandard()
        state.images.uploadParts[identifier] = nil
        return state.images.uploads.removeValue(forKey: identifier) != nil
    }
}
