import CASFileSystem
import CASWorkspace
import Synchronization

/// How large the workspace is that is being pushed, for a store that has quotas.
final class PushSize: Sendable {
    private let options: PushOptions
    private let cache: StatCache?
    private let scanned = Mutex<UInt64?>(nil)

    init(_ options: PushOptions, _ cache: StatCache?) {
        self.options = options
        self.cache = cache
    }

    /// Sets what the scan of the push found.
    func set(_ bytes: UInt64) { scanned.withLock { $0 = bytes } }

    /// Bytes of all files.
    ///
    /// The scan of the push waits for those who read the files, and they ask before they send the first: where it
    /// has not ended yet, another one lists the directories beforehand.
    func bytes() throws -> UInt64 {
        if let bytes = scanned.withLock({ $0 }) { return bytes }
        var scan = options.scan
        scan.onDirectory = nil
        return try WorkspaceScan.run(root: options.directory, options: scan, cache: cache) { _ in
        }.totalBytes
    }
}
