import CASCore

/// An image manifest: one configuration and layers (image-spec, "Image Manifest").
package struct ImageManifest: Hashable, Sendable {
    package var mediaType: String
    package var artifactType: String
    package var config: Descriptor
    package var layers: [Descriptor]
    package var subject: Descriptor?
    package var annotations: [String: String]

    /// A manifest from its parts.
    package init(
        mediaType: String = MediaType.imageManifest, artifactType: String = "",
        config: Descriptor, layers: [Descriptor], subject: Descriptor? = nil,
        annotations: [String: String] = [:]
    ) {
        self.mediaType = mediaType
        self.artifactType = artifactType
        self.config = config
        self.layers = layers
        self.subject = subject
        self.annotations = annotations
    }

    /// Reads a manifest of OCI or of Docker's schema 2; throws `invalidArgument`.
    package init(decoding bytes: [UInt8]) throws {
        let json = try JSON(decoding: bytes)
        guard let config = json["config"] else {
            throw CASError(.invalidArgument, "an image manifest has no configuration")
        }
        self.init(
            mediaType: json["mediaType"]?.text ?? MediaType.imageManifest,
            artifactType: json["artifactType"]?.text ?? "", config: try Descriptor(config),
            layers: try (json["layers"]?.elements ?? []).map { try Descriptor($0) },
            subject: try json["subject"].map { try Descriptor($0) },
            annotations: json["annotations"]?.map ?? [:])
    }

    /// The manifest's bytes, its members in the order of the specification's Go structure.
    package func encode() -> [UInt8] {
        var members = [
            JSON.Member("schemaVersion", .integer(2)), JSON.Member("mediaType", .text(mediaType)),
        ]
        if !artifactType.isEmpty {
            members.append(JSON.Member("artifactType", .text(artifactType)))
        }
        members.append(JSON.Member("config", config.json))
        members.append(JSON.Member("layers", .list(layers.map(\.json))))
        if let subject { members.append(JSON.Member("subject", subject.json)) }
        if !annotations.isEmpty { members.append(JSON.Member("annotations", .map(annotations))) }
        return JSON.object(members).encode()
    }
}

/// A list of manifests: one image for several platforms, or what refers to something (image-spec,
/// "Image Index").
package struct ImageIndex: Hashable, Sendable {
    package var mediaType: String
    package var artifactType: String
    package var manifests: [Descriptor]
    package var subject: Descriptor?
    package var annotations: [String: String]

    /// An index from its parts.
    package init(
        mediaType: String = MediaType.imageIndex, artifactType: String = "",
        manifests: [Descriptor], subject: Descriptor? = nil, annotations: [String: String] = [:]
    ) {
        self.mediaType = mediaType
        self.artifactType = artifactType
        self.manifests = manifests
        self.subject = subject
        self.annotations = annotations
    }

    /// Reads an index of OCI or a manifest list of Docker's; throws `invalidArgument`.
    package init(decoding bytes: [UInt8]) throws {
        let json = try JSON(decoding: bytes)
        guard let manifests = json["manifests"]?.elements else {
            throw CASError(.invalidArgument, "an image index has no list of manifests")
        }
        self.init(
            mediaType: json["mediaType"]?.text ?? MediaType.imageIndex,
            artifactType: json["artifactType"]?.text ?? "",
            manifests: try manifests.map { try Descriptor($0) },
            subject: try json["subject"].map { try Descriptor($0) },
            annotations: json["annotations"]?.map ?? [:])
    }

    /// The index's bytes, its members in the order of the specification's Go structure.
    package func encode() -> [UInt8] {
        var members = [
            JSON.Member("schemaVersion", .integer(2)), JSON.Member("mediaType", .text(mediaType)),
        ]
        if !artifactType.isEmpty {
            members.append(JSON.Member("artifactType", .text(artifactType)))
        }
        members.append(JSON.Member("manifests", .list(manifests.map(\.json))))
        if let subject { members.append(JSON.Member("subject", subject.json)) }
        if !annotations.isEmpty { members.append(JSON.Member("annotations", .map(annotations))) }
        return JSON.object(members).encode()
    }
}
