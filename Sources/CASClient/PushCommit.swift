import CASCompression
import CASCore
import CASFileSystem
import CASPack
import CASTree
import CASWire
import CASWorkspace

/// The messages of a push, and its commit.
extension PushRun {
    func knownMessages(
        _ tree: AssembledTree, _ base: StatCache.Acknowledged?
    ) -> KnownMessages? {
        guard let base, base.snapshot != tree.snapshotDigest, let path = options.cachePath else {
            return nil
        }
        return KnownMessages(path: "\(path).messages", snapshot: base.snapshot)
    }

    /// Adds the messages that the store does not have, and the snapshot, to what will be committed.
    func addMessages(_ tree: AssembledTree, _ known: KnownMessages?) throws {
        if let base = known {
            try send(tree) { !base.contains($0) }
        } else if cache?.acknowledged.values.contains(where: { $0.snapshot == tree.snapshotDigest })
            != true
        {
            try sendMissing(tree)
        }
    }

    /// Sends all messages that the store says it lacks.
    private func sendMissing(_ tree: AssembledTree) throws {
        let total = tree.directories.reduce(UInt64(0)) {
            $0 + $1.directory.size + $1.attributes.size
        }
        if total <= UInt64(options.limits.unaskedBytes / 8) { return try send(tree) { _ in true } }
        let digests = Array(
            Set(tree.directories.flatMap { [$0.directory.digest, $0.attributes.digest] }))
        var missing: Set<Digest> = []
        for start in stride(from: 0, to: digests.count, by: options.limits.digestsPerRequest) {
            let end = min(start + options.limits.digestsPerRequest, digests.count)
            let batch = Array(digests[start..<end])
            for (digest, isMissing) in zip(
                batch, try connection.missing(batch, push: context.pushID)) where isMissing
            {
                missing.insert(digest)
            }
        }
        try send(tree) { missing.contains($0) }
    }

    /// Sends the wanted messages and the snapshot: with the commit if there is room, else before it.
    private func send(_ tree: AssembledTree, _ isWanted: (Digest) -> Bool) throws {
        let compressor = try Compressor()
        let records = ReusableBuffer(capacity: 1 << 20)
        var sent: Set<Digest> = []
        let stream = nextStream
        nextStream += 1
        func add(_ kind: RecordKind, _ digest: Digest, _ bytes: [UInt8]) throws {
            guard sent.insert(digest).inserted else { return }
            try RecordCoding.appendFrame(
                kind: kind, digest: digest, rawLength: bytes.count, to: records
            ) { output in try bytes.withUnsafeBytes { try compressor.encode($0, into: output) } }
            guard records.count >= 4 << 20 else { return }
            try context.upload(records, stream: stream)
            records.removeAll()
        }
        for directory in tree.directories {
            let needsDirectory = isWanted(directory.directory.digest)
            let needsAttributes = isWanted(directory.attributes.digest)
            guard needsDirectory || needsAttributes else { continue }
            let bytes = try directory.encode()
            if needsDirectory { try add(.directory, directory.directory.digest, bytes.directory) }
            if needsAttributes {
                try add(.attributes, directory.attributes.digest, bytes.attributes)
            }
        }
        try add(.snapshot, tree.snapshotDigest, tree.snapshotBytes)
        guard !context.reserveInCommit(records.count) else { return context.addToCommit(records) }
        try context.upload(records, stream: stream)
    }

    func commit(
        _ scanned: ScannedTree, _ tree: AssembledTree, base: Digest?
    ) throws -> PushResponse {
        var provenance = options.provenance
        provenance.time = SystemClock().now()
        let request = PushRequest(
            pushID: context.pushID, ref: options.ref, snapshot: tree.snapshotDigest, base: base,
            precondition: options.precondition, provenance: provenance,
            lifetime: options.lifetime, imageOptions: options.imageOptions)
        var lastMissing: [Digest] = []
        var fruitless = 0
        for _ in 0..<Push.roundLimit {
            if context.commitRecords.count > Push.smallCommitBytes { try context.requireRoom() }
            counters.add(transferred: UInt64(context.commitRecords.count))
            let response = try connection.commit(request, records: context.commitRecords)
            switch response.outcome {
            case .done, .unchanged: return response
            case .conflict:
                throw options.precondition.failure(options.ref, present: response.previous)
            case .missing:
                // More may come to light with what was sent, and a store that was killed forgets what
                // came before the commit; but not again and again.
                fruitless = response.missing == lastMissing ? fruitless + 1 : 0
                guard fruitless < Push.fruitlessRounds else {
                    throw CASError(
                        .dataLoss, "the store goes on lacking what was sent to it",
                        hint: "run cas doctor on the server", digest: response.missing.first)
                }
                lastMissing = response.missing
                context.resetCommit()
                context.forgetClaims()
                let missing = Set(response.missing)
                try send(missing, scanned)
                // A missing directory hides what is missing below it: the store is asked for all.
                try sendMissing(tree)
                if response.missingCount > UInt64(response.missing.count) {
                    try sendUnknownFiles(scanned)
                }
            }
        }
        throw CASError(
            .unavailable, "the store asked for more too many times", hint: "push again")
    }
}
