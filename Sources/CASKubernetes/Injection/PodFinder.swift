/// A pod, or a template of pods, in a document.
struct PodPlace {
    /// The way to the object with `metadata` and `spec`.
    let path: [ManifestStep]
    /// The kind and name of the resource that it belongs to.
    let owner: String
}

/// Finds what bears pods in a document.
struct PodFinder {
    /// The pods, in the order of the document.
    private(set) var places: [PodPlace] = []
    /// The kinds of the resources without pods.
    private(set) var others: [String] = []
    /// The names of the TrainJobs: they bear no pods, but somebody expects their code to come.
    private(set) var trainJobs: [String] = []

    /// Where the pods of a kind are; `*` stands for every item or member.
    private static let patterns: [String: [String]] = {
        var patterns: [String: [String]] = [
            "Pod": [""],
            "PodTemplate": ["template"],
            "CronJob": ["spec.jobTemplate.spec.template"],
            "JobSet": ["spec.replicatedJobs.*.template.spec.template"],
            "RayCluster": ray("spec"),
            "RayJob": ray("spec.rayClusterSpec"),
            "RayService": ray("spec.rayClusterConfig"),
        ]
        for kind in [
            "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job",
            "Notebook",
        ] {
            patterns[kind] = ["spec.template"]
        }
        for (kind, prefix) in [
            ("PyTorchJob", "pytorch"), ("TFJob", "tf"), ("MPIJob", "mpi"), ("XGBoostJob", "xgb"),
            ("PaddleJob", "paddle"), ("JAXJob", "jax"),
        ] {
            patterns[kind] = ["spec.\(prefix)ReplicaSpecs.*.template"]
        }
        for kind in ["TrainingRuntime", "ClusterTrainingRuntime"] {
            patterns[kind] = ["spec.template.spec.replicatedJobs.*.template.spec.template"]
        }
        return patterns
    }()

    private static func ray(_ cluster: String) -> [String] {
        [cluster + ".headGroupSpec.template", cluster + ".workerGroupSpecs.*.template"]
    }

    /// Adds the pods of a document.
    mutating func visit(_ document: ManifestCursor) throws {
        guard document.value.members != nil else { return }
        let kind = try document.member("kind")?.value.text ?? ""
        if kind == "ResourceList" || kind.hasSuffix("List"), let list = try document.member("items")
        {
            for item in try list.items() { try visit(item) }
            return
        }
        let name = try document.member("metadata")?.member("name")?.value.text
        let owner = (kind.isEmpty ? "unknown kind" : kind) + (name.map { "/" + $0 } ?? "")
        if kind == "TrainJob" {
            trainJobs.append(owner)
            return others.append(kind)
        }
        let before = places.count
        for pattern in Self.patterns[kind] ?? [] {
            try match(document, pattern.split(separator: ".")[...], owner)
        }
        // Another group's kind of the same name (Volcano's Job) has its pods elsewhere.
        if places.count == before { try search(document, owner, isTemplate: false) }
        if places.count == before, !kind.isEmpty { others.append(kind) }
    }

    private mutating func match(
        _ cursor: ManifestCursor, _ pattern: ArraySlice<Substring>, _ owner: String
    ) throws {
        guard let step = pattern.first else {
            if try Self.isPod(cursor) { places.append(PodPlace(path: cursor.path, owner: owner)) }
            return
        }
        for next in try step == "*" ? Self.children(cursor) : [cursor.member(String(step))] {
            if let next { try match(next, pattern.dropFirst(), owner) }
        }
    }

    /// Finds `template.spec.containers` in kinds that are not known.
    private mutating func search(
        _ cursor: ManifestCursor, _ owner: String, isTemplate: Bool
    ) throws {
        if isTemplate, try Self.isPod(cursor) {
            return places.append(PodPlace(path: cursor.path, owner: owner))
        }
        for next in Self.children(cursor) {
            guard let next else { continue }
            var named = false
            if case .key(let key) = next.path.last {
                if key == "status" || key == "metadata" || key == "<<" { continue }
                named = key.lowercased().hasSuffix("template")
            }
            try search(next, owner, isTemplate: named)
        }
    }

    private static func isPod(_ cursor: ManifestCursor) throws -> Bool {
        guard cursor.value.members != nil, let spec = try cursor.member("spec"),
            spec.value.members != nil, let containers = try spec.member("containers")
        else { return false }
        return containers.value.items?.isEmpty == false
    }

    private static func children(_ cursor: ManifestCursor) -> [ManifestCursor?] {
        switch cursor.value {
        case .list(let items):
            items.enumerated().map { ManifestCursor($1, path: cursor.path + [.index($0)]) }
        case .object(let members):
            members.filter { $0.value != .null }.map {
                ManifestCursor($0.value, path: cursor.path + [.key($0.key)])
            }
        default: []
        }
    }
}
