package import CASCore
package import CASWire
package import CASWorkspace

/// What a push is asked for.
package struct PushOptions: Sendable {
    /// The workspace.
    package var directory: String
    /// The ref to move.
    package var ref: RefName
    /// Which files to take.
    package var scan = ScanOptions()
    /// Where the stat cache of this workspace lies; nil for none.
    package var cachePath: String?
    /// What the ref has to name now.
    package var precondition = Precondition.any
    /// Where the push comes from; its time is set by the push.
    package var provenance = Provenance()
    /// Seconds after which the ref may go away, renewed by fetches; zero for never.
    package var lifetime: UInt64 = 0
    /// What the image is to be like that the snapshot is; nil for what the ref says now.
    package var imageOptions: String?
    /// New bytes beyond which the push stops.
    package var newBytesLimit: UInt64 = 2 << 30
    /// Whether to find out what would be sent and send nothing.
    package var isDryRun = false
    /// Threads that read, hash and send.
    package var workers: Int
    /// Limits on trees and requests.
    package var limits = Limits.standard

    /// A push of a directory to a ref, everything else as usual.
    package init(directory: String, ref: RefName, workers: Int) {
        self.directory = directory
        self.ref = ref
        self.workers = max(1, min(workers, 16))
    }
}

/// What a push did.
package struct PushSummary: Sendable {
    /// A file that the store lacked.
    package struct NewFile: Sendable {
        /// Its path below the workspace.
        package let path: [UInt8]
        /// Its bytes.
        package let size: UInt64
    }
    /// What the store answered; nil for a dry run.
    package var response: PushResponse?
    /// The snapshot of the workspace.
    package var snapshot: Digest
    /// Its tree.
    package var tree: Digest
    /// Files in it.
    package var files: UInt64
    /// Bytes of these files.
    package var bytes: UInt64
    /// Files and chunks that the store lacked.
    package var newFiles: UInt64
    /// Bytes that the store lacked, uncompressed.
    package var newBytes: UInt64
    /// Bytes sent, or written to a local store.
    package var sentBytes: UInt64
    /// The largest files that had something new.
    package var largestNew: [NewFile]
    /// Files that went away while they were read.
    package var vanished: [[UInt8]]
    /// Everything else that the scan has to say.
    package var scan: ScannedTree
}
