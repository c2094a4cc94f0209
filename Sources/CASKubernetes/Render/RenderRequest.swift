import CASCore

/// A job to write a manifest for: what runs, where, how often, and how its code gets there.
package struct RenderRequest: Sendable {
    /// The kind of object.
    package var kind: JobKind
    /// Where the code comes from.
    package var delivery: CodeDelivery
    /// How it comes into pods.
    package var mode: DeliveryMode
    /// What the object's name begins with.
    package var name: String
    /// The namespace; nil for whatever kubectl says.
    package var namespace: String?
    /// The Trainer that a TrainJob is for.
    package var trainer = TrainerVersion.v2_3
    /// The runtime of a TrainJob.
    package var runtime: RuntimeReference?
    /// Whether that runtime is one for MPI, whose launcher and workers both need the code.
    package var isMPI = false
    /// The image that the command runs in.
    package var image: String?
    /// How many nodes work on it; nil for what the runtime says, or one.
    package var nodes: Int?
    /// NVIDIA GPUs of each node.
    package var gpus = 0
    /// Resources of each node: name and amount.
    package var resources: [(name: String, amount: String)] = []
    /// Variables of the command.
    package var environment: [(name: String, value: String)] = []
    /// Labels of the object and of its pods.
    package var labels: [(key: String, value: String)] = []
    /// The command and its arguments, which arrive as they are here.
    package var command: [String]

    /// A request for the kind, the code, the way it comes, the name and the command; all else has a default.
    package init(
        kind: JobKind, delivery: CodeDelivery, mode: DeliveryMode, name: String, command: [String]
    ) {
        self.kind = kind
        self.delivery = delivery
        self.mode = mode
        self.name = name
        self.command = command
    }

    /// What was rendered.
    package struct Rendered: Sendable {
        /// The object's name.
        package let name: String
        /// The documents, in the order in which they are applied.
        package let documents: [ManifestValue]
    }

    /// Writes the manifest; the same request gives the same bytes.
    ///
    /// The object is named after the prefix and `suffix`, or eight digits of the digest of all that it says, so
    /// that another snapshot, command or size is another object. Throws `invalidArgument` for what Kubernetes
    /// or the kind can not take.
    package func render(suffix: String? = nil) throws -> Rendered {
        try check(suffixCharacters: suffix?.utf8.count ?? RenderRequest.digestCharacters)
        var ending = suffix ?? ""
        if suffix == nil {
            let text = try ManifestYAML.write([object(named: name)])
            ending = String(
                Digest.of(Array(text.utf8)).hexadecimal.prefix(RenderRequest.digestCharacters))
        }
        let full = "\(name)-\(ending)"
        return Rendered(name: full, documents: [object(named: full)])
    }

    /// Characters of a digest that stand in an object's name.
    package static let digestCharacters = 8

    private func object(named name: String) -> ManifestValue {
        var metadata: ManifestValue = ["name": .text(name)]
        if let namespace { metadata["namespace"] = .text(namespace) }
        metadata["labels"] = labelsObject
        metadata["annotations"] = annotationsObject
        return [
            "apiVersion": .text(kind.apiVersion), "kind": .text(kind.apiKind),
            "metadata": metadata, "spec": specification,
        ]
    }

    private var specification: ManifestValue {
        switch kind {
        case .trainJob: trainJobSpecification
        case .pyTorchJob: pyTorchJobSpecification
        case .tensorFlowJob: tensorFlowJobSpecification
        case .mpiJob: mpiJobSpecification
        case .jobSet: jobSetSpecification
        case .job: indexedJobSpecification
        }
    }

    /// Labels of the object and of its pods.
    var labelsObject: ManifestValue {
        var object: ManifestValue = [ManifestNames.nameLabel: .text(name)]
        for (key, value) in labels { object[key] = .text(value) }
        return object
    }

    /// Annotations of the object and of its pods.
    var annotationsObject: ManifestValue {
        [ManifestNames.refAnnotation: .text(delivery.reference)]
    }

    /// What a container of the job asks for; nil where it asks for nothing.
    ///
    /// Requests are the limits: a node that trains has what it was given.
    func resourcesObject(storage: String? = nil) -> ManifestValue? {
        var requests = ManifestValue.object([])
        var limits = ManifestValue.object([])
        for (name, amount) in resources {
            requests[name] = .text(amount)
            limits[name] = .text(amount)
        }
        if let storage, requests["ephemeral-storage"] == nil {
            requests["ephemeral-storage"] = .text(storage)
        }
        if gpus > 0 {
            // The API would fill in the request; written out, it is what the Kubeflow SDK sends.
            requests["nvidia.com/gpu"] = .text(String(gpus))
            limits["nvidia.com/gpu"] = .text(String(gpus))
        }
        var object = ManifestValue.object([])
        if requests.members?.isEmpty == false { object["requests"] = requests }
        if limits.members?.isEmpty == false { object["limits"] = limits }
        return object.members?.isEmpty == false ? object : nil
    }

    /// The user's variables after ours, of which those that the user sets too are left out.
    func environmentList(_ ours: [(name: String, value: String)]) -> ManifestValue {
        let theirs = Set(environment.map(\.name))
        let all = ours.filter { !theirs.contains($0.name) } + environment
        return .list(
            all.map {
                ["name": .text($0.name), "value": .text(VariableExpansion.escape($0.value))]
            })
    }

    /// Words as they stand in a manifest, so that a container gets them as they are here.
    static func words(_ words: [String]) -> ManifestValue {
        .list(words.map { .text(VariableExpansion.escape($0)) })
    }

    /// The command of the container that runs the user's.
    func containerCommand(entersDirectory: Bool) -> [String] {
        switch mode {
        case .bootstrap(let client):
            [
                "python3", "-c", PythonScripts.bootstrap, client, delivery.mountPath + "/bin",
                delivery.codePath, delivery.reference,
            ] + command
        case .claim where entersDirectory:
            ["python3", "-c", PythonScripts.enter, delivery.codePath] + command
        case .initContainer, .claim: command
        }
    }
}
