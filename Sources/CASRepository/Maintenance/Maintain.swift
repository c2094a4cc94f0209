package import CASCore
import CASFileSystem
package import CASWire

extension Repository {
    /// Starts long work, unless it was started under this identifier; how far it is.
    ///
    /// Throws `notFound` or `invalidArgument` where the request makes no sense.
    package func maintain(
        _ request: MaintenanceRequest, domain: Domain
    ) throws -> MaintenanceState {
        try maintenance.start(request.id, request.kind) { [self] in
            try task(request, domain: domain)
        }
    }

    /// The work that a request asks for.
    private func task(
        _ request: MaintenanceRequest, domain: Domain
    ) throws -> any MaintenanceTask {
        switch request.kind {
        case .collect:
            let use = try useOnceNobodyCollects()
            return Collector(self, isDryRun: request.isDryRun, use: use, domain: domain)
        case .purge:
            let use = try useOnceNobodyCollects()
            return try PurgeTask(self, request, use: use, domain: domain)
        case .why: return try RootSearch(self, try subject(request, domain), domain: domain)
        case .shares: return ImageShares(self, domain: domain)
        case .scrub: return scrub(isReport: request.isReport, domain: domain)
        }
    }

    /// The digest that a question is about; a ref stands for the tree or the image that it names.
    private func subject(_ request: MaintenanceRequest, _ domain: Domain) throws -> Digest {
        if let ref = request.ref {
            if let entry = try self.ref(ref, domain: domain), entry.target.kind == .manifest {
                return entry.target.digest
            }
            return try resolve(.ref(ref), domain: domain).tree
        }
        guard let digest = request.digest else {
            throw CASError(.invalidArgument, "a question needs a ref or a digest")
        }
        return digest
    }

    /// The right to do work that only one may do at a time, once the others are done.
    ///
    /// Waits only for that: what the work itself fails with is told at once.
    private func useOnceNobodyCollects() throws -> (any Sendable)? {
        let end = clock.monotonicNanoseconds() + Repository.collectionPatience
        while true {
            do {
                return try configuration.lockForCollection()
            } catch let error as CASError
                where error.code == .failedPrecondition && clock.monotonicNanoseconds() < end
            {
                guard !maintenance.isClosed else { throw error }
                Sleep.milliseconds(100)
            }
        }
    }

    /// Nanoseconds that somebody waits for another's collection.
    private static var collectionPatience: UInt64 { 10 * 60 * 1_000_000_000 }
}
