import ArgumentParser
import CASCore
import CASKubernetes

/// `cas k8s`.
struct KubernetesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "k8s", abstract: "What a cluster needs so that its pods can fetch.",
        discussion: """
            All of them print manifests and apply nothing.

            EXAMPLES:
              cas k8s install --image registry.example.org/cas:1 --tls-secret cas-tls | kubectl apply -f -
              cas k8s runtime torch-distributed --as torch-cas | kubectl apply -f -
              cas k8s pull-secret --namespace team-a | kubectl apply -f -
            """,
        subcommands: [
            KubernetesRuntimeCommand.self, KubernetesInstallCommand.self,
            KubernetesPullSecretCommand.self,
        ])
}

/// `cas k8s runtime NAME`.
struct KubernetesRuntimeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runtime",
        abstract: "Derive a runtime of Kubeflow Trainer that declares the init container.",
        discussion: """
            A TrainJob can not add an init container, so its runtime must have it. Prints the runtime NAME of \
            the cluster, or of a file, with it: all else stays as it is, and doing so twice changes nothing. \
            The launcher and the workers of MPI both get the code. Nothing is applied.

            EXAMPLES:
              cas k8s runtime torch-distributed --client-image registry.example.org/cas:1 | kubectl apply -f -
              cas k8s runtime torch-distributed -f runtime.yaml --as torch-cas
            """)

    @Argument(help: ArgumentHelp("The existing runtime.", valueName: "name"))
    var name: String

    @Option(
        name: .customLong("as"),
        help: ArgumentHelp("The name of the new one (NAME-cas).", valueName: "name"))
    var newName: String?

    @Option(
        name: [.customShort("f"), .customLong("file")],
        help: ArgumentHelp(
            "Read it from a file, or '-', instead of asking kubectl.", valueName: "file"))
    var file: String?

    @Option(help: ArgumentHelp("Take the TrainingRuntime of this namespace.", valueName: "name"))
    var namespace: String?

    @OptionGroup var deliveryFlags: DeliveryFlags
    @OptionGroup var storeFlags: StoreFlags

    func validate() throws {
        for (flag, name) in [("NAME", name), ("--as", newName ?? name)]
        where !KubernetesNames.isSubdomain(name) {
            throw ValidationError(
                "\(flag) '\(name)' is no name of an object; use lower-case letters, digits, '-' and '.'"
            )
        }
        if let namespace, !KubernetesNames.isLabel(namespace) {
            throw ValidationError("--namespace '\(namespace)' is no name of a namespace")
        }
    }

    func run() throws {
        let settings = try Settings.load()
        let runtime = try existing(settings)
        let derived = try storeFlags.withStore(settings: settings) { store in
            let delivery = try deliveryFlags.delivery(for: "", in: store, needsClientImage: true)
            let derived = try RuntimeDerivation(
                delivery: delivery, name: newName, namespace: namespace
            ).derive(from: runtime)
            DeliveryFlags.noteWithoutToken(delivery)
            return derived
        }
        for note in derived.notes { Console.note(printable(note)) }
        try Console.data([derived.document], asJSON: false)
    }

    private func existing(_ settings: Settings) throws -> ManifestValue {
        let documents: [ManifestValue]
        if let file {
            documents = try ManifestYAML.parse(try ManifestInput.read(file))
        } else {
            let kubectl = try Kubectl.find(settings.environment, namespace: namespace)
            let resource = namespace == nil ? "clustertrainingruntime" : "trainingruntime"
            documents = try ManifestYAML.parse(
                try kubectl.check(
                    ["get", resource + "s.trainer.kubeflow.org", name, "--output", "yaml"],
                    what: "the runtime '\(name)' can not be read"))
        }
        let all = documents.flatMap { document in
            document["kind"]?.text?.hasSuffix("List") == true
                ? document["items"]?.items ?? [] : [document]
        }
        let named = all.filter { $0.at("metadata", "name")?.text == name }
        guard let found = named.first, named.count == 1 else {
            let names = all.compactMap { $0.at("metadata", "name")?.text }
            throw CASError(
                .notFound,
                named.isEmpty
                    ? "there is no runtime '\(name)' in it"
                    : "'\(name)' stands there \(named.count) times",
                hint: names.isEmpty ? nil : "it has: " + names.prefix(20).joined(separator: ", "))
        }
        return found
    }
}
