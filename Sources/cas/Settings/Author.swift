import CASCore
import CASFileSystem
import CASWire

extension Settings {
    /// Who does something on which machine, for the history of a ref.
    func provenance(message: String = "", workspace: String? = nil) -> Provenance {
        Provenance(
            author: environment.user, host: Host.name,
            gitCommit: workspace.flatMap { GitCommit.find(above: $0) } ?? "",
            message: message, time: SystemClock().now())
    }
}
