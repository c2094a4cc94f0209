import CASCore

/// What an index says of where an image runs.
package struct Platform: Hashable, Sendable {
    package var architecture: String
    package var os: String
    package var osVersion: String
    package var osFeatures: [String]
    package var variant: String

    /// A platform from its parts.
    package init(
        architecture: String, os: String, osVersion: String = "", osFeatures: [String] = [],
        variant: String = ""
    ) {
        self.architecture = architecture
        self.os = os
        self.osVersion = osVersion
        self.osFeatures = osFeatures
        self.variant = variant
    }

    init(_ json: JSON) {
        self.init(
            architecture: json["architecture"]?.text ?? "", os: json["os"]?.text ?? "",
            osVersion: json["os.version"]?.text ?? "", osFeatures: json["os.features"]?.texts ?? [],
            variant: json["variant"]?.text ?? "")
    }

    /// Its members in the order of the specification's Go structure.
    var members: [JSON.Member] {
        var members = [
            JSON.Member("architecture", .text(architecture)), JSON.Member("os", .text(os)),
        ]
        if !osVersion.isEmpty { members.append(JSON.Member("os.version", .text(osVersion))) }
        if !osFeatures.isEmpty { members.append(JSON.Member("os.features", .texts(osFeatures))) }
        if !variant.isEmpty { members.append(JSON.Member("variant", .text(variant))) }
        return members
    }
}

/// How one document names another: type, digest, size, and what else there is to say (image-spec,
/// "Content Descriptors").
package struct Descriptor: Hashable, Sendable {
    package var mediaType: String
    package var digest: OCIDigest
    package var size: UInt64
    package var urls: [String]
    package var annotations: [String: String]
    /// The content itself in base64, as it was written.
    package var data: String?
    package var platform: Platform?
    package var artifactType: String

    /// A descriptor from its parts.
    package init(
        mediaType: String, digest: OCIDigest, size: UInt64, urls: [String] = [],
        annotations: [String: String] = [:], data: String? = nil, platform: Platform? = nil,
        artifactType: String = ""
    ) {
        self.mediaType = mediaType
        self.digest = digest
        self.size = size
        self.urls = urls
        self.annotations = annotations
        self.data = data
        self.platform = platform
        self.artifactType = artifactType
    }

    /// A descriptor of these bytes.
    package init(mediaType: String, of bytes: [UInt8]) {
        self.init(
            mediaType: mediaType, digest: .sha256(Digest.of(bytes)), size: UInt64(bytes.count))
    }

    /// Reads a descriptor with a lenient eye: only digest and size have to be right.
    ///
    /// Throws `invalidArgument`, or `unimplemented` for a digest of another algorithm.
    package init(_ json: JSON) throws {
        guard json.members != nil else {
            throw CASError(.invalidArgument, "a descriptor is not an object")
        }
        guard let text = json["digest"]?.text else {
            throw CASError(.invalidArgument, "a descriptor has no digest")
        }
        let digest = try OCIDigest(text)
        guard let size = json["size"]?.integer, size >= 0 else {
            throw CASError(.invalidArgument, "the descriptor of \(digest) has no size")
        }
        self.init(
            mediaType: json["mediaType"]?.text ?? "", digest: digest, size: UInt64(size),
            urls: json["urls"]?.texts ?? [], annotations: json["annotations"]?.map ?? [:],
            data: json["data"]?.text, platform: json["platform"].map { Platform($0) },
            artifactType: json["artifactType"]?.text ?? "")
    }

    /// The descriptor, its members in the order of the specification's Go structure.
    package var json: JSON {
        var members = [
            JSON.Member("mediaType", .text(mediaType)),
            JSON.Member("digest", .text(digest.description)), JSON.Member("size", .integer(size)),
        ]
        if !urls.isEmpty { members.append(JSON.Member("urls", .texts(urls))) }
        if !annotations.isEmpty { members.append(JSON.Member("annotations", .map(annotations))) }
        if let data { members.append(JSON.Member("data", .text(data))) }
        if let platform { members.append(JSON.Member("platform", .object(platform.members))) }
        if !artifactType.isEmpty {
            members.append(JSON.Member("artifactType", .text(artifactType)))
        }
        return .object(members)
    }
}
