import CASCatalog
import CASChunking
package import CASCore
package import CASFileSystem
import CASStorage
import Synchronization

/// The directory of a store on a disk: `format`, `active/` with the packs that are written, `packs/` with
/// the sealed ones, `catalog.sqlite` (Store.md).
package enum StoreLocation {
    private static let formatName = "format"
    private static let formatLine = "cas store 3"
    /// Stores that this program brings to its own format in place.
    private static let olderLines = ["cas store 1", "cas store 2"]
    private static let activeName = "active"
    private static let packsName = "packs"
    private static let catalogName = "catalog.sqlite"
    private static let lockName = "lock"
    private static let reserveName = "reserve"

    /// Whether a directory holds a store.
    package static func exists(_ directory: String) throws -> Bool {
        try DiskFileSystem().size("\(directory)/\(formatName)") != nil
    }

    /// Opens the store in a directory; with `create`, makes one where there is none.
    ///
    /// Throws `notFound` without a store, `failedPrecondition` for a directory that holds other things or
    /// a store of a newer format, `dataLoss` for a damaged catalog (cas rebuild-index mends it).
    package static func open(
        directory: String, create: Bool, limits: Limits = .standard,
        protectedSeconds: UInt64? = nil
    ) throws -> Repository {
        let fileSystem = DiskFileSystem()
        let isNew = try prepare(directory, create: create, fileSystem)
        guard let use = try FileLock(path: "\(directory)/\(lockName)", isShared: true) else {
            throw CASError(
                .unavailable, "the index of the store is being made anew",
                hint: "wait until cas rebuild-index has ended", path: directory)
        }
        var configuration = configuration(directory, limits)
        if let protectedSeconds { configuration.protectedSeconds = protectedSeconds }
        let repository = try openCatalog(directory, configuration, create: isNew, fileSystem)
        repository.use.withLock { $0 = use }
        // Written last: a store whose creation was interrupted is created again.
        if isNew { try writeFormat(directory, fileSystem) }
        return repository
    }

    /// Opens catalog and packs, on a full disk with the space that was kept for making room.
    private static func openCatalog(
        _ directory: String, _ configuration: RepositoryConfiguration, create: Bool,
        _ fileSystem: DiskFileSystem
    ) throws -> Repository {
        func attempt() throws -> Repository {
            let path = "\(directory)/\(catalogName)"
            let catalog = try SQLiteCatalog(path: path, create: create)
            do {
                // While there is room for that: a log that its process did not live to copy may be most of what
                // a small disk holds.
                let logBytes = try fileSystem.size(path + "-wal") ?? 0
                if try fileSystem.freeBytes(directory) < 2 * logBytes { try catalog.erase() }
                return try Repository.open(
                    configuration, fileSystem: fileSystem,
                    objects: try objects(directory, fileSystem), catalog: catalog,
                    clock: SystemClock())
            } catch {
                try? catalog.close()
                throw error
            }
        }
        do {
            return try attempt()
        } catch let error as CASError where error.code == .resourceExhausted {
            // SQLite needs some pages to open anything, and recovery some to put right what was cut off.
            let reserve = "\(directory)/\(reserveName)"
            if try fileSystem.size(reserve) != nil { try fileSystem.remove(reserve) }
            do {
                let repository = try attempt()
                repository.reserveWasGivenUp()
                return repository
            } catch let error as CASError where error.code == .resourceExhausted {
                throw CASError(
                    .resourceExhausted, "the store's disk is full: opening it needs some room",
                    hint: "free some megabytes on the volume, or enlarge it; no reserve is left",
                    cause: error, path: directory)
            }
        }
    }

    /// Says that this process serves the store in a directory, as long as the result is held.
    ///
    /// Throws `failedPrecondition` if another process does, on this machine or, where the file system
    /// passes locks on, on another one. The kernel ends the lock with its process.
    package static func lockForServing(directory: String) throws -> FileLock {
        let lock: FileLock? = try FileLock(path: "\(directory)/\(lockName).server")
        guard let lock else {
            throw CASError(
                .failedPrecondition, "another server uses this store",
                hint: "a store is served by one at a time: stop the other, or give this one a "
                    + "directory of its own with --store", path: directory)
        }
        return lock
    }

    /// Makes a new catalog from the packs and puts the old one aside under another name.
    package static func rebuildIndex(
        directory: String, limits: Limits = .standard
    ) throws -> (report: RebuildReport, oldCatalog: String?) {
        let fileSystem = DiskFileSystem()
        _ = try prepare(directory, create: false, fileSystem)
        // Whoever still wrote into the old catalog would write into the void.
        guard let alone = try FileLock(path: "\(directory)/\(lockName)") else {
            throw CASError(
                .failedPrecondition, "somebody is using the store",
                hint: "stop cas serve and every push first", path: directory)
        }
        defer { withExtendedLifetime(alone) {} }
        let path = "\(directory)/\(catalogName)"
        // The old one stays in its place until the new one is whole.
        let new = "\(path).new"
        for suffix in SQLiteCatalog.fileSuffixes where try fileSystem.size(new + suffix) != nil {
            try fileSystem.remove(new + suffix)
        }
        let catalog = try SQLiteCatalog(path: new, create: true)
        let result = try Repository.rebuildIndex(
            configuration(directory, limits), fileSystem: fileSystem,
            objects: try objects(directory, fileSystem), catalog: catalog, clock: SystemClock())
        try result.repository.close()
        let aside = "\(path).before-\(SystemClock().now().seconds)"
        let hadOld = try move(path, to: aside, fileSystem)
        _ = try move(new, to: path, fileSystem)
        try fileSystem.synchronizeDirectory(directory)
        return (result.report, hadOld ? aside : nil)
    }

    /// Renames the files of a catalog; false if there is none.
    private static func move(
        _ old: String, to new: String, _ fileSystem: DiskFileSystem
    ) throws -> Bool {
        var isThere = false
        for suffix in SQLiteCatalog.fileSuffixes where try fileSystem.size(old + suffix) != nil {
            try fileSystem.rename(old + suffix, to: new + suffix)
            isThere = true
        }
        return isThere
    }

    private static func configuration(
        _ directory: String, _ limits: Limits
    ) -> RepositoryConfiguration {
        var configuration = RepositoryConfiguration(
            activeDirectory: "\(directory)/\(activeName)")
        configuration.limits = limits
        configuration.lockForCollection = {
            guard let lock = try FileLock(path: "\(directory)/\(lockName).collect") else {
                throw CASError(
                    .failedPrecondition, "this store is being collected by somebody else",
                    hint: "wait until that is done, or ask the server: cas gc --server URL",
                    path: directory)
            }
            return lock
        }
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
            if olderLines.contains(String(line)) {
                // First of all: an older program must not touch what a newer one wrote into. One that has
                // the store open would not look at the line again.
                guard let alone = try FileLock(path: "\(directory)/\(lockName)") else {
                    throw CASError(
                        .failedPrecondition, "somebody is using the store with an older cas",
                        hint:
                            "stop cas serve and every push first: this version changes its format",
                        path: directory)
                }
                defer { withExtendedLifetime(alone) {} }
                try writeFormat(directory, fileSystem)
                return false
            }
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
        let ours = [
            activeName, packsName, catalogName, lockName, reserveName, "\(formatName).new",
            "lost+found",
        ]
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
