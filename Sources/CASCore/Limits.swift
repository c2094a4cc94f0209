/// Every limit on what others may send or make us expand, in one place.
package struct Limits: Sendable {
    /// Bytes of a request body at most; larger transfers take several requests.
    package var requestBytes = 32 << 20
    /// Bytes of the body of a request about one ref, plan or token at most; needs no other memory.
    package var smallRequestBytes = 128 << 10
    /// Nanoseconds without a byte after which a body that is on its way is given up.
    package var bodyStallNanoseconds: UInt64 = 30 * 1_000_000_000
    /// Bytes of a body that have to come in a second, after twice that time.
    package var bodyBytesPerSecond = 4096
    /// Nanoseconds after which a client that takes no byte of its answer is given up.
    package var answerStallNanoseconds: UInt64 = 60 * 1_000_000_000
    /// Bytes of all pieces of answers that clients did not take yet at most.
    package var answerBytes = 128 << 20
    /// Bytes of new data a push sends along without asking first.
    package var unaskedBytes = 4 << 20
    /// Digests in one existence question at most.
    package var digestsPerRequest = 100_000
    /// Bytes of chunks that the records of one request may refer to and have hashed.
    package var referredBytesPerRequest: UInt64 = 4 << 30
    /// Missing digests named in one answer at most.
    package var missingPerAnswer = 10_000
    /// Raw bytes of one record at most (the largest chunk is four times the average).
    package var recordRawBytes = 16 << 20
    /// Stored bytes of one record at most.
    package var recordStoredBytes = 17 << 20
    /// Bytes of one encoded Directory message at most (300,000 entries with names of 30 bytes).
    package var directoryBytes = 32 << 20
    /// Entries of one directory at most.
    package var directoryEntries = 1_000_000
    /// Levels of directories at most.
    package var treeDepth = 2_048
    /// Files, directories and symbolic links of one tree at most.
    package var treeEntries: UInt64 = 20_000_000
    /// Logical bytes of one tree at most (64 TiB).
    package var treeBytes: UInt64 = 64 << 40
    /// Bytes of a symbolic link's target at most.
    package var symlinkTargetBytes = 4_095
    /// Bytes of one name at most.
    package var nameBytes = 255
    /// Terms of one ChunkList at most.
    package var chunkListTerms = 2_000_000
    /// Inline bytes of one ChunkList term at most.
    package var chunkListInlineBytes = 4_096
    /// Refs or history entries in one answer at most.
    package var listingEntries = 1_000
    /// Findings in what is told of long work at most.
    package var findings = 10_000
    /// Blobs that one transaction takes out of use, or removes for good, at most.
    package var removedPerTransaction = 4_000
    /// Rows of the catalog that are looked at in one view at most, where many have to be.
    package var lookedAtPerStep = 50_000
    /// Refs that one commit moves at most; each may be looked up among all refs of a quota.
    package var refsPerCommit = 256
    /// Upload streams of one push at most.
    package var streamsPerPush = 64
    /// Pushes in progress at once at most.
    package var concurrentPushes = 256
    /// Nanoseconds after its first request at which a push is refused: what it was told to be here keeps
    /// collection from deleting.
    package var pushNanoseconds: UInt64 = 24 * 60 * 60 * 1_000_000_000
    /// Idle nanoseconds after which a push in progress is forgotten.
    package var pushIdleNanoseconds: UInt64 = 15 * 60 * 1_000_000_000
    /// Bytes of one manifest of an image at most.
    package var manifestBytes = 4 << 20
    /// Tags that one manifest is put under at once at most.
    package var tagsPerManifest = 64
    /// Manifests that one request names at most: an index, those below it, and what is about them.
    package var imageManifests = 10_000
    /// Bytes of all manifests of images that one commit brings.
    package var broughtManifestBytes = 64 << 20
    /// Manifests and blobs of one image at most, with all below it.
    package var imageParts = 100_000
    /// Manifests and blobs that are looked up in one commit at most, to know how large images are.
    package var imagePartsPerCommit = 1_000_000
    /// Names that what one ref stands for lies in at most: its own, and those of images below it.
    package var imagesPerRef = 16
    /// Uploads to repositories of images at once at most, resting ones too.
    package var concurrentUploads = 10_000
    /// Uploads to one of these repositories at once at most.
    package var uploadsPerName = 2_000
    /// Wrong digests that one upload may be closed with, each of which costs reading it, before it is given up.
    package var wrongDigestsPerUpload = 3
    /// Bytes of one blob of an image at most (1 TiB).
    package var imageBlobBytes: UInt64 = 1 << 40
    /// Seconds after which an upload is forgotten that nobody goes on with.
    package var uploadSeconds: UInt64 = 24 * 60 * 60
    /// Chunks of one blob of an image at most: what its list takes in one record.
    package var imageBlobTerms = 800_000
    /// Seconds for which a blob stays that was linked and that no manifest names yet.
    package var linkSeconds: UInt64 = 24 * 60 * 60

    /// Bytes of manifests that are read for one page of what refers to another one at most.
    package var referrersReadBytes = 64 << 20
    /// Seconds for which a token holds that the registry issues to who showed credentials.
    package var registryTokenSeconds: Int64 = 300

    /// The limits in force everywhere but in tests.
    package static let standard = Limits()

    /// Standard limits, to be tightened by a test.
    package init() {}
}
