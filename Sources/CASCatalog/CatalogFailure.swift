import CASCore

/// Errors that both catalogs throw alike.
enum CatalogFailure {
    /// The hint of every error that a new index mends.
    static let rebuildHint = "cas rebuild-index makes a new catalog from the packs; nothing is lost"

    static func duplicatePack(_ identifier: Identifier) -> CASError {
        CASError(.alreadyExists, "pack \(identifier) is in the catalog already")
    }

    static func unknownPack(_ number: Int64) -> CASError {
        CASError(.internalError, "the catalog has no pack with number \(number)")
    }
}

extension Domain {
    /// Refuses domains other than the one there is, where the index does not yet keep them apart.
    func requireStandard() throws {
        guard self == .standard else {
            throw CASError(.unimplemented, "this catalog holds a single domain")
        }
    }
}
