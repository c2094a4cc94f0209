import ArgumentParser
import CASCore
import CASKubernetes

/// `cas k8s install`.
struct KubernetesInstallCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "install",
        abstract: "Write the manifests of a server in the cluster.",
        discussion: """
            A StatefulSet of one pod over one volume, Services, a ServiceAccount, a NetworkPolicy, and the right \
            to read the keys that the cluster signs tokens of pods with. Nothing is applied. The same as a \
            kustomize base is ops/kubernetes/base.

            EXAMPLES:
              cas k8s install --image registry.example.org/cas:1 --tls-secret cas-tls | kubectl apply -f -
              cas k8s install --plaintext --storage 500Gi --storage-class fast
            """)

    @Option(help: ArgumentHelp("The namespace, which is made.", valueName: "name"))
    var namespace = "cas-system"

    @Option(help: ArgumentHelp("The image with cas in it (client-image).", valueName: "image"))
    var image: String?

    @Option(help: ArgumentHelp("How large the volume is.", valueName: "amount"))
    var storage = "100Gi"

    @Option(
        help: ArgumentHelp(
            "The class of the volume; the cluster's default if left out.", valueName: "name"))
    var storageClass: String?

    @Option(
        name: .customLong("tls-secret"),
        help: ArgumentHelp(
            "The Secret with the server's certificate (kubernetes.io/tls).", valueName: "name"))
    var certificateSecret: String?

    @Flag(help: "Serve without TLS: whoever sees the cluster's network sees tokens.")
    var plaintext = false

    @Option(
        help: ArgumentHelp(
            "An issuer of identity tokens and its keys; the cluster's own if left out.",
            valueName: "issuer=url"))
    var trust: [String] = []

    @Option(help: ArgumentHelp("Whom identity tokens must be for.", valueName: "name"))
    var audience = "cas"

    @Option(
        help: ArgumentHelp("What tokens of an issuer may do, as for cas serve.", valueName: "rule"))
    var grant: [String] = []

    @OptionGroup var output: OutputFlags

    func validate() throws {
        if plaintext == (certificateSecret != nil) {
            throw ValidationError(
                plaintext
                    ? "--plaintext and --tls-secret exclude each other"
                    : "say --tls-secret NAME for TLS, or --plaintext for none")
        }
        for trust in trust where !trust.contains("=") {
            throw ValidationError("--trust '\(trust)' is no pair; write ISSUER=URL")
        }
    }

    func run() throws {
        let settings = try Settings.load()
        guard let image = image ?? settings.clientImage(flag: nil)?.value else {
            throw ValidationError(
                "no image with cas in it is named; say --image IMAGE, or set client-image in config.yaml"
            )
        }
        var installation = ServerInstallation(image: image)
        installation.namespace = namespace
        installation.storage = storage
        installation.storageClass = storageClass
        installation.certificateSecret = certificateSecret
        if !trust.isEmpty { installation.trust = trust }
        installation.audience = audience
        if !grant.isEmpty { installation.grants = grant }
        let documents = try Arguments.usage { try installation.documents() }
        try Console.data(documents, asJSON: output.json)
    }
}
