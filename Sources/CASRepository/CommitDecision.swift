import CASCatalog
import CASCore
import CASTree
package import CASWire

/// What a commit does with the refs that it names: all of what is asked for, or nothing.
///
/// Everything that can forbid a move is looked at before the first one is made: a transaction serves others
/// too and can not be taken back.
struct CommitDecision {
    /// What is to be done about one ref.
    private enum Step {
        /// It names this content already; its end and its image options may be others.
        case keep(PushRequest, RefEntry, tree: Digest, expires: Timestamp?)
        case move(PushRequest, RefEntry?, Content, expires: Timestamp?)
    }
    /// What a ref is to name.
    private enum Content {
        case snapshot(Snapshot)
        case image(TreeTotals)

        var totals: TreeTotals {
            switch self {
            case .snapshot(let snapshot): snapshot.totals
            case .image(let totals): totals
            }
        }

        var tree: Digest? {
            switch self {
            case .snapshot(let snapshot): snapshot.tree.digest
            case .image: nil
            }
        }
    }
    private let repository: Repository
    private let context: CommitContext
    /// The images of all requests.
    private let brought: BroughtImages
    private let sums: ImageSums
    private let domain: Domain

    init(
        _ repository: Repository, _ context: CommitContext, _ brought: BroughtImages,
        _ domain: Domain
    ) {
        self.brought = brought
        self.repository = repository
        self.context = context
        self.domain = domain
        sums = ImageSums(repository, context.transaction, domain, bringing: brought)
    }

    private var transaction: any CatalogTransaction { context.transaction }

    /// A request with its image options in their one form; throws `invalidArgument` for one that contradicts
    /// itself.
    static func checked(_ request: PushRequest, _ limits: Limits) throws -> PushRequest {
        let requests = request.all
        guard requests.count <= limits.refsPerCommit else {
            throw CASError(
                .resourceExhausted,
                "a commit moves at most \(limits.refsPerCommit) refs, not \(requests.count)")
        }
        for request in requests {
            try RefLifetime.check(request.lifetime)
            guard request.kind == .snapshot || request.imageOptions?.isEmpty ?? true else {
                throw CASError(
                    .invalidArgument,
                    "image options are about snapshots, and '\(request.ref)' is "
                        + "to name an image")
            }
        }
        guard Set(requests.map(\.ref)).count == requests.count,
            Set(requests.map(\.pushID)).count == requests.count
        else { throw CASError(.invalidArgument, "a commit names a ref twice") }
        func normal(_ options: String?) throws -> String? {
            try options.map { try SnapshotImageOptions($0).text }
        }
        var checked = request
        checked.imageOptions = try normal(request.imageOptions)
        for index in checked.others.indices {
            checked.others[index].imageOptions = try normal(checked.others[index].imageOptions)
        }
        return checked
    }

    /// Moves the refs, or says why none of them moves.
    func decide(_ request: PushRequest) throws -> PushResponse {
        let requests = request.all
        let known = try requests.map { try transaction.push($0.pushID, domain: domain) }
        let present = try requests.map { try transaction.ref($0.ref, domain: domain) }
        if known.contains(where: { $0 != nil }) {
            // It was carried out, all of it; what did not have to move then left no answer.
            return combined(
                zip(requests, zip(known, present)).map { request, found in
                    found.0 ?? .answer(request, .unchanged, found.1, tree: found.1?.tree)
                })
        }
        for (request, present) in zip(requests, present)
        where !request.precondition.holds(present) {
            var response = PushResponse.answer(request, .conflict, present, tree: nil)
            if requests.count > 1 { response.ref = request.ref }
            return response
        }
        let (contents, missing) = try contents(of: requests)
        guard missing.count == 0 else {
            var response = PushResponse.answer(request, .missing, present[0], tree: nil)
            response.missing = missing.digests
            response.missingCount = missing.count
            return response
        }
        let steps = try zip(zip(requests, present), contents).map {
            try step($0.0, $0.1, $1)
        }
        let links = try links(for: requests)
        try admit(steps)
        if let links {
            try links.requireRoom(
                try RuleSet(try transaction.rules(domain: domain)), transaction)
            try links.make(context)
        }
        for request in requests {
            try Repository.keepBase(of: request.imageOptions, transaction, domain)
        }
        return combined(try steps.map(carryOut))
    }

