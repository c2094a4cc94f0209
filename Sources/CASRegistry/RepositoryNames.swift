import CASCore
import CASRepository
import CASWire

/// Which names of repositories a caller may see, as pieces of the order of all names.
///
/// A list goes from piece to piece, so that what the caller may not see costs nothing, however much it is.
struct VisibleNames: Hashable, Sendable {
    /// A run of names.
    enum Piece: Hashable, Sendable {
        /// Every name there is.
        case all
        /// One name.
        case name(String)
        /// All names behind this beginning, which ends with a slash.
        case below(String)

        /// What sorts as its first name does, or in front of that.
        fileprivate var start: String {
            switch self {
            case .all: ""
            case .name(let name): name
            case .below(let beginning): beginning
            }
        }

        fileprivate func holds(_ name: String) -> Bool {
            switch self {
            case .all: true
            case .name(let own): name == own
            case .below(let beginning): name.hasPrefix(beginning)
            }
        }
    }

    /// Pieces without a name in common, in the order of their names.
    let pieces: [Piece]

    /// What these scopes allow to read.
    init(_ scopes: [TokenScope]) {
        let prefixes = Set(scopes.filter { $0.allowsSomewhere(.read) }.map(\.prefix))
        guard !prefixes.contains("") else {
            pieces = [.all]
            return
        }
        // What lies within another one says nothing more.
        let outer = prefixes.filter { prefix in
            !prefixes.contains { prefix.hasPrefix($0 + "/") }
        }
        pieces = outer.flatMap { [Piece.name($0), .below($0 + "/")] }.sorted {
            $0.start.utf8.lexicographicallyPrecedes($1.start.utf8)
        }
    }

    /// Names behind one, in the order of their bytes, at most as many as wanted.
    ///
    /// `names` gives existing names behind one; `exists` says whether there is one.
    func page(
        after last: String, limit: Int, names: (_ after: String, _ limit: Int) throws -> [String],
        exists: (String) throws -> Bool
    ) throws -> [String] {
        var found: [String] = []
        for piece in pieces where found.count < limit {
            if case .name(let name) = piece {
                if last.utf8.lexicographicallyPrecedes(name.utf8), try exists(name) {
                    found.append(name)
                }
                continue
            }
            // A piece may begin in front of what was asked for, or end there.
            var after =
                piece.start.utf8.lexicographicallyPrecedes(last.utf8) ? last : piece.start
            while found.count < limit {
                let page = try names(after, limit - found.count)
                found += page.prefix { piece.holds($0) }
                guard let end = page.last, piece.holds(end) else { break }
                after = end
            }
        }
        return found
    }
}
