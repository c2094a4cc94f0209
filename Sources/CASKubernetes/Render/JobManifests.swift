extension RenderRequest {
    private var nodeCount: Int { nodes ?? 1 }
    /// How often an operator of `kubeflow.org/v1` starts a pod again that ended badly.
    private static let restarts: ManifestValue = 3

    private var runPolicy: ManifestValue {
        ["cleanPodPolicy": "Running", "backoffLimit": Self.restarts]
    }

    private func replica(_ count: Int, role: PodRole = .command) -> ManifestValue {
        [
            "replicas": .integer(Int64(count)),
            // The operator writes it into the template, which so has none.
            "restartPolicy": "OnFailure",
            "template": podTemplate(role: role, restartPolicy: nil),
        ]
    }

    var pyTorchJobSpecification: ManifestValue {
        var replicas: ManifestValue = ["Master": replica(1)]
        if nodeCount > 1 { replicas["Worker"] = replica(nodeCount - 1) }
        var specification = ManifestValue.object([])
        // torchrun reads it; it starts that many processes in each pod.
        if gpus > 1 { specification["nprocPerNode"] = .text(String(gpus)) }
        specification["runPolicy"] = runPolicy
        specification["pytorchReplicaSpecs"] = replicas
        return specification
    }

    /// Workers alone: the first of them is TensorFlow's chief.
    var tensorFlowJobSpecification: ManifestValue {
        ["runPolicy": runPolicy, "tfReplicaSpecs": ["Worker": replica(nodeCount)]]
    }

    /// The launcher runs the command and asks for nothing but its code; the nodes are the workers.
    var mpiJobSpecification: ManifestValue {
        [
            "slotsPerWorker": .integer(Int64(max(gpus, 1))),
            "runPolicy": runPolicy,
            "mpiReplicaSpecs": [
                "Launcher": replica(1, role: .launcher),
                "Worker": replica(nodeCount, role: .worker),
            ],
        ]
    }

    var jobSetSpecification: ManifestValue {
        [
            "replicatedJobs": [
                ["name": "node", "replicas": 1, "template": ["spec": indexedJobSpecification]]
            ]
        ]
    }

    /// A pod for each node; who is which stands in JOB_COMPLETION_INDEX.
    ///
    /// A program that fails is not run again, a pod that its node lost is: with the same bytes.
    var indexedJobSpecification: ManifestValue {
        let disruption: ManifestValue = ["type": "DisruptionTarget", "status": "True"]
        return [
            "parallelism": .integer(Int64(nodeCount)), "completions": .integer(Int64(nodeCount)),
            "completionMode": "Indexed", "backoffLimit": 0,
            "podFailurePolicy": [
                "rules": [["action": "Ignore", "onPodConditions": [disruption]]]
            ],
            "template": podTemplate(restartPolicy: "Never"),
        ]
    }
}
