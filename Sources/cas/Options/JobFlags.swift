import ArgumentParser
import CASClient
import CASCore
import CASKubernetes
import CASWire

extension JobKind: ExpressibleByArgument {
    /// Takes the words of the API too: `TrainJob`.
    init?(argument: String) { self.init(rawValue: argument.lowercased()) }
}
extension TrainerVersion: ExpressibleByArgument {}

/// `--mode`, as it is written.
enum ModeWord: String, CaseIterable, ExpressibleByArgument {
    case initContainer = "init"
    case bootstrap
    case claim
    /// What the cluster and the rights allow; only a command that asks them knows it.
    case auto
}

/// Flags that describe a job.
struct JobFlags: ParsableArguments {
    @Option(help: ArgumentHelp("What the object's name begins with.", valueName: "name"))
    var name: String

    @Option(help: ArgumentHelp("The namespace.", valueName: "name"))
    var namespace: String?

    @Option(
        help: ArgumentHelp(
            "The Kubeflow Trainer that a TrainJob is for (2.3).", valueName: "version"))
    var trainer: TrainerVersion?

    @Option(
        help: ArgumentHelp(
            "The ClusterTrainingRuntime of a TrainJob; TrainingRuntime/NAME for one of the namespace.",
            valueName: "name"))
    var runtime: String?

    @Flag(
        name: .customLong("mpi"),
        help: "The runtime is one for MPI: launcher and workers get the code.")
    var isMPI = false

    @Option(help: ArgumentHelp("The image that the command runs in.", valueName: "image"))
    var image: String?

    @Option(help: ArgumentHelp("How many nodes work on it.", valueName: "n"))
    var nodes: Int?

    @Option(help: ArgumentHelp("NVIDIA GPUs of each node.", valueName: "n"))
    var gpus: Int = 0

    @Option(
        help: ArgumentHelp("A resource of each node: cpu=4, memory=32Gi.", valueName: "name=amount")
    )
    var resources: [String] = []

    @Option(
        name: .customLong("env"),
        help: ArgumentHelp("A variable of the command.", valueName: "name=value"))
    var environment: [String] = []

    @Option(
        name: .customLong("label"),
        help: ArgumentHelp("A label of the object and its pods.", valueName: "key=value"))
    var labels: [String] = []

    @Option(
        help: ArgumentHelp(
            "How the code comes: init container, bootstrap command, or a claim (init).",
            valueName: "init|bootstrap|claim|auto"))
    var mode: ModeWord?

    @Option(
        help: ArgumentHelp(
            "A PersistentVolumeClaim with what 'cas publish' wrote below PATH.",
            valueName: "name[:path]"))
    var claim: String?

    @OptionGroup var delivery: DeliveryFlags

    func validate() throws {
        if let mode, claim != nil, mode != .claim {
            throw ValidationError("--claim means --mode claim, not \(mode.rawValue)")
        }
        if mode == .claim, claim == nil {
            throw ValidationError("--mode claim needs --claim NAME[:PATH]")
        }
    }

    /// The request as far as flags alone say it; errors are those of usage.
    ///
    /// `mode` is what a command chose for `auto`.
    func draft(kind: JobKind, mode chosen: ModeWord? = nil, command: [String]) throws
        -> RenderRequest
    {
        if trainer != nil, kind != .trainJob {
            throw ValidationError("--trainer is for a TrainJob")
        }
        try Arguments.requireText()
        let placeholder = CodeDelivery(
            reference: "sha256:" + String(repeating: "0", count: 64), server: "", audience: nil,
            clientImage: delivery.clientImage ?? "cas",
            authorityConfigMap: delivery.authorityConfigMap)
        var request = RenderRequest(
            kind: kind, delivery: placeholder, mode: try deliveryMode(chosen ?? mode), name: name,
            command: command)
        request.namespace = namespace
        request.trainer = trainer ?? .v2_3
        request.runtime = try Arguments.usage { try runtime.map { try RuntimeReference($0) } }
        request.isMPI = isMPI
        request.image = image
        request.nodes = nodes
        request.gpus = gpus
        request.resources = try resources.map {
            let pair = try JobFlags.pair($0, "--resources", "cpu=4")
            return (name: pair.0, amount: pair.1)
        }
        request.environment = try environment.map {
            let pair = try JobFlags.pair($0, "--env", "NAME=VALUE")
            return (name: pair.0, value: pair.1)
        }
        request.labels = try labels.map {
            let pair = try JobFlags.pair($0, "--label", "team=vision")
            return (key: pair.0, value: pair.1)
        }
        try Arguments.usage { try request.check() }
        return request
    }

    /// The whole request: the snapshot that a reference names in this store, and how pods get it.
    func request(
        kind: JobKind, mode chosen: ModeWord? = nil, reference: Reference, in store: StoreAccess,
        command: [String]
    ) throws -> RenderRequest {
        var request = try draft(kind: kind, mode: chosen, command: command)
        let resolved = try StoreReader(store.connection).resolve(reference)
        if case .claim(let claim, _) = request.mode {
            request.delivery = try delivery.delivery(
                of: resolved, named: reference, in: store, needsClientImage: false, fetches: false)
            Console.note(
                "mode claim: the volume of '\(claim)' has to hold this version: cas publish "
                    + "\(request.delivery.reference) DIR")
            return request
        }
        request.delivery = try delivery.delivery(
            of: resolved, named: reference, in: store, needsClientImage: request.needsClientImage)
        if case .bootstrap = request.mode {
            request.mode = .bootstrap(client: try JobFlags.client(in: store).hexadecimal)
        }
        // The pods of a TrainJob with an init container bring what their runtime says.
        if request.mode != .initContainer || kind != .trainJob {
            DeliveryFlags.noteWithoutToken(request.delivery)
        }
        DeliveryFlags.noteOtherNamespace(request.delivery, namespace: namespace)
        return request
    }

    /// The client that pods fetch from the server.
    static func client(in store: StoreAccess) throws -> Digest {
        guard let client = try store.connection.describe().clientDigest else {
            throw CASError(
                .failedPrecondition, "\(store.choice.text) offers no client for pods to fetch",
                hint: "use --mode init, or a newer server")
        }
        return client
    }

    private func deliveryMode(_ word: ModeWord?) throws -> DeliveryMode {
        if let claim {
            let parts = claim.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            return .claim(
                name: String(parts[0]),
                path: parts.count > 1 ? JobFlags.withoutSlashes(parts[1]) : "")
        }
        switch word {
        case nil, .initContainer, .claim: return .initContainer
        case .bootstrap: return .bootstrap(client: String(repeating: "0", count: 64))
        case .auto:
            throw ValidationError(
                "--mode auto asks the cluster, which only cas submit does; choose init, bootstrap or claim"
            )
        }
    }

    private static func withoutSlashes(_ text: Substring) -> String {
        var text = text
        while text.first == "/" { text.removeFirst() }
        while text.last == "/" { text.removeLast() }
        return String(text)
    }

    private static func pair(
        _ text: String, _ flag: String, _ example: String
    ) throws -> (String, String) {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw ValidationError("\(flag) '\(text)' is no pair; write \(flag) \(example)")
        }
        return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }
}
