import CASClient
import CASCore
import CASWire

/// A run: a ref with a time to live, whose tag bears the name of a submitted job (ops/decisions/0008).
///
/// It lies beside the ref that was pushed, and so has the rights of that name.
enum Runs {
    /// What the tags of runs begin with.
    static let tagPrefix = "run-"
    /// Seconds that a run lives after it was last fetched: 30 days.
    static let lifetimeSeconds: UInt64 = 30 * 86_400

    /// The ref of a run of this name.
    static func ref(of name: String, beside project: String) throws -> RefName {
        try RefName(name: project, tag: tagPrefix + name)
    }

    /// The name of the run that a ref is; nil for any other ref.
    static func name(of ref: RefName) -> String? {
        guard ref.tag.hasPrefix(tagPrefix), ref.tag.count > tagPrefix.count else { return nil }
        return String(ref.tag.dropFirst(tagPrefix.count))
    }

    /// All runs whose ref begins with a prefix, newest first.
    static func all(_ connection: any StoreConnection, prefix: String) throws -> [RefEntry] {
        var runs: [RefEntry] = []
        try connection.forEachRef(prefix: prefix) { entry in
            if name(of: entry.name) != nil { runs.append(entry) }
        }
        return runs.sorted { ($0.moved, $0.sequence) > ($1.moved, $1.sequence) }
    }

    /// The ref of the run that somebody means by its bare name; nil where there is none.
    static func find(_ name: String, _ connection: any StoreConnection) throws -> RefName? {
        let found = try all(connection, prefix: "").map(\.name).filter { self.name(of: $0) == name }
        guard found.count <= 1 else {
            throw CASError(
                .invalidArgument, "several runs are named '\(name)'",
                hint: "name one of them in full: "
                    + found.map(\.description).joined(separator: ", "))
        }
        return found.first
    }

    /// The reference that is meant: a name that is no ref may be that of a run.
    ///
    /// Costs a request only where `name` would not be found.
    static func resolve(
        _ reference: Reference, _ connection: any StoreConnection
    ) throws -> Reference? {
        guard case .ref(let ref) = reference.target, ref.tag == RefName.defaultTag,
            !ref.name.contains("/"), let run = try find(ref.name, connection)
        else { return nil }
        return Reference(host: reference.host, target: .ref(run))
    }

    /// Runs `body` with a reference and, where there is no such ref, with the run of that name.
    static func resolving<Result>(
        _ reference: Reference, _ connection: any StoreConnection,
        _ body: (Reference) throws -> Result
    ) throws -> Result {
        do { return try body(reference) } catch let error as CASError where error.code == .notFound
        {
            guard let run = try resolve(reference, connection) else { throw error }
            return try body(run)
        }
    }
}
