package import CASCore
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
            return try Collector(self, isDryRun: request.isDryRun, domain: domain)
        case .scrub, .purge, .why:
            throw CASError(.unimplemented, "this store can not do that")
        }
    }
}
