import ArgumentParser
import CASCore
import CASKubernetes

/// `cas render KIND --ref REF --name N -- COMMAND`.
struct RenderCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "render",
        abstract: "Write the manifest of a job whose pods fetch a snapshot.",
        usage: "cas render [OPTIONS] KIND --ref REF --name NAME -- COMMAND [ARGUMENT …]",
        discussion: """
            KIND is trainjob, pytorchjob, tfjob, mpijob, jobset or job. YAML goes to standard output; no cluster \
            is asked. The snapshot is pinned by digest, so that every node and every restart runs the same \
            bytes. The object is named NAME- and eight digits of the digest of all that it says. The words of \
            the command arrive as they are: no shell, no $(VARIABLE).

            EXAMPLES:
              cas render job --ref team/train --name train --image python:3.12 -- python3 train.py
              cas render trainjob --ref team/train --name train --runtime torch-cas --nodes 4 --gpus 8 -- \
            torchrun train.py
              cas render trainjob --ref team/train --name train --runtime torch-distributed --mode bootstrap \
            -- torchrun train.py
              cas render job --ref team/train --name train --image python:3.12 --claim code -- python3 train.py
            """)

    @Argument(help: ArgumentHelp("The kind of object.", valueName: "kind"))
    var kind: JobKind

    @Option(name: .customLong("ref"), help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String

    @Argument(parsing: .postTerminator, help: "The command and its arguments.")
    var command: [String] = []

    @OptionGroup var job: JobFlags
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        _ = try Arguments.reference(reference)
        _ = try job.draft(kind: kind, command: command)
    }

    func run() throws {
        let wanted = try Arguments.reference(reference)
        let settings = try Settings.load()
        let rendered = try storeFlags.withStore(host: wanted.host, settings: settings) { store in
            try job.request(kind: kind, reference: wanted, in: store, command: command).render()
        }
        try Console.data(rendered.documents, asJSON: output.json)
    }
}

extension Console {
    /// Writes manifests as YAML, or as one document of JSON: a List where there are several.
    static func data(_ documents: [ManifestValue], asJSON: Bool) throws {
        guard asJSON else {
            return data(bytes: Array(try ManifestYAML.write(documents).utf8))
        }
        if documents.count == 1 { return data(JSONText(documents[0])) }
        data(
            JSONText([
                "apiVersion": "v1", "kind": "List", "items": .list(documents),
            ]))
    }
}

extension JSONText {
    /// A manifest as JSON.
    init(_ value: ManifestValue) {
        self =
            switch value {
            case .null: .null
            case .boolean(let flag): .boolean(flag)
            case .integer(let number): .number(number)
            case .decimal(let text), .text(let text): .text(text)
            case .list(let items): .list(items.map { JSONText($0) })
            case .object(let members): .object(members.map { ($0.key, JSONText($0.value)) })
            }
    }
}
