extension RenderRequest {
    /// What a container of a job that we write does.
    enum PodRole: Hashable {
        /// Runs the command.
        case command
        /// Runs the command, and asks the API server to start what it wants on the workers (MPI).
        case launcher
        /// Runs what the operator starts in it, with the code beside it.
        case worker
    }

    /// A pod template of a kind that has no runtime; it holds under restricted Pod Security.
    func podTemplate(
        role: PodRole = .command, restartPolicy: String?
    ) -> ManifestValue {
        var specification = ManifestValue.object([])
        // No token of the API server in a pod that runs anybody's code, if it does not need one.
        if role != .launcher { specification["automountServiceAccountToken"] = false }
        specification["securityContext"] = CodeDelivery.podSecurity
        if let restartPolicy { specification["restartPolicy"] = .text(restartPolicy) }
        if mode == .initContainer {
            specification["initContainers"] = [delivery.initContainer]
        }
        specification["containers"] = [mainContainer(role)]
        specification["volumes"] = .list(volumes)
        return [
            "metadata": ["labels": labelsObject, "annotations": annotationsObject],
            "spec": specification,
        ]
    }

    private func mainContainer(_ role: PodRole) -> ManifestValue {
        var container: ManifestValue = [
            "name": .text(kind.containerName), "image": .text(image ?? ""),
        ]
        if role != .worker {
            container["command"] = Self.words(containerCommand(entersDirectory: false))
        }
        if !isBootstrap { container["workingDir"] = .text(delivery.codePath) }
        container["env"] = environmentList(containerEnvironment)
        let storage = isBootstrap ? delivery.volumeLimit : nil
        // The launcher only starts the others, and the nodes are those.
        if role != .launcher, let resources = resourcesObject(storage: storage) {
            container["resources"] = resources
        }
        container["securityContext"] = CodeDelivery.containerSecurity(readOnlyRoot: false)
        container["volumeMounts"] = .list(mounts)
        return container
    }

    private var isBootstrap: Bool {
        if case .bootstrap = mode { true } else { false }
    }

    /// Our variables in the container of a kind that has no runtime.
    private var containerEnvironment: [(name: String, value: String)] {
        // The user that the pod runs as is in no image's list: programs need a home and a name for it.
        let user = [("HOME", "/tmp"), ("USER", "cas")]
        return user + codeEnvironment
    }

    /// Our variables in whatever container runs the command.
    var codeEnvironment: [(name: String, value: String)] {
        switch mode {
        case .initContainer: [("PYTHONPATH", delivery.codePath)]
        case .bootstrap: delivery.environment + [("PYTHONPATH", delivery.codePath)]
        case .claim:
            [("PYTHONPATH", delivery.codePath), ("PYTHONDONTWRITEBYTECODE", "1")]
        }
    }

    /// The volumes of the mode.
    var volumes: [ManifestValue] {
        switch mode {
        case .initContainer, .bootstrap: [delivery.codeVolume] + delivery.identityVolumes
        case .claim(let claim, _):
            [
                [
                    "name": .text(ManifestNames.codeVolume),
                    "persistentVolumeClaim": ["claimName": .text(claim), "readOnly": true],
                ]
            ]
        }
    }

    /// The mounts of the container that runs the command.
    var mounts: [ManifestValue] {
        switch mode {
        case .initContainer: [delivery.codeMount(readOnly: false)]
        case .bootstrap: [delivery.codeMount(readOnly: false)] + delivery.identityMounts
        case .claim(_, let path):
            [
                [
                    "name": .text(ManifestNames.codeVolume),
                    "mountPath": .text(delivery.codePath),
                    "subPath": .text((path.isEmpty ? "" : path + "/") + delivery.digits),
                    "readOnly": true,
                ]
            ]
        }
    }
}

extension CodeDelivery {
    /// The digits of the digest of the snapshot.
    var digits: String { String(reference.suffix(64)) }
}
