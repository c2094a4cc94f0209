import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASKubernetes
import CASWire

/// `cas submit KIND [DIR] --name N -- COMMAND`.
struct SubmitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit",
        abstract: "Push a directory and run it on the cluster: push, render, apply, follow.",
        usage: "cas submit [OPTIONS] KIND [DIR] --name NAME -- COMMAND [ARGUMENT …]",
        discussion: """
            KIND is trainjob, pytorchjob, tfjob, mpijob, jobset or job. kubectl applies the manifest with your \
            own rights, first as a dry run, so that a refusal changes nothing. Each submission is an object \
            of its own, NAME- and five letters, and a run (cas runs) that keeps its code. Ctrl-C ends the \
            following, not the job. The exit status is 1 if the job fails.

            EXAMPLES:
              cas submit trainjob --name resnet --runtime torch-cas --nodes 4 -- torchrun train.py
              cas submit job src --name prepare --image python:3.12 -- python prepare.py
              cas submit trainjob --ref team/resnet@sha256:… --name resnet --runtime torch-cas -- torchrun train.py
              cas submit trainjob --name resnet --runtime torch-cas --replace --detach -- torchrun train.py
            """)

    @Argument(help: ArgumentHelp("The kind of object.", valueName: "kind"))
    var kind: JobKind

    @Argument(help: ArgumentHelp("The directory to push (.).", valueName: "dir"))
    var directory: String?

    @Argument(parsing: .postTerminator, help: "The command and its arguments.")
    var command: [String] = []

    @Option(help: ArgumentHelp("The ref to move.", valueName: "ref"))
    var to: String?

    @Option(
        name: .customLong("ref"),
        help: ArgumentHelp("Run this snapshot and push nothing.", valueName: "ref"))
    var reference: String?

    @OptionGroup var job: JobFlags

    @Flag(help: "Delete earlier objects of this name once the new one is there.")
    var replace = false

    @Flag(help: "Leave when the job is submitted, and follow nothing.")
    var detach = false

    @Flag(help: "Send more than the limit of new bytes (2 GiB, or the project file's).")
    var large = false

    @Option(name: [.short, .long], help: "A line for the history.")
    var message = ""

    @OptionGroup var selection: SelectionFlags
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        if reference != nil, directory != nil || to != nil {
            throw ValidationError(
                "--ref runs a snapshot that is there; it goes without DIR and --to")
        }
        if let reference {
            guard try Arguments.reference(reference).name != nil else {
                throw ValidationError(
                    "a run belongs to a name; write --ref NAME@sha256:…, not the digest alone")
            }
        }
        if let to { _ = try Arguments.refName(try Arguments.reference(to)) }
        _ = try job.draft(
            kind: kind, mode: job.mode == .auto ? .initContainer : job.mode, command: command)
    }

    func run() throws {
        let root = reference == nil ? try Workspace.root(directory ?? ".") : nil
        let settings = try Settings.load(workspace: root)
        let kubectl = try Kubectl.find(settings.environment, namespace: job.namespace)
        let host = try (reference ?? to).map { try Arguments.reference($0) }?.host
        if job.claim == nil {
            try DeliveryFlags.server(
                try StoreChoice.choose(
                    serverFlag: storeFlags.server, storeFlag: storeFlags.store, host: host,
                    settings: settings))
        }
        let submitted = try storeFlags.withStore(host: host, isPatient: true, settings: settings) {
            store in
            let (mode, isMPI) = try survey(kubectl, store)
            let wanted = try wanted(root, store)
            var request = try job.request(
                kind: kind, mode: mode, reference: wanted, in: store, command: command)
            request.isMPI = isMPI
            return try Submission(kubectl: kubectl, store: store, request: request, project: wanted)
                .apply(message: message, replaces: replace)
        }
        Interruption.leaves(.run)
        if output.json {
            Console.data(submitted.json)
        } else {
            Console.data("\(kind.rawValue)/\(submitted.name) \(submitted.reference)")
        }
        guard !detach, !output.json else { return }
        try RunFollower(kubectl: kubectl, kind: kind, name: submitted.name, nodes: job.nodes ?? 1)
            .follow()
    }

    /// What is to run: the ref that is given, or what a push of the directory makes.
    private func wanted(_ root: String?, _ store: StoreAccess) throws -> Reference {
        guard let root else {
            let wanted = try Arguments.reference(reference ?? "")
            return try Runs.resolve(wanted, store.connection) ?? wanted
        }
        let ref = try PushTarget.choose(
            try to.map { try Arguments.reference($0) }, root: root, store: store)
        var push = try WorkspacePush(
            root: root, ref: ref, store: store, selection: selection, message: message)
        if large { push.options.newBytesLimit = .max }
        let report = try push.run()
        report.writeNotes(.done)
        return Reference(target: .digest(report.summary.snapshot, name: ref.value.name))
    }

    /// Finds out, before anything is sent, whether pods reach the store and how the code comes to them.
    private func survey(
        _ kubectl: Kubectl, _ store: StoreAccess
    ) throws -> (mode: ModeWord, isMPI: Bool) {
        let chosen = try chooseMode(kubectl, store.settings)
        guard chosen.mode != .claim else { return chosen }
        _ = try DeliveryFlags.server(try store.connection.describe(), store)
        if chosen.mode == .bootstrap { _ = try JobFlags.client(in: store) }
        return chosen
    }

    /// How the code comes and whether the runtime is one for MPI; `auto`, the default, asks the cluster.
    private func chooseMode(
        _ kubectl: Kubectl, _ settings: Settings
    ) throws -> (mode: ModeWord, isMPI: Bool) {
        if job.claim != nil { return (.claim, job.isMPI) }
        if let mode = job.mode, mode != .auto { return (mode, job.isMPI) }
        guard kind == .trainJob, let name = job.runtime else {
            let hasImage = settings.clientImage(flag: job.delivery.clientImage) != nil
            Console.note(
                hasImage
                    ? "mode init: an init container brings the code"
                    : "mode bootstrap: no image with cas in it is named (--client-image)")
            return (hasImage ? .initContainer : .bootstrap, job.isMPI)
        }
        let survey = try RuntimeSurvey.ask(try RuntimeReference(name), kubectl)
        let mode: ModeWord =
            switch survey.way {
            case .initContainer: .initContainer
            case .bootstrap: .bootstrap
            }
        Console.note("mode \(mode.rawValue): \(printable(survey.way.reason))")
        return (mode, job.isMPI || survey.isMPI)
    }
}
