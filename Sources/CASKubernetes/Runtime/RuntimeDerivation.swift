import CASCore

/// Makes a runtime that declares the init container out of one that does not.
///
/// A TrainJob can change the variables of an init container, and add none: its runtime must have it.
package struct RuntimeDerivation: Sendable {
    private static let stepLabel = "trainer.kubeflow.org/trainjob-ancestor-step"
    /// What the API server and controllers write, and what names another object.
    private static let serverMade = [
        "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
        "deletionGracePeriodSeconds", "managedFields", "selfLink", "ownerReferences", "finalizers",
    ]
    private static let lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

    /// Where the code comes from; its reference is empty, which the job fills in.
    package var delivery: CodeDelivery
    /// The name of the new runtime; nil for `NAME-cas`.
    package var name: String?
    /// The namespace of a TrainingRuntime; nil for that of the existing one.
    package var namespace: String?

    /// A derivation.
    package init(delivery: CodeDelivery, name: String? = nil, namespace: String? = nil) {
        self.delivery = delivery
        self.delivery.reference = ""
        self.delivery.bytes = nil
        self.name = name
        self.namespace = namespace
    }

    /// A derived runtime, and what about it deserves a word.
    package struct Derived: Sendable {
        /// The runtime.
        package let document: ManifestValue
        /// Lines for a person: what was there before and is another now.
        package let notes: [String]
    }

    /// Derives a runtime; all that it does not need to change stays, in its order.
    ///
    /// Doing so twice changes nothing. Throws `invalidArgument` for what is no runtime or has nothing to train in.
    package func derive(from runtime: ManifestValue) throws -> Derived {
        var runtime = runtime
        let kind = runtime["kind"]?.text ?? "no object"
        guard runtime["apiVersion"]?.text?.hasPrefix("trainer.kubeflow.org/") == true,
            ["ClusterTrainingRuntime", "TrainingRuntime"].contains(kind)
        else {
            throw CASError(
                .invalidArgument, "this is a \(kind) and no runtime of Kubeflow Trainer",
                hint: "give a ClusterTrainingRuntime or a TrainingRuntime")
        }
        let old = runtime.at("metadata", "name")?.text ?? ""
        var notes: [String] = []
        var jobs = runtime.at("spec", "template", "spec", "replicatedJobs")?.items ?? []
        let isDerived = jobs.contains {
            Self.podSpecification($0)?["initContainers"]?
                .item(named: ManifestNames.initContainer) != nil
        }
        let targets = try targets(of: jobs, in: runtime, old)
        for index in targets { jobs[index] = try changed(jobs[index], &notes) }
        runtime["metadata"] = try metadata(
            runtime["metadata"], kind: kind, name: name ?? (isDerived ? old : old + "-cas"))
        runtime["status"] = nil
        runtime = Self.setting(
            runtime, ["spec", "template", "spec", "replicatedJobs"], .list(jobs))
        return Derived(document: runtime, notes: notes)
    }

    private func metadata(
        _ metadata: ManifestValue?, kind: String, name: String
    ) throws -> ManifestValue {
        guard KubernetesNames.isSubdomain(name) else {
            throw KubernetesNames.refused("the name of the runtime", name, "say --as NAME")
        }
        var metadata = metadata ?? .object([])
        metadata["name"] = .text(name)
        if let namespace {
            guard kind == "TrainingRuntime" else {
                throw CASError(
                    .invalidArgument, "a ClusterTrainingRuntime belongs to no namespace",
                    hint: "leave out --namespace")
            }
            metadata["namespace"] = .text(namespace)
        }
        for field in Self.serverMade { metadata[field] = nil }
        if var annotations = metadata["annotations"] {
            annotations[Self.lastApplied] = nil
            metadata["annotations"] = annotations.members?.isEmpty == false ? annotations : nil
        }
        return metadata
    }

    /// The jobs whose pods need the code: those that train, and for MPI both the launcher and the workers, of
    /// which only one bears the label.
    private func targets(
        of jobs: [ManifestValue], in runtime: ManifestValue, _ name: String
    ) throws -> [Int] {
        let isMPI = runtime.at("spec", "mlPolicy", "mpi") != nil
        let found = jobs.indices.filter { index in
            let step = jobs[index].at("template", "metadata", "labels")?[Self.stepLabel]?.text
            let job = jobs[index]["name"]?.text
            return step == "trainer" || job == "node" || (isMPI && job == "launcher")
        }
        guard !found.isEmpty else {
            throw CASError(
                .invalidArgument,
                "the runtime '\(name)' has no job that trains: none bears the label "
                    + "\(Self.stepLabel): trainer")
        }
        return found
    }

    private func changed(_ job: ManifestValue, _ notes: inout [String]) throws -> ManifestValue {
        let jobName = job["name"]?.text ?? ""
        guard var pod = Self.podSpecification(job),
            var containers = pod["containers"]?.items,
            let index = containers.firstIndex(where: { $0["name"]?.text == "node" })
        else {
            throw CASError(
                .invalidArgument, "the job '\(jobName)' of the runtime has no container 'node'",
                hint: "Trainer runs the command in the container of this name")
        }
        let initContainer = initContainer(beside: containers[index], in: pod)
        pod["initContainers"] = .list(
            Self.placing(initContainer, in: pod["initContainers"]?.items ?? [], atFront: true))
        containers[index] = mainContainer(containers[index], jobName, &notes)
        pod["containers"] = .list(containers)
        let wanted = [delivery.codeVolume] + delivery.identityVolumes
        let names = wanted.map { $0["name"]?.text }
        // What an earlier derivation left, and this server does not need.
        var volumes = (pod["volumes"]?.items ?? []).filter { volume in
            let name = volume["name"]?.text
            return names.contains(name)
                || ![ManifestNames.tokenVolume, ManifestNames.authorityVolume].contains(name)
        }
        for volume in wanted { volumes = Self.placing(volume, in: volumes, atFront: false) }
        pod["volumes"] = .list(volumes)
        return Self.setting(job, ["template", "spec", "template", "spec"], pod)
    }

    private func mainContainer(
        _ container: ManifestValue, _ job: String, _ notes: inout [String]
    ) -> ManifestValue {
        var container = container
        if let folder = container["workingDir"]?.text, folder != delivery.codePath {
            notes.append("\(job): the command runs in \(delivery.codePath), before in \(folder)")
        }
        container["workingDir"] = .text(delivery.codePath)
        var variables = container["env"]?.items ?? []
        let old = variables.first { $0["name"]?.text == "PYTHONPATH" }?["value"]?.text ?? ""
        if !old.split(separator: ":").contains(where: { $0 == delivery.codePath }) {
            let path = old.isEmpty ? delivery.codePath : delivery.codePath + ":" + old
            variables = Self.placing(
                ["name": "PYTHONPATH", "value": .text(path)], in: variables, atFront: false)
        }
        container["env"] = .list(variables)
        container["volumeMounts"] = .list(
            Self.placing(
                delivery.codeMount(readOnly: false), in: container["volumeMounts"]?.items ?? [],
                atFront: false))
        return container
    }

    /// The init container, as the user that trains where the runtime says who that is: a file that only its
    /// owner may read is then readable.
    ///
    /// It holds under restricted Pod Security whatever the pod says.
    private func initContainer(
        beside container: ManifestValue, in pod: ManifestValue
    ) -> ManifestValue {
        var initContainer = delivery.initContainer
        var security = initContainer["securityContext"] ?? .object([])
        let own = container.at("securityContext", "runAsUser")
        if let own, own != 0 { security["runAsUser"] = own }
        if let group = container.at("securityContext", "runAsGroup"), own != nil, own != 0 {
            security["runAsGroup"] = group
        }
        let user = security["runAsUser"] ?? pod.at("securityContext", "runAsUser")
        if user != 0 { security["runAsNonRoot"] = true }
        if pod.at("securityContext", "seccompProfile") == nil {
            security["seccompProfile"] = ["type": "RuntimeDefault"]
        }
        initContainer["securityContext"] = security
        return initContainer
    }

    private static func podSpecification(_ job: ManifestValue) -> ManifestValue? {
        job.at("template", "spec", "template", "spec")
    }

    /// A list in which an item stands in the place of the one with its name, or is new.
    private static func placing(
        _ item: ManifestValue, in items: [ManifestValue], atFront: Bool
    ) -> [ManifestValue] {
        var items = items
        if let index = items.firstIndex(where: { $0["name"] == item["name"] }) {
            items[index] = item
        } else if atFront {
            items.insert(item, at: 0)
        } else {
            items.append(item)
        }
        return items
    }

    /// An object with another value at the end of a path.
    private static func setting(
        _ object: ManifestValue, _ path: ArraySlice<String>, _ value: ManifestValue
    ) -> ManifestValue {
        guard let key = path.first else { return value }
        var object = object
        object[key] = setting(object[key] ?? .object([]), path.dropFirst(), value)
        return object
    }
}