    /// What is to be linked; nil where no images are brought.
    private func links(for requests: [PushRequest]) throws -> BroughtLinks? {
        guard !brought.isEmpty else { return nil }
        let tagged = requests.filter { $0.kind == .manifest }.map {
            NamedDigest(name: $0.ref.name, digest: $0.snapshot)
        }
        return try BroughtLinks(
            brought, tagging: Set(tagged), sums, repository, transaction, domain)
    }

    private func combined(_ responses: [PushResponse]) -> PushResponse {
        var response = responses[0]
        response.others = Array(responses.dropFirst())
        return response
    }

    /// What refs are to name, and the first of what is not here of all of it.
    private func contents(
        of requests: [PushRequest]
    ) throws -> (contents: [Content], missing: (digests: [Digest], count: UInt64)) {
        var contents: [Content] = []
        var digests: [Digest] = []
        var count: UInt64 = 0
        func add(_ missing: (digests: [Digest], count: UInt64)) throws {
            for case (let digest, .some(let reason)) in zip(
                missing.digests, try transaction.purged(missing.digests, domain: domain))
            {
                throw Repository.wasPurged(digest, reason, isBrought: true)
            }
            let room = max(0, repository.limits.missingPerAnswer - digests.count)
            digests += missing.digests.prefix(room)
            count += missing.count
        }
        let lacking = try repository.lacking(brought, transaction, domain)
        try add((lacking, UInt64(lacking.count)))
        for request in requests {
            // An image of which something lacks is looked at once that is here.
            if request.kind == .manifest, !lacking.isEmpty { continue }
            let (content, missing) = try content(of: request)
            if let content, missing.count == 0 {
                contents.append(content)
            } else {
                try add(missing)
            }
        }
        return (contents, (digests, count))
    }

    /// What one ref is to name; nil, or what is missing, where that is not here.
    private func content(
        of request: PushRequest
    ) throws -> (content: Content?, missing: (digests: [Digest], count: UInt64)) {
        guard request.kind == .manifest else {
            var completeness = Completeness(context, domain: domain, limits: repository.limits)
            let (snapshot, missing) = try completeness.check(request.snapshot)
            return (snapshot.map { .snapshot($0) }, (missing.digests, missing.count))
        }
        let name = request.ref.name
        let put = brought.manifest(name, request.snapshot)
        // The image that a snapshot is has no link: a ref that named it by itself would outlive what the name has
        // of it.
        guard
            try put != nil
                || transaction.link(name, request.snapshot, .manifest, domain: domain) != nil,
            try repository.revive(request.snapshot, transaction, domain)
        else { return (nil, ([request.snapshot], 1)) }
        let totals = try sums.totals(
            name, request.snapshot,
            bytes: try repository.blobSize(request.snapshot, transaction, domain) ?? 0,
            parts: put?.reached ?? transaction.parts(of: request.snapshot, domain: domain) ?? [])
        // Of one that is not brought the store may have lost a part.
        let lost =
            put == nil
            ? try repository.lacking(inImage: request.snapshot, transaction, domain) : []
        guard lost.isEmpty else { return (nil, (lost, UInt64(lost.count))) }
        return (.image(totals), ([], 0))
    }

    private func step(
        _ request: PushRequest, _ present: RefEntry?, _ content: Content
    ) throws -> Step {
        let expires =
            request.lifetime == 0
            ? request.expires : RefLifetime.end(request.lifetime, from: repository.clock.now())
        guard case .snapshot(let snapshot) = content else {
            if let present, present.target == request.target {
                return .keep(request, present, tree: .zero, expires: expires)
            }
            return .move(request, present, content, expires: expires)
        }
        if let present, present.target.kind == .snapshot,
            let old = try storedSnapshot(present.target.digest),
            snapshot.isUnchanged(from: old),
            try isWhole(present.target.digest, request.snapshot)
        {
            return .keep(request, present, tree: old.tree.digest, expires: expires)
        }
        return .move(request, present, content, expires: expires)
    }

    /// Throws where a rule forbids one of the steps, given those before it.
    private func admit(_ steps: [Step]) throws {
        var rules: RuleSet?
        func known() throws -> RuleSet {
            let found = try rules ?? RuleSet(try transaction.rules(domain: domain))
            rules = found
            return found
        }
        var planned: [RefName: Repository.PlannedMove] = [:]
        for step in steps {
            switch step {
            case .keep(let request, let present, _, let expires):
                guard isRenewed(present, request, expires) else { continue }
                try Repository.requireLasting(request.ref, request.lifetime, try known())
            case .move(let request, let present, let content, _):
                try Repository.requireMovable(present, try known())
                try Repository.requireLasting(request.ref, request.lifetime, try known())
                try repository.requireRoom(
                    for: request.ref, request.snapshot, content.totals.bytes, try known(),
                    transaction, planned: planned, domain: domain)
                planned[request.ref] = (request.snapshot, content.totals.bytes)
            }
        }
    }

