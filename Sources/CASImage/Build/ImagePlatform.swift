import CASCore
package import CASOCI

/// What images run on.
package struct ImagePlatform: Hashable, Sendable, CustomStringConvertible {
    /// The operating system, as Go names it.
    package let os: String
    /// The architecture, as Go names it.
    package let architecture: String
    /// Which of its kind; nil for any.
    package let variant: String?

    /// Parses `OS/ARCHITECTURE[/VARIANT]`; throws `invalidArgument`.
    package init(_ text: String) throws {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let isPlain = parts.allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
        }
        guard (2...3).contains(parts.count), isPlain else {
            throw CASError(
                .invalidArgument, "'\(text)' is no platform", hint: "write linux/amd64")
        }
        os = parts[0]
        architecture = parts[1]
        variant = parts.count > 2 ? parts[2] : nil
    }

    /// Throws `failedPrecondition` where a configuration is of another platform.
    package func require(_ configuration: JSON, of name: String) throws {
        let os = configuration["os"]?.text ?? ""
        let architecture = configuration["architecture"]?.text ?? ""
        let variant = configuration["variant"]?.text
        guard os == self.os, architecture == self.architecture,
            self.variant == nil || variant == self.variant
        else {
            let other = [os, architecture, variant ?? ""].filter { !$0.isEmpty }
            throw CASError(
                .failedPrecondition,
                "\(name) is for \(other.joined(separator: "/")), not for \(self)",
                hint: "leave --platform out, or name another base")
        }
    }

    private init(os: String, architecture: String) {
        self.os = os
        self.architecture = architecture
        variant = nil
    }

    /// Linux on the architecture of this machine.
    package static var standard: ImagePlatform {
        #if arch(arm64)
            ImagePlatform(os: "linux", architecture: "arm64")
        #else
            ImagePlatform(os: "linux", architecture: "amd64")
        #endif
    }

    /// `linux/arm64/v8`.
    package var description: String {
        "\(os)/\(architecture)" + (variant.map { "/\($0)" } ?? "")
    }

    /// The manifest of an index that is for this platform; throws `notFound` naming what there is.
    package func choose(_ index: ImageIndex, of text: String) throws -> Descriptor {
        let found = index.manifests.filter { descriptor in
            guard let platform = descriptor.platform else { return false }
            return platform.os == os && platform.architecture == architecture
                && (variant == nil || platform.variant == variant
                    // What every arm64 is has no variant, or this one.
                    || (architecture == "arm64" && variant == "v8" && platform.variant.isEmpty))
        }
        if let best = found.first { return best }
        let only = index.manifests.filter {
            $0.platform == nil && MediaType.isManifest($0.mediaType)
        }
        if only.count == 1, index.manifests.count == 1 { return only[0] }
        let there = index.manifests.compactMap(\.platform).filter { $0.os != "unknown" }.map {
            "\($0.os)/\($0.architecture)" + ($0.variant.isEmpty ? "" : "/\($0.variant)")
        }
        throw CASError(
            .notFound, "\(text) has no image for \(self)",
            hint: there.isEmpty
                ? "it names no platform at all"
                : "it has \(there.prefix(20).joined(separator: ", ")); choose with --platform")
    }
}
