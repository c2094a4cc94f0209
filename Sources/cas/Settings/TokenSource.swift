import CASCore
import CASFileSystem
import Synchronization

/// Where the token for one server comes from.
///
/// A token goes to the host that it was given for, and to
/// no other.
final class TokenSource: Sendable {
    /// Bytes that a token file may have at most.
    private static let maximumBytes = 64 << 10

    private enum Kind {
        case none
        case fixed(Setting<String>)
        case file(String, SettingOrigin)
    }

    private struct Read {
        var status: FileStatus?
        var token: String?
    }

    private let kind: Kind
    private let read = Mutex(Read())
    /// Why a token that is configured does not go to this server; nil where none was held back.
    let withheld: String?

    init(for address: ServerAddress, settings: Settings) throws {
        let environment = settings.environment
        let owner = try environment["CAS_SERVER"].map { try ServerAddress($0) }
        var withheld: String?
        var kind: Kind?
        for variable in ["CAS_TOKEN", "CAS_TOKEN_FILE"] {
            guard kind == nil, let value = environment[variable] else { continue }
            guard owner?.authority == address.authority else {
                withheld =
                    "\(variable) belongs to the host of CAS_SERVER"
                    + (owner.map { " (\($0.authority))" } ?? ", which is not set")
                    + " and was not sent to \(address.authority)"
                continue
            }
            kind =
                variable == "CAS_TOKEN"
                ? .fixed(Setting(value, .environment(variable)))
                : .file(value, .environment(variable))
        }
        if kind == nil {
            let credentials = try Credentials(path: settings.directories.credentialsFile)
            kind = credentials.token(for: address.authority).map {
                .fixed(Setting($0, .userFile(credentials.path)))
            }
        }
        self.kind = kind ?? .none
        self.withheld = kind == nil ? withheld : nil
    }

    /// A token that the user just gave.
    init(fixed token: String) {
        kind = .fixed(Setting(token, .builtIn))
        withheld = nil
    }

    /// Where the token comes from; nil where there is none.
    var origin: SettingOrigin? {
        switch kind {
        case .none: nil
        case .fixed(let setting): setting.origin
        case .file(_, let origin): origin
        }
    }

    /// The token now; a file is read again when it has changed, as mounted secrets do.
    func token() throws -> String? {
        switch kind {
        case .none: return nil
        case .fixed(let setting): return try TokenSource.check(setting.value, setting.origin.text)
        case .file(let path, let origin):
            return try read.withLock { read in
                let status = try DiskFileSystem().status(path)
                guard let status else {
                    throw CASError(
                        .notFound, "\(path), which \(origin.text) names, does not exist")
                }
                if let token = read.token, let old = read.status, old.isSameContent(as: status) {
                    return token
                }
                let bytes =
                    try DiskFileSystem().read(path, maximumBytes: TokenSource.maximumBytes) ?? []
                let token = try TokenSource.check(String(decoding: bytes, as: UTF8.self), path)
                read = Read(status: status, token: token)
                return token
            }
        }
    }

    /// A token without blanks around it; it becomes part of a header, so nothing but visible ASCII.
    static func check(_ text: String, _ source: String) throws -> String {
        let token = text.split { $0.isWhitespace }.joined(separator: " ")
        guard !token.isEmpty, token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw CASError(
                .invalidArgument, "\(source) holds no token",
                hint: "a token looks like cas_…_…; 'cas token create' makes one")
        }
        return token
    }
}
