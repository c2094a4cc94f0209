import ArgumentParser
import CASClient
import CASCore
import CASKubernetes

/// `cas inject --ref REF -f FILE`.
struct InjectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inject",
        abstract: "Put a snapshot into the pods of a manifest.",
        usage: "cas inject --ref REF [--container NAME] [--mount DIR] -f FILE",
        discussion: """
            Prints the manifest with an init container that fetches the snapshot, its volume, and a mount in each \
            container, which starts in the code unless it names a directory. Takes pods, all that has a pod \
            template, lists, and several documents. The text is edited in place: comments, anchors, order and \
            quotes stay. Twice changes nothing; another REF changes only the ref. No cluster is asked, nothing \
            is applied.

            As a kustomize function (a ResourceList on standard input), ref, container and mount may stand in \
            functionConfig; as a post-renderer of Helm, use -f -.

            EXAMPLES:
              cas inject --ref team/train -f job.yaml > job-with-code.yaml
              cas inject --ref team/train --container trainer -f job.yaml | kubectl apply -f -
              helm template release chart | cas inject --ref team/train -f -
            """)

    @Option(name: .customLong("ref"), help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String?

    @Option(
        help: ArgumentHelp(
            "Only the container of this name gets the code.", valueName: "name"))
    var container: String?

    @Option(help: ArgumentHelp("Where the code is to lie (/cas/code).", valueName: "dir"))
    var mount: String?

    @Option(
        name: [.customShort("f"), .customLong("file")],
        help: ArgumentHelp("The manifest, or '-' for standard input.", valueName: "file"))
    var file: String

    @OptionGroup var deliveryFlags: DeliveryFlags
    @OptionGroup var storeFlags: StoreFlags

    func validate() throws {
        if let reference { _ = try Arguments.reference(reference) }
        if let mount { try Arguments.usage { try Injection.checkMount(mount) } }
        if let container, !KubernetesNames.isLabel(container) {
            throw ValidationError("--container '\(container)' is no name of a container")
        }
    }

    func run() throws {
        try Arguments.requireText()
        let manifest = Array(try ManifestInput.read(file).utf8)
        let function = try FunctionSettings(readingFrom: manifest)
        guard let named = reference ?? function?.reference else {
            throw ValidationError(
                "no snapshot is named; say --ref REF"
                    + (function == nil ? "" : ", or 'ref' in the spec or data of functionConfig"))
        }
        let wanted = try Arguments.reference(named)
        let settings = try Settings.load()
        let result = try storeFlags.withStore(host: wanted.host, settings: settings) { store in
            let resolved = try StoreReader(store.connection).resolve(wanted)
            let delivery = try deliveryFlags.delivery(
                of: resolved, named: wanted, in: store, needsClientImage: true)
            let result = try Injection.apply(
                manifest,
                .init(
                    delivery, container: container ?? function?.container,
                    mount: mount ?? function?.mount))
            DeliveryFlags.noteWithoutToken(delivery)
            return result
        }
        for note in result.notes { Console.note(printable(note)) }
        Console.data(bytes: result.text)
    }
}
