extension RenderRequest {
    /// The jobs of the runtime whose pods need the code.
    private var targetJobs: [String] { isMPI ? ["launcher", "node"] : ["node"] }

    var trainJobSpecification: ManifestValue {
        var specification = ManifestValue.object([])
        if let runtime {
            specification["runtimeRef"] = [
                "apiGroup": "trainer.kubeflow.org", "kind": .text(runtime.kind),
                "name": .text(runtime.name),
            ]
        }
        var trainer = ManifestValue.object([])
        if let image { trainer["image"] = .text(image) }
        trainer["command"] = Self.words(containerCommand(entersDirectory: true))
        if let nodes { trainer["numNodes"] = .integer(Int64(nodes)) }
        if let resources = resourcesObject() { trainer["resourcesPerNode"] = resources }
        // The runtime says what is true of every job; Trainer lets no patch touch these variables.
        let ours = mode == .initContainer ? [] : codeEnvironment
        if !ours.isEmpty || !environment.isEmpty { trainer["env"] = environmentList(ours) }
        specification["trainer"] = trainer
        switch self.trainer {
        case .v2_0:
            specification["labels"] = labelsObject
            specification["annotations"] = annotationsObject
            specification["podSpecOverrides"] = [override(with: podChanges)]
        case .v2_1:
            specification["podTemplateOverrides"] = [
                override(with: ["metadata": podMetadata, "spec": podChanges])
            ]
        case .v2_2, .v2_3: specification["runtimePatches"] = [runtimePatch]
        }
        return specification
    }

    private var podMetadata: ManifestValue {
        ["labels": labelsObject, "annotations": annotationsObject]
    }

    private func override(with changes: ManifestValue) -> ManifestValue {
        let targets = ManifestValue.list(targetJobs.map { ["name": .text($0)] })
        return .object([.init("targetJobs", targets)] + (changes.members ?? []))
    }

    private var runtimePatch: ManifestValue {
        let template: ManifestValue = [
            "spec": ["template": ["metadata": podMetadata, "spec": podChanges]]
        ]
        let jobs = targetJobs.map { name -> ManifestValue in
            ["name": .text(name), "template": template]
        }
        return [
            "manager": .text(ManifestNames.domain + "/cli"),
            "trainingRuntimeSpec": ["template": ["spec": ["replicatedJobs": .list(jobs)]]],
        ]
    }

    /// What changes in the pods of the runtime: the variables of its init container, or volumes and mounts.
    private var podChanges: ManifestValue {
        guard mode == .initContainer else {
            let node: ManifestValue = ["name": "node", "volumeMounts": .list(mounts)]
            return ["containers": [node], "volumes": .list(volumes)]
        }
        let variables: [ManifestValue] = [
            ["name": "CAS_SERVER", "value": .text(delivery.server)],
            ["name": "CAS_REF", "value": .text(delivery.reference)],
        ]
        return [
            "initContainers": [
                ["name": .text(ManifestNames.initContainer), "env": .list(variables)]
            ]
        ]
    }
}