    /// Whether a ref that stays where it is gets another end, or other image options.
    private func isRenewed(
        _ present: RefEntry, _ request: PushRequest, _ expires: Timestamp?
    ) -> Bool {
        present.expires != expires || present.lifetime != request.lifetime
            || request.imageOptions ?? present.imageOptions != present.imageOptions
    }

    private func carryOut(_ step: Step) throws -> PushResponse {
        switch step {
        case .keep(let request, let present, let tree, let expires):
            if isRenewed(present, request, expires) {
                let entry = try Repository.setEnd(
                    present, expires, request.lifetime, imageOptions: request.imageOptions,
                    context, domain: domain)
                try repository.holdFromNow(entry, context, domain)
            }
            return .answer(request, .unchanged, present, tree: tree)
        case .move(let request, let present, let content, let expires):
            return try move(request, present, content, expires)
        }
    }

    private func move(
        _ request: PushRequest, _ present: RefEntry?, _ content: Content, _ expires: Timestamp?
    ) throws -> PushResponse {
        let now = repository.clock.now()
        let sequence = try transaction.nextSequence()
        let move = HistoryEntry(
            sequence: sequence, name: request.ref, previous: present?.target,
            target: request.target, provenance: request.provenance, pushID: request.pushID,
            recorded: now, imageOptions: present?.imageOptions ?? "")
        let entry = RefEntry(
            name: request.ref, target: request.target,
            tree: content.tree, totals: content.totals, sequence: sequence,
            moved: now, provenance: request.provenance,
            expires: expires, lifetime: request.lifetime,
            imageOptions: request.kind == .manifest
                ? "" : request.imageOptions ?? present?.imageOptions ?? "")
        try transaction.move(move, entry, domain: domain)
        context.record(.refMoved(move, entry, domain))
        try repository.holdFromNow(entry, context, domain)
        if request.kind == .manifest,
            var link = try transaction.link(
                request.ref.name, request.snapshot, .manifest, domain: domain)?.link,
            link.isRoot || link.loneBytes > 0
        {
            // The tag holds it, and it counts with that, from now on.
            link.loneBytes = 0
            try repository.hold(link, context, now, domain)
        }
        var response = PushResponse.answer(request, .done, present, tree: content.tree)
        response.sequence = sequence
        try transaction.insert(push: request.pushID, response, domain: domain)
        return response
    }

    /// Whether what a ref names is here whole, as far as it is not what was just found to be.
    ///
    /// Attributes that only it has may be lost: then the ref has to move for somebody to fetch it again.
    private func isWhole(_ present: Digest, _ pushed: Digest) throws -> Bool {
        if present == pushed { return true }
        var completeness = Completeness(context, domain: domain, limits: repository.limits)
        do {
            return try completeness.check(present).missing.count == 0
        } catch let error as CASError where error.code == .dataLoss {
            return false
        }
    }

    private func storedSnapshot(_ digest: Digest) throws -> Snapshot? {
        guard let location = try transaction.location(of: digest, domain: domain) else {
            return nil
        }
        do {
            return try Snapshot(decoding: try context.records.payload(digest, location))
        } catch let error as CASError where error.code == .dataLoss {
            // What the ref named is damaged: it is not unchanged, and the push must be able to heal it.
            return nil
        }
    }
}

extension PushRequest {
    /// It, and those that go with it.
    package var all: [PushRequest] { [self] + others }
}

extension PushResponse {
    /// The answer to a push of which nothing is missing.
    static func answer(
        _ request: PushRequest, _ outcome: Outcome, _ present: RefEntry?, tree: Digest?
    ) -> PushResponse {
        let isUnchanged = outcome == .unchanged
        return PushResponse(
            outcome: outcome,
            snapshot: isUnchanged ? present?.target.digest ?? request.snapshot : request.snapshot,
            tree: tree ?? .zero, previous: present?.target.digest,
            sequence: isUnchanged ? present?.sequence ?? 0 : 0, missing: [], missingCount: 0)
    }
}

extension Precondition {
    /// Whether a ref is where somebody expects it to be; a digest may be that of its tree too.
    func holds(_ present: RefEntry?) -> Bool {
        switch self {
        case .any: true
        case .absent: present == nil
        case .digest(let digest):
            present.map { $0.target.digest == digest || $0.tree == digest } ?? false
        }
    }
}
