/// The media types that mean something to us; any other is carried as it is.
package enum MediaType {
    package static let imageManifest = "application/vnd.oci.image.manifest.v1+json"
    package static let imageIndex = "application/vnd.oci.image.index.v1+json"
    package static let imageConfig = "application/vnd.oci.image.config.v1+json"
    package static let imageLayer = "application/vnd.oci.image.layer.v1.tar"
    package static let imageLayerGzip = imageLayer + "+gzip"
    package static let imageLayerZstd = imageLayer + "+zstd"
    package static let emptyJSON = "application/vnd.oci.empty.v1+json"
    package static let artifactManifest = "application/vnd.oci.artifact.manifest.v1+json"
    package static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    package static let dockerManifestList =
        "application/vnd.docker.distribution.manifest.list.v2+json"
    package static let dockerConfig = "application/vnd.docker.container.image.v1+json"
    package static let dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
    package static let dockerLayerGzip = dockerLayer + ".gzip"
    package static let dockerLayerZstd = dockerLayer + ".zstd"
    package static let buildKitCacheConfig = "application/vnd.buildkit.cacheconfig.v0"
    package static let octetStream = "application/octet-stream"

    private static let dockerForeign = "application/vnd.docker.image.rootfs.foreign.diff.tar"
    private static let ociNondistributable =
        "application/vnd.oci.image.layer.nondistributable.v1.tar"
    private static let dockerSchema1 = "application/vnd.docker.distribution.manifest.v1+"
    /// Bytes of a media type at most: RFC 6838 allows 127 on each side of the slash.
    package static let maximumBytes = 255

    /// Whether it is that of an image manifest.
    package static func isManifest(_ type: String) -> Bool {
        type == imageManifest || type == dockerManifest
    }

    /// Whether it is that of a list of manifests.
    package static func isIndex(_ type: String) -> Bool {
        type == imageIndex || type == dockerManifestList
    }

    /// Whether it is that of an image's configuration.
    package static func isConfig(_ type: String) -> Bool {
        type == imageConfig || type == dockerConfig
    }

    /// Whether it is that of a Docker manifest of schema 1, which names its layers in another way.
    package static func isSchema1(_ type: String) -> Bool { type.hasPrefix(dockerSchema1) }

    /// Whether it is that of a layer, one that is in no registry included.
    package static func isLayer(_ type: String) -> Bool {
        type.hasPrefix(imageLayer) || type.hasPrefix(dockerLayer) || isNondistributable(type)
    }

    /// Whether it is that of a layer that registries need not have.
    package static func isNondistributable(_ type: String) -> Bool {
        type.hasPrefix(ociNondistributable) || type.hasPrefix(dockerForeign)
    }

    /// A Content-Type without its parameters; nil unless it has the form of a media type.
    package static func parse(_ header: String) -> String? {
        let text = header.prefix { $0 != ";" }
        let trimmed = text.drop { $0 == " " || $0 == "\t" }
        let type = String(trimmed.prefix { $0 != " " && $0 != "\t" })
        guard trimmed.dropFirst(type.count).allSatisfy({ $0 == " " || $0 == "\t" }) else {
            return nil
        }
        let parts = type.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, type.utf8.count <= maximumBytes, parts.allSatisfy(isToken) else {
            return nil
        }
        return type
    }

    /// A token of RFC 9110, 5.6.2.
    private static func isToken(_ text: Substring) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }
}
