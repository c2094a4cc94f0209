import ArgumentParser
import CASClient
import CASCore
import CASKubernetes
import CASWire

/// `cas k8s pull-secret`.
struct KubernetesPullSecretCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull-secret",
        abstract: "Write the Secret with which nodes pull images of the store.",
        discussion: """
            It holds the token of this user for the server (cas login), under the registry host that the server \
            tells (cas serve --registry-host). What is printed is a secret: give it to kubectl, and keep no file.

            EXAMPLES:
              cas k8s pull-secret --namespace team-a | kubectl apply -f -
            """)

    @Option(help: ArgumentHelp("The name of the Secret.", valueName: "name"))
    var name = "cas-pull"

    @Option(help: ArgumentHelp("The namespace.", valueName: "name"))
    var namespace: String?

    @OptionGroup var storeFlags: StoreFlags

    func validate() throws {
        guard KubernetesNames.isSubdomain(name) else {
            throw ValidationError(
                "--name '\(name)' is no name of an object; use lower-case letters, digits, '-' and '.'"
            )
        }
        if let namespace, !KubernetesNames.isLabel(namespace) {
            throw ValidationError("--namespace '\(namespace)' is no name of a namespace")
        }
    }

    func run() throws {
        let settings = try Settings.load()
        let secret = try storeFlags.withStore(settings: settings) { store in
            guard case .server(let address, _) = store.choice else {
                throw CASError(
                    .failedPrecondition, "nodes can not pull from a store on this machine",
                    hint: "name a server: CAS_SERVER=URL")
            }
            let host = try store.connection.describe().registryHost
            guard !host.isEmpty else {
                throw CASError(
                    .failedPrecondition, "\(address.url) tells no host that images are pulled from",
                    hint: "cas serve --registry-host HOST says which one nodes reach")
            }
            guard let token = try TokenSource(for: address, settings: settings).token() else {
                throw CASError(
                    .unauthenticated, "there is no token for \(address.url) to put into a Secret",
                    hint: "cas login \(address.url)")
            }
            // A pod's own token ends within the hour, and a Secret with it would fail long after.
            guard token.hasPrefix("cas_") else {
                throw CASError(
                    .failedPrecondition, "the token for \(address.url) is none that lasts",
                    hint: "cas token create pull --scope read:TEAM makes one")
            }
            Console.note(
                "this holds a secret: the token of \(address.authority), for \(printable(host))")
            return PullSecret(host: host, token: token, name: name, namespace: namespace).document
        }
        try Console.data([secret], asJSON: false)
    }
}
