import CASCore
import CASFileSystem

/// The tokens of this user, one per host, in a file of mode 0600: lines of `HOST TOKEN`.
struct Credentials: Sendable {
    private static let maximumBytes = 1 << 20

    let path: String
    private var tokens: [(host: String, token: String)] = []

    /// Hosts that have a token.
    var hosts: [String] { tokens.map(\.host) }

    /// Reads the file; no tokens where there is none.
    ///
    /// Throws if others may read it.
    init(path: String) throws {
        self.path = path
        let fileSystem = DiskFileSystem()
        guard let status = try fileSystem.status(path) else { return }
        guard status.permissions & 0o077 == 0 else {
            throw CASError(
                .permissionDenied, "other users can read the credentials in \(path)",
                hint: "chmod 600 \(path)")
        }
        guard status.owner == Host.userNumber else {
            throw CASError(.permissionDenied, "\(path) belongs to another user")
        }
        guard let bytes = try fileSystem.read(path, maximumBytes: Credentials.maximumBytes) else {
            return
        }
        let lines = String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false)
        for (number, line) in lines.enumerated() {
            let words = line.split { $0 == " " || $0 == "\t" || $0 == "\r" }
            guard let first = words.first, !first.hasPrefix("#") else { continue }
            guard words.count == 2 else {
                // The line itself is a secret and stays out of the message.
                throw CASError(
                    .invalidArgument, "\(path):\(number + 1): not a host and a token",
                    hint: "one line for each host: HOST TOKEN; 'cas login' writes them")
            }
            tokens.append((String(first), String(words[1])))
        }
    }

    /// The token for a host (with its port); nil if there is none.
    func token(for host: String) -> String? {
        tokens.first { $0.host == host }?.token
    }

    /// Keeps a token for a host in the place of the one before.
    mutating func set(_ token: String, for host: String) throws {
        tokens.removeAll { $0.host == host }
        tokens.append((host, token))
        try write()
    }

    /// The file is made with mode 0600 and renamed, so that nobody ever sees a wider or half one.
    private func write() throws {
        let directoryPath = FilePaths.parent(path)
        try DiskFileSystem().createDirectory(directoryPath)
        let directory = try DirectoryHandle(path: directoryPath)
        let temporary = Array("credentials.\(Identifier.random())".utf8)
        let text = tokens.map { "\($0.host) \($0.token)\n" }.joined()
        let file = try directory.createFile(temporary, permissions: 0o600)
        do {
            try Array(text.utf8).withUnsafeBytes { try file.write($0) }
            try directory.rename(temporary, to: directory, Array(FilePaths.name(path).utf8))
        } catch {
            try directory.removeFile(temporary)
            throw error
        }
    }
}
