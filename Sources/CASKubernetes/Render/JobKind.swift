/// The kinds of object that a snapshot can be rendered into.
package enum JobKind: String, CaseIterable, Sendable {
    case trainJob = "trainjob"
    case pyTorchJob = "pytorchjob"
    case tensorFlowJob = "tfjob"
    case mpiJob = "mpijob"
    case jobSet = "jobset"
    case job

    /// The word that the API has for it.
    package var apiKind: String {
        switch self {
        case .trainJob: "TrainJob"
        case .pyTorchJob: "PyTorchJob"
        case .tensorFlowJob: "TFJob"
        case .mpiJob: "MPIJob"
        case .jobSet: "JobSet"
        case .job: "Job"
        }
    }

    /// Group and version of its API.
    package var apiVersion: String {
        switch self {
        case .trainJob: "trainer.kubeflow.org/v1alpha1"
        case .pyTorchJob, .tensorFlowJob, .mpiJob: "kubeflow.org/v1"
        case .jobSet: "jobset.x-k8s.io/v1alpha2"
        case .job: "batch/v1"
        }
    }

    /// What kubectl calls it, in full: `trainjobs.trainer.kubeflow.org`.
    package var resource: String {
        let group = apiVersion.prefix { $0 != "/" }
        return "\(rawValue)s.\(group)"
    }

    /// The container that runs the command; operators look for it by this name.
    package var containerName: String {
        switch self {
        case .trainJob, .jobSet: "node"
        case .pyTorchJob: "pytorch"
        case .tensorFlowJob: "tensorflow"
        case .mpiJob: "mpi"
        case .job: "main"
        }
    }

    /// What stands between an object's name and the number of a node in the longest name that is made of it, and
    /// how many characters follow that number.
    ///
    /// JobSet checks `NAME-node-0-NUMBER-abcde` as a label, a Job `NAME-NUMBER` as a host name, and the training
    /// operator makes a pod and a service of one name: `NAME-worker-NUMBER`.
    func longestName(isMPI: Bool) -> (middle: String, suffix: Int) {
        switch self {
        case .trainJob: (isMPI ? "-launcher-0-" : "-node-0-", 6)
        case .jobSet: ("-node-0-", 6)
        // No longer: `NAME-launcher`, `NAME-master-0`.
        case .pyTorchJob, .tensorFlowJob, .mpiJob: ("-worker-", 0)
        case .job: ("-", 0)
        }
    }
}

/// The Kubeflow Trainer that a TrainJob is for: each has another way to change what its runtime says.
package enum TrainerVersion: String, CaseIterable, Sendable {
    case v2_0 = "2.0"
    case v2_1 = "2.1"
    case v2_2 = "2.2"
    case v2_3 = "2.3"
}

/// The runtime that a TrainJob names.
package struct RuntimeReference: Hashable, Sendable {
    /// `ClusterTrainingRuntime` or `TrainingRuntime`.
    package var kind: String
    /// Its name.
    package var name: String
    /// Whether it belongs to a namespace.
    package var isNamespaced: Bool { kind == "TrainingRuntime" }

    /// Parses `NAME`, `ClusterTrainingRuntime/NAME` or `TrainingRuntime/NAME`; throws `invalidArgument`.
    package init(_ text: String) throws {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let kinds = ["ClusterTrainingRuntime", "TrainingRuntime"]
        kind = parts.count == 2 ? parts[0] : kinds[0]
        name = parts[parts.count - 1]
        guard parts.count <= 2, kinds.contains(kind), KubernetesNames.isSubdomain(name) else {
            throw KubernetesNames.refused(
                "--runtime", text, "write NAME, or TrainingRuntime/NAME for one of the namespace")
        }
    }
}

/// How the code comes into the pods of a job.
package enum DeliveryMode: Hashable, Sendable {
    /// An init container fetches it; that of a TrainJob is declared by its runtime.
    case initContainer
    /// The command fetches the client, which has this digest, and that fetches the code.
    case bootstrap(client: String)
    /// `cas publish` wrote it to a claim, below this path.
    case claim(name: String, path: String)

    /// The word for it on the command line.
    package var word: String {
        switch self {
        case .initContainer: "init"
        case .bootstrap: "bootstrap"
        case .claim: "claim"
        }
    }
}
