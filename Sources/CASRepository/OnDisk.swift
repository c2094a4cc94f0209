import CASCatalog
import CASChunking
package import CASCore
import CASFileSystem
import CASStorage

/// The directory of a store on a disk: `format`, `active/` with the packs that are written, `packs/` with
/// the sealed ones, `catalog.sqlite` (Store.md).
package enum StoreLocation {
    private static let formatName = "format"
    private static let formatLine = "cas store 1"
    private static let activeName = "active"
    private static let packsName = "packs"
    private static let catalogName = "catalog.sqlite"

    /// Whether a directory holds a store.
    package static func exists(_ directory: String) throws -> Bool {
        try DiskFileSystem().size("\(directory)/\(formatName)") != nil
    }

    /// Opens the store in a directory; with `create`, makes one where there is none.
    ///
    /// Throws `notFound` without a store, `failedPrecondition` for a directory that holds other things or
    /// a store of a newer format, `dataLoss` for a damaged catalog (cas rebuild-index mends it).
    package static func open(
        directory: String, create: Bool, limits: Limits = .standard
    ) throws -> Repository {
        let fileSystem = DiskFileSystem()
        let isNew = try prepare(directory, create: create, fileSystem)
        let catalog = try SQLiteCatalog(path: "\(directory)/\(catalogName)", create: isNew)
        do {
            let repository = try Repository.open(
                configuration(directory, limits), fileSystem: fileSystem,
                objects: try objects(directory, fileSystem), catalog: catalog,
                clock: SystemClock())
            // Written last: a store whose creation was interrupted is created again.
            if isNew { try writeFormat(directory, fileSystem) }
            return repository
        } catch {
            try? catalog.close()
            throw error
        }
    }

    /// Makes a new catalog from the packs and puts the old one aside under another name.
    package static func rebuildIndex(
        directory: String, limits: Limits = .standard
    ) throws -> (report: RebuildReport, oldCatalog: String?) {
        let fileSystem = DiskFileSystem()
        _ = try prepare(directory, create: false, fileSystem)
        let path = "\(directory)/\(catalogName)"
        var aside: String?
        let name = "\(path).before-\(SystemClock().now().seconds)"
        for suffix in SQLiteCatalog.fileSuffixes where try fileSystem.size(path + suffix) != nil {
            try fileSystem.rename(path + suffix, to: name + suffix)
            aside = name
        }
        try fileSystem.synchronizeDirectory(directory)
        let catalog = try SQLiteCatalog(path: path, create: true)
        let result = try Repository.rebuildIndex(
            configuration(directory, limits), fileSystem: fileSystem,
            objects: try objects(directory, fileSystem), catalog: catalog, clock: SystemClock())
        try result.repository.close()
        return (result.report, aside)
    }

    private static func configuration(
        _ directory: String, _ limits: Limits
    ) -> RepositoryConfiguration {
        var configuration = RepositoryConfiguration(
            activeDirectory: "\(directory)/\(activeName)")
        configuration.limits = limits
        return configuration
    }

    private static func objects(
        _ directory: String, _ fileSystem: DiskFileSystem
    ) throws -> any ObjectBackend {
        RetryingBackend(
            try DirectoryBackend(directory: "\(directory)/\(packsName)", fileSystem: fileSystem))
    }

    /// Checks the directory and its format; true where a store is to be made.
    private static func prepare(
        _ directory: String, create: Bool, _ fileSystem: DiskFileSystem
    ) throws -> Bool {
        let format = "\(directory)/\(formatName)"
        if let bytes = try fileSystem.read(format, maximumBytes: 4096) {
            let line = String(decoding: bytes, as: UTF8.self).prefix { $0 != "\n" }
            guard line == formatLine else {
                throw CASError(
                    .failedPrecondition,
                    "the store has a format ('\(line)') that this version of cas does not know",
                    hint: "use the newest cas", path: directory)
            }
            return false
        }
        guard create else {
            throw CASError(
                .notFound, "there is no store", hint: "cas push and cas serve create one",
                path: directory)
        }
        try fileSystem.createDirectory(directory)
        let ours = [activeName, packsName, catalogName, "\(formatName).new", "lost+found"]
        let foreign = try fileSystem.list(directory).filter { name in
            !ours.contains { name.hasPrefix($0) }
        }
        guard foreign.isEmpty else {
            throw CASError(
                .failedPrecondition,
                "the directory holds other things ('\(foreign[0])') and no store",
                hint: "name an empty directory, or one that is not there yet", path: directory)
        }
        return true
    }

    private static func writeFormat(_ directory: String, _ fileSystem: DiskFileSystem) throws {
        try fileSystem.replace("\(directory)/\(formatName)", Array("\(formatLine)\n".utf8))
    }
}
