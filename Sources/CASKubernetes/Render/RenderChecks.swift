import CASCore

extension RenderRequest {
    private static let maximumNodes = 10_000
    private static let maximumGPUs = 1024
    /// Trainer 2.3 takes no more words; they include those of the bootstrap.
    private static let maximumWords = 128
    private static let maximumWordBytes = 1 << 20
    /// A manifest is stored in one object of etcd, which takes 1.5 MiB.
    private static let maximumCommandBytes = 1 << 20
    private static let maximumItems = 256

    /// Throws `invalidArgument` for what Kubernetes, or the kind, does not take; `suffixCharacters` is the length of
    /// what stands behind the prefix and a dash in the object's name.
    package func check(suffixCharacters: Int = RenderRequest.digestCharacters) throws {
        try checkName(suffixCharacters)
        try checkCombination()
        try checkSizes()
        try checkCommand()
        try checkLists()
        if let image, !KubernetesNames.isImage(image) {
            throw KubernetesNames.refused("--image", image, "write REGISTRY/NAME:TAG or …@sha256:…")
        }
        if needsClientImage, !KubernetesNames.isImage(delivery.clientImage) {
            throw KubernetesNames.refused(
                "--client-image", delivery.clientImage, "write REGISTRY/NAME:TAG or …@sha256:…")
        }
        if let authorities = delivery.authorityConfigMap, !KubernetesNames.isSubdomain(authorities)
        {
            throw KubernetesNames.refused(
                "--ca-configmap", authorities, "use lower-case letters, digits, '-' and '.'")
        }
    }

    /// Whether the manifest names the image with cas in it.
    package var needsClientImage: Bool { mode == .initContainer && kind != .trainJob }

    private func checkName(_ suffixCharacters: Int) throws {
        let rule = "use lower-case letters, digits and '-', beginning with a letter"
        let isValid =
            kind == .job
            ? KubernetesNames.isLabel(name) : KubernetesNames.isLetterFirstLabel(name)
        guard isValid else {
            throw KubernetesNames.refused(
                "--name", name, kind == .job ? "use lower-case letters, digits and '-'" : rule)
        }
        if let namespace, !KubernetesNames.isLabel(namespace) {
            throw KubernetesNames.refused(
                "--namespace", namespace, "use lower-case letters, digits and '-', 63 at most")
        }
        let (middle, more) = kind.longestName(isMPI: isMPI)
        let digits = String(max(nodes ?? 1, 1) - 1).count
        let added = 1 + suffixCharacters + middle.count + digits + more
        guard name.utf8.count + added <= KubernetesNames.maximumLabel else {
            throw CASError(
                .invalidArgument,
                "--name is \(name.utf8.count) characters, and "
                    + "\(KubernetesNames.maximumLabel - added) are left for it: with what is added for "
                    + "pods, a name would have more than \(KubernetesNames.maximumLabel)")
        }
    }

