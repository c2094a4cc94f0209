package import CASCore
package import CASOCI

/// What the image is like that a snapshot is; recorded with the ref, never part of a question (Images.md, "Options").
package struct SnapshotImageOptions: Hashable, Sendable {
    /// Bytes of the text at most.
    package static let maximumBytes = 4_096
    /// What `platform` is where nothing else is said.
    package static let usualPlatform = "linux/amd64"

    /// Where in the image the tree lies: components of a path.
    package private(set) var prefix: [String] = []
    /// The number of the owner of everything.
    package private(set) var userID: UInt32 = 0
    /// The number of the group of everything.
    package private(set) var groupID: UInt32 = 0
    /// The image on top of which it is: a name of the store and the digest of a manifest or index there.
    package var base: (name: String, digest: Digest)? {
        baseName.isEmpty ? nil : (baseName, baseDigest)
    }
    private var baseName = ""
    private var baseDigest = Digest.zero
    /// Operating system, architecture and perhaps a variant, with slashes between them.
    package private(set) var platform = SnapshotImageOptions.usualPlatform

    /// How many layers the tree is cut into at most.
    package private(set) var maximumLayers = LayerPlan.maximumParts

    /// The usual image: the tree at its root, owned by root.
    package init() {}

    /// Reads lines of `NAME=VALUE`; throws `invalidArgument`.
    package init(_ text: String) throws {
        guard text.utf8.count <= SnapshotImageOptions.maximumBytes else {
            throw CASError(.invalidArgument, "image options are too long")
        }
        var seen: Set<Substring> = []
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else {
                throw SnapshotImageOptions.failure("'\(line)' is not NAME=VALUE")
            }
            let name = line[..<equals]
            guard seen.insert(name).inserted else {
                throw SnapshotImageOptions.failure("'\(name)' is given twice")
            }
            try set(name, line[line.index(after: equals)...])
        }
    }

    private static func failure(_ text: String) -> CASError {
        CASError(
            .invalidArgument, "image options: \(text)",
            hint: "prefix=/opt/app, owner=1000:1000, platform=linux/arm64, "
                + "base=team/base@sha256:…")
    }

    private mutating func set(_ name: Substring, _ value: Substring) throws {
        switch name {
        case "base": (baseName, baseDigest) = try SnapshotImageOptions.manifest(value)
        case "layers":
            guard let count = Int(value), (1...LayerPlan.maximumParts).contains(count) else {
                throw SnapshotImageOptions.failure(
                    "'\(value)' is no number of layers from 1 to \(LayerPlan.maximumParts)")
            }
            maximumLayers = count
        case "prefix":
            prefix = try SnapshotImageOptions.path(value)
        case "owner":
            let parts = value.split(separator: ":", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), let user = UInt32(parts[0]),
                let group = UInt32(parts.last ?? ""), user < .max, group < .max
            else {
                throw SnapshotImageOptions.failure(
                    "'\(value)' is not the number of a user, or USER:GROUP")
            }
            (userID, groupID) = (user, group)
        case "platform":
            let parts = value.split(separator: "/", omittingEmptySubsequences: false)
            guard (2...3).contains(parts.count),
                parts.allSatisfy({ part in
                    !part.isEmpty && part.utf8.count <= 32
                        && part.utf8.allSatisfy { byte in
                            (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte)
                        }
                })
            else { throw SnapshotImageOptions.failure("'\(value)' is not a platform") }
            platform = String(value)
        default: throw SnapshotImageOptions.failure("there is none called '\(name)'")
        }
    }

    private static func manifest(_ value: Substring) throws -> (name: String, digest: Digest) {
        let parts = value.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].hasPrefix("sha256:"),
            let digest = Digest(hexadecimal: parts[1].dropFirst(7)),
            let name = try? RefName(name: String(parts[0])).name
        else { throw failure("'\(value)' is not NAME@sha256:… of an image in this store") }
        return (name, digest)
    }

    private static func path(_ value: Substring) throws -> [String] {
        let parts = value.split(separator: "/").map(String.init)
        for part in parts {
            guard part != ".", part != "..", part.utf8.count <= Limits.standard.nameBytes,
                part.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
            else { throw failure("'\(value)' is not a path of plain names") }
        }
        return parts
    }

    /// The one text of these options, by name; empty for the usual image.
    package var text: String {
        var lines: [String] = []
        if let base { lines.append("base=\(base.name)@\(base.digest)") }
        if maximumLayers != LayerPlan.maximumParts { lines.append("layers=\(maximumLayers)") }
        if userID != 0 || groupID != 0 { lines.append("owner=\(userID):\(groupID)") }
        if platform != SnapshotImageOptions.usualPlatform { lines.append("platform=\(platform)") }
        if !prefix.isEmpty { lines.append("prefix=/\(prefix.joined(separator: "/"))") }
        return lines.joined(separator: "\n")
    }

    /// What counts for the layers.
    package var layers: LayerOptions {
        get throws {
            try LayerOptions(
                prefix: Array(prefix.joined(separator: "/").utf8), userID: userID, groupID: groupID)
        }
    }

    /// What counts for the image.
    package var image: ImageOptions {
        get throws {
            var options = ImageOptions(layers: try layers)
            // One with a base runs where that does.
            guard base == nil else { return options }
            let parts = platform.split(separator: "/").map(String.init)
            (options.os, options.architecture) = (parts[0], parts[1])
            if parts.count > 2 { options.variant = parts[2] }
            return options
        }
    }
}
