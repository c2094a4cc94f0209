import CASCore
import CASFileSystem

/// `cas.yaml`, committed with the project.
///
/// A cloned repository must not redirect credentials, so it can name neither a server nor a token nor a command that `cas` runs by itself.
struct ProjectFile: Sendable {
    static let name = "cas.yaml"
    private static let known = [
        "to", "include", "exclude", "limit", "entry", "lock", "python", "platform", "job",
    ]
    private static let refused = [
        "server": "may not stand in a project file",
        "store": "may not stand in a project file",
        "token": "may not stand in a project file",
        "credentials": "may not stand in a project file",
        "command": "may not stand in a project file",
    ]

    let path: String
    let to: String?
    let includes: [String]
    let excludes: [String]
    let limit: UInt64?
    /// Keys that later commands use, kept as they stand for `cas config`.
    let others: [(key: String, text: String)]

    /// The nearest project file at or above a directory; nil where there is none.
    static func nearest(to directory: String) throws -> ProjectFile? {
        var place = directory
        while true {
            if let file = try SettingsFile(path: FilePaths.join(place, name)) {
                return try ProjectFile(file)
            }
            let parent = FilePaths.parent(place)
            guard parent != place, !parent.isEmpty, parent != "." else { return nil }
            place = parent
        }
    }

    /// The ref that `to` names; throws for anything else than a ref without a server.
    func ref(_ to: String) throws -> RefName {
        func fail(_ what: String) -> CASError {
            CASError(
                .invalidArgument, "\(path): 'to' is '\(printable(to))', but \(what)",
                hint: "write NAME[:TAG]; the server comes from CAS_SERVER, --server or your own "
                    + "config.yaml")
        }
        let reference: Reference
        do { reference = try Reference(to) } catch let error as CASError {
            throw fail("that is no ref: \(error.message)")
        }
        guard reference.host == nil, case .ref(let name) = reference.target else {
            throw fail("it must be NAME[:TAG] without a server")
        }
        return name
    }

    private init(_ file: SettingsFile) throws {
        try file.check(
            known: ProjectFile.known, refused: ProjectFile.refused,
            hint: "put it in your own config.yaml (see 'cas config') or in the environment")
        path = file.path
        to = try file.text("to")
        includes = try file.texts("include")
        excludes = try file.texts("exclude")
        limit = try file.bytes("limit")
        others = file.entries.compactMap { entry in
            guard ["entry", "lock", "python", "platform", "job"].contains(entry.key) else {
                return nil
            }
            guard case .scalar(let text) = entry.value else { return (entry.key, "…") }
            return (entry.key, text)
        }
    }
}
