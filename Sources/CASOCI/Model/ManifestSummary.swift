import CASCore

/// What a registry has to know of a manifest before it keeps it; the bytes stay as they were pushed.
package struct ManifestSummary: Hashable, Sendable {
    /// What kind of document it is.
    package enum Kind: Hashable, Sendable {
        /// One configuration and layers.
        case image
        /// A list of manifests.
        case index
        /// Any other JSON object that somebody calls a manifest.
        case other
    }

    /// What one document of those it names is to it.
    package enum Role: Hashable, Sendable {
        case config
        case layer
        case manifest
        /// A blob in a list of manifests, or in a manifest of an unknown type.
        case blob
        /// Something in a list of manifests that may be either.
        case either
    }

    /// One document that it names.
    package struct Member: Hashable, Sendable {
        package var digest: OCIDigest
        package var size: UInt64
        package var mediaType: String
        package var role: Role
        /// Whether the manifest is good without it.
        package var isOptional: Bool
    }

    /// Bytes of a manifest at most; clients refuse more as well.
    package static let maximumBytes = 4 << 20
    /// Documents that one manifest may name.
    package static let maximumMembers = 50_000

    /// What kind of document it is.
    package let kind: Kind
    /// The Content-Type to serve it with, without parameters.
    package let mediaType: String
    /// What referrers call its type: its own, else that of an image's configuration; empty if neither.
    package let artifactType: String
    /// What it refers to; need not be there.
    package let subject: Descriptor?
    /// Its own annotations.
    package let annotations: [String: String]
    /// What it names, each digest once, in the order of the document; without the subject.
    package let members: [Member]

    /// Reads a manifest as a registry does; throws a `RegistryError`, `manifestInvalid` or `sizeInvalid`.
    ///
    /// Without a Content-Type, what the document says of itself is taken.
    package init(_ bytes: [UInt8], contentType: String?) throws {
        guard bytes.count <= ManifestSummary.maximumBytes else {
            throw RegistryError(
                .sizeInvalid,
                "a manifest of \(bytes.count) bytes is larger than the "
                    + "\(ManifestSummary.maximumBytes) allowed")
        }
        let json: JSON
        do {
            json = try JSON(decoding: bytes)
        } catch let error as CASError {
            throw RegistryError(.manifestInvalid, error.message)
        }
        guard json.members != nil else {
            throw RegistryError(.manifestInvalid, "a manifest is not a JSON object")
        }
        mediaType = try ManifestSummary.mediaType(json, contentType)
        let declared = json["artifactType"]?.text ?? ""
        annotations = json["annotations"]?.map ?? [:]
        subject = try ManifestSummary.subject(json)
        var collector = Collector()
        if MediaType.isManifest(mediaType) {
            kind = .image
            let config = try collector.image(json)
            artifactType = declared.isEmpty ? config : declared
        } else if MediaType.isIndex(mediaType) {
            kind = .index
            try collector.index(json)
            artifactType = declared
        } else {
            kind = .other
            try collector.other(json)
            artifactType = declared.isEmpty ? json["config"]?["mediaType"]?.text ?? "" : declared
        }
        members = collector.members
    }

    /// Digests of blobs that have to be there.
    package var requiredBlobs: [OCIDigest] {
        members.filter { !$0.isOptional && $0.role != .manifest }.map(\.digest)
    }

    /// Digests of manifests that have to be there.
    package var requiredManifests: [OCIDigest] {
        members.filter { !$0.isOptional && $0.role == .manifest }.map(\.digest)
    }

    /// Digests of what is kept if it is there.
    package var optional: [OCIDigest] {
        members.filter(\.isOptional).map(\.digest)
    }

    private static func mediaType(_ json: JSON, _ contentType: String?) throws -> String {
        let own = json["mediaType"]?.text ?? ""
        var type = own
        if let contentType, !contentType.isEmpty {
            guard let given = MediaType.parse(contentType) else {
                throw RegistryError(.manifestInvalid, "the Content-Type is not a media type")
            }
            guard own.isEmpty || own == given else {
                throw RegistryError(
                    .manifestInvalid,
                    "the Content-Type is '\(given)', and the manifest calls itself '\(own)'")
            }
            type = given
        }
        guard let checked = MediaType.parse(type), checked == type else {
            throw RegistryError(
                .manifestInvalid, "neither the Content-Type nor the manifest says what it is")
        }
        guard !MediaType.isSchema1(type), json["schemaVersion"]?.integer != 1 else {
            throw RegistryError(
                .manifestInvalid,
                "manifests of Docker's schema 1 are not supported: push the "
                    + "image again with a client of this decade")
        }
        if MediaType.isManifest(type) || MediaType.isIndex(type) {
            guard json["schemaVersion"]?.integer == 2 else {
                throw RegistryError(.manifestInvalid, "the manifest's schemaVersion is not 2")
            }
        }
        return type
    }

    private static func subject(_ json: JSON) throws -> Descriptor? {
        guard let subject = json["subject"] else { return nil }
        do {
            return try Descriptor(subject)
        } catch let error as CASError {
            throw RegistryError(.manifestInvalid, "the subject: \(error.message)")
        }
    }
}

