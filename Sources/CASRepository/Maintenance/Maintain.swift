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
            return try whenNobodyCollects {
                try Collector(self, isDryRun: request.isDryRun, domain: domain)
            }
        case .purge:
            return try whenNobodyCollects { try PurgeTask(self, request, domain: domain) }
        case .why: return try RootSearch(self, try subject(request, domain), domain: domain)
        case .scrub: return scrub(isReport: request.isReport, domain: domain)
        }
    }

    /// The digest that a question is about; a ref stands for the tree that it names.
    private func subject(_ request: MaintenanceRequest, _ domain: Domain) throws -> Digest {
        if let ref = request.ref { return try resolve(.ref(ref), domain: domain).tree }
        guard let digest = request.digest else {
            throw CASError(.invalidArgument, "a question needs a ref or a digest")
        }
        return digest
    }

    /// Makes work that only one may do at a time, once the others are done.
    private func whenNobodyCollects<Task>(_ make: () throws -> Task) throws -> Task {
        let end = clock.monotonicNanoseconds() + Repository.collectionPatience
        while true {
            do {
                return try make()
            } catch let error as CASError
                where error.code == .failedPrecondition && clock.monotonicNanoseconds() < end
            {
                Sleep.milliseconds(100)
            }
        }
    }

    /// Nanoseconds that somebody waits for another's collection.
    private static var collectionPatience: UInt64 { 10 * 60 * 1_000_000_000 }
}