    private func checkCombination() throws {
        if kind == .trainJob {
            guard runtime != nil else {
                throw CASError(
                    .invalidArgument, "a TrainJob needs --runtime NAME",
                    hint: "kubectl get clustertrainingruntimes lists what there is")
            }
            if isMPI, image != nil {
                throw CASError(
                    .invalidArgument,
                    "--image contradicts --mpi: Trainer changes the image of the launcher alone, and the "
                        + "workers keep that of the runtime")
            }
        } else {
            if runtime != nil {
                throw CASError(
                    .invalidArgument, "--runtime is for a TrainJob; a \(kind.apiKind) takes --image"
                )
            }
            guard image != nil else {
                throw CASError(
                    .invalidArgument,
                    "a \(kind.apiKind) needs --image IMAGE, in which the command runs")
            }
            if isMPI {
                throw CASError(
                    .invalidArgument, "--mpi says of a TrainJob's runtime what it is for")
            }
        }
        if case .bootstrap = mode, isMPI || kind == .mpiJob {
            throw CASError(
                .invalidArgument,
                "--mode bootstrap can not reach MPI's workers, whose command is not ours",
                hint: "use --mode init or --claim")
        }
        if case .claim(let claim, let path) = mode {
            guard KubernetesNames.isSubdomain(claim) else {
                throw KubernetesNames.refused(
                    "--claim", claim, "use lower-case letters, digits, '-' and '.'")
            }
            let parts = path.split(separator: "/", omittingEmptySubsequences: false)
            guard path.isEmpty || parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }),
                !path.contains("\0")
            else {
                throw CASError(
                    .invalidArgument, "'\(path)' is no path within a claim; write a/b, without '..'"
                )
            }
        }
    }

    private func checkSizes() throws {
        if let nodes, !(1...Self.maximumNodes).contains(nodes) {
            throw CASError(.invalidArgument, "--nodes is a number from 1 to \(Self.maximumNodes)")
        }
        guard (0...Self.maximumGPUs).contains(gpus) else {
            throw CASError(.invalidArgument, "--gpus is a number from 0 to \(Self.maximumGPUs)")
        }
        for (name, amount) in resources {
            guard KubernetesNames.isResource(name) else {
                throw KubernetesNames.refused(
                    "--resources", name, "use cpu, memory, ephemeral-storage or DOMAIN/NAME")
            }
            guard KubernetesNames.isQuantity(amount) else {
                throw KubernetesNames.refused(
                    "--resources \(name)", amount, "write a number as 4, 500m or 32Gi")
            }
            if name == "nvidia.com/gpu", gpus > 0 {
                throw CASError(
                    .invalidArgument, "--gpus and --resources \(name) exclude each other")
            }
        }
        try unique(resources.map(\.name), "--resources")
    }

    private func checkCommand() throws {
        guard !command.isEmpty, command.first != "" else {
            throw CASError(.invalidArgument, "no command is given; put it behind '--'")
        }
        let all = containerCommand(entersDirectory: kind == .trainJob)
        guard all.count <= Self.maximumWords else {
            throw CASError(
                .invalidArgument,
                "the command has more than \(Self.maximumWords - all.count + command.count) words",
                hint: "put them into a script of the snapshot, or a file that it reads")
        }
        var bytes = 0
        for word in command {
            bytes += word.utf8.count
            guard word.utf8.count <= Self.maximumWordBytes, bytes <= Self.maximumCommandBytes else {
                throw CASError(.invalidArgument, "the command is longer than 1 MiB")
            }
            guard !word.utf8.contains(0) else {
                throw CASError(.invalidArgument, "a word of the command holds a NUL")
            }
        }
    }

    private func checkLists() throws {
        for (name, value) in environment {
            guard KubernetesNames.isVariable(name) else {
                throw KubernetesNames.refused(
                    "--env", name,
                    "a variable has letters, digits, '_', '-' and '.', no digit first")
            }
            guard !name.hasPrefix("CAS_") else {
                throw CASError(
                    .invalidArgument,
                    "--env \(name): variables that begin with CAS_ are set by cas",
                    hint: "a token never stands in a manifest; --server and --ref say the others")
            }
            guard !value.utf8.contains(0), value.utf8.count <= Self.maximumWordBytes else {
                throw CASError(
                    .invalidArgument, "--env \(name): the value is no text for a variable")
            }
        }
        try unique(environment.map(\.name), "--env")
        for (key, value) in labels {
            guard KubernetesNames.isQualified(key), KubernetesNames.isLabelValue(value) else {
                throw KubernetesNames.refused(
                    "--label", "\(key)=\(value)",
                    "both are letters, digits, '-', '_' and '.', 63 at most, the key behind DOMAIN/ if any"
                )
            }
            guard !key.hasPrefix(ManifestNames.domain + "/") else {
                throw CASError(.invalidArgument, "--label \(key): these labels are set by cas")
            }
        }
        try unique(labels.map(\.key), "--label")
        guard max(environment.count, labels.count, resources.count) <= Self.maximumItems else {
            throw CASError(.invalidArgument, "more than \(Self.maximumItems) of one flag are given")
        }
    }

    private func unique(_ names: [String], _ flag: String) throws {
        var seen: Set<String> = []
        for name in names where !seen.insert(name).inserted {
            throw CASError(.invalidArgument, "\(flag) \(name) is given twice")
        }
    }
}