/// Gathers what a manifest names, each digest once.
private struct Collector {
    typealias Role = ManifestSummary.Role
    private(set) var members: [ManifestSummary.Member] = []
    private var places: [OCIDigest: Int] = [:]

    /// Takes an image manifest; returns the media type of its configuration.
    mutating func image(_ json: JSON) throws -> String {
        // One document that is two things is read differently by different clients (CVE-2021-41190).
        for foreign in ["manifests", "fsLayers"] where json[foreign] != nil {
            throw RegistryError(.manifestInvalid, "an image manifest has a member '\(foreign)'")
        }
        guard let config = json["config"] else {
            throw RegistryError(.manifestInvalid, "an image manifest has no config")
        }
        let descriptor = try read(config, "the config", isOptional: false)
        if let descriptor { try add(descriptor, .config, isOptional: false) }
        for (index, layer) in try list(json, "layers").enumerated() {
            let type = layer["mediaType"]?.text ?? ""
            let isElsewhere =
                MediaType.isNondistributable(type) || !(layer["urls"]?.elements ?? []).isEmpty
            if let descriptor = try read(layer, "layer \(index)", isOptional: isElsewhere) {
                try add(descriptor, .layer, isOptional: isElsewhere)
            }
        }
        return descriptor?.mediaType ?? ""
    }

    /// Takes a list of manifests, or of blobs where it is BuildKit's cache.
    mutating func index(_ json: JSON) throws {
        for foreign in ["config", "layers", "fsLayers"] where json[foreign] != nil {
            throw RegistryError(.manifestInvalid, "an image index has a member '\(foreign)'")
        }
        for (index, item) in try list(json, "manifests").enumerated() {
            let type = item["mediaType"]?.text ?? ""
            let role: Role
            if MediaType.isManifest(type) || MediaType.isIndex(type) {
                role = .manifest
            } else if MediaType.isLayer(type) || MediaType.isConfig(type)
                || type == MediaType.buildKitCacheConfig
            {
                role = .blob
            } else {
                role = .either
            }
            if let descriptor = try read(item, "manifest \(index)", isOptional: role == .either) {
                try add(descriptor, role, isOptional: role == .either)
            }
        }
    }

    /// Takes what looks like descriptors in a document of an unknown type.
    mutating func other(_ json: JSON) throws {
        var items: [(JSON, Role)] = []
        if let config = json["config"] { items.append((config, .blob)) }
        for name in ["layers", "blobs"] {
            items += (json[name]?.elements ?? []).map { ($0, .blob) }
        }
        items += (json["manifests"]?.elements ?? []).map { ($0, .either) }
        for (item, role) in items {
            if let descriptor = try? Descriptor(item) {
                try add(descriptor, role, isOptional: true)
            }
        }
    }

    private func list(_ json: JSON, _ name: String) throws -> [JSON] {
        guard let value = json[name] else { return [] }
        guard let elements = value.elements else {
            throw RegistryError(.manifestInvalid, "'\(name)' is not a list")
        }
        return elements
    }

    /// Nil for what may lack and is named by a digest that nobody can check.
    private func read(_ json: JSON, _ what: String, isOptional: Bool) throws -> Descriptor? {
        do {
            return try Descriptor(json)
        } catch let error as CASError {
            if isOptional, error.code == .unimplemented { return nil }
            throw RegistryError(.manifestInvalid, "\(what): \(error.message)")
        }
    }

    private mutating func add(_ descriptor: Descriptor, _ role: Role, isOptional: Bool) throws {
        if let place = places[descriptor.digest] {
            if !isOptional, members[place].isOptional {
                members[place].isOptional = false
                members[place].role = role
            }
            return
        }
        guard members.count < ManifestSummary.maximumMembers else {
            throw RegistryError(
                .manifestInvalid,
                "a manifest names more than \(ManifestSummary.maximumMembers) things")
        }
        places[descriptor.digest] = members.count
        members.append(
            ManifestSummary.Member(
                digest: descriptor.digest, size: descriptor.size, mediaType: descriptor.mediaType,
                role: role, isOptional: isOptional))
    }
}
