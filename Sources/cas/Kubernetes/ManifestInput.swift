import CASCore
import CASFileSystem
import Glibc

/// Manifests that somebody gives a command: a file, or standard input.
enum ManifestInput {
    /// More than any object that etcd takes, and room for a chart of them.
    private static let maximumBytes = 16 << 20

    /// The text of a file, or of standard input for `-`.
    static func read(_ file: String) throws -> String {
        let bytes: [UInt8]
        if file == "-" {
            bytes = try Terminal.readAll(STDIN_FILENO, maximumBytes: maximumBytes)
        } else {
            guard let content = try DiskFileSystem().read(file, maximumBytes: maximumBytes) else {
                throw CASError(.notFound, "the file does not exist", path: file)
            }
            bytes = content
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CASError(.invalidArgument, "the manifest is not valid UTF-8", path: file)
        }
        return text
    }
}
