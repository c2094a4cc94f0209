import CASKubernetes
import Foundation
import Testing

/// Committed manifests that what is written is compared with.
///
/// `CAS_RECORD_SNAPSHOTS=1` writes the files instead.
enum Golden {
    static func check(
        _ documents: [ManifestValue], _ name: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try check(
            ManifestYAML.write(documents), folder.appending(path: "Golden/\(name).yaml"),
            sourceLocation: sourceLocation)
    }

    static func check(
        _ text: String, _ url: URL, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        if ProcessInfo.processInfo.environment["CAS_RECORD_SNAPSHOTS"] == "1" {
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
            return
        }
        let expected = String(decoding: try Data(contentsOf: url), as: UTF8.self)
        guard text != expected else { return }
        let difference = text.split(separator: "\n", omittingEmptySubsequences: false)
            .difference(from: expected.split(separator: "\n", omittingEmptySubsequences: false))
        Issue.record("\(url.lastPathComponent): \(difference)", sourceLocation: sourceLocation)
    }

    /// The folder of this test target.
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
    /// The checkout.
    static let root = folder.deletingLastPathComponent().deletingLastPathComponent()
}
