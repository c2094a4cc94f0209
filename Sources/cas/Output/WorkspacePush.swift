import CASClient
import CASCore
import CASFileSystem
import CASWire
import CASWorkspace

/// A push of a workspace as commands do it: by the settings, with a progress line and a report.
struct WorkspacePush {
    let ref: Setting<RefName>
    let store: StoreAccess
    var options: PushOptions

    /// A push of a directory to a ref, everything else as the settings say.
    init(
        root: String, ref: Setting<RefName>, store: StoreAccess, selection: SelectionFlags,
        message: String = ""
    ) throws {
        self.ref = ref
        self.store = store
        // While one waits for the server to take what it sent, another hashes and compresses.
        let workers = WorkerGroup.processorCount * (store.connection.isLocal ? 1 : 2)
        let settings = store.settings
        options = PushOptions(directory: root, ref: ref.value, workers: workers)
        options.scan = selection.options(settings)
        options.cachePath = try Workspace.cachePath(of: root, settings: settings)
        options.provenance = settings.provenance(message: message, workspace: root)
        options.newBytesLimit = settings.limit.value
    }

    /// Pushes, or compares where the options say so; what stops a push is told before the error.
    func run() throws -> PushReport {
        if !options.isDryRun { Interruption.leaves(.push) }
        let start = SystemClock().monotonicNanoseconds()
        let counters = ProgressCounters()
        func report(_ summary: PushSummary) -> PushReport {
            PushReport(
                summary: summary, ref: ref, store: store,
                nanoseconds: SystemClock().monotonicNanoseconds() - start,
                lifetime: options.lifetime)
        }
        let title =
            (options.isDryRun
                ? "comparing \(options.directory) with" : "pushing \(options.directory) to")
            + " \(ref.value) in \(store.choice.text)"
        let summary = try ProgressLine.show(.push, title, counters) {
            try Push.run(options, connection: store.connection, counters: counters) { summary in
                report(summary).writeNotes(.stopped)
            }
        }
        return report(summary)
    }
}
