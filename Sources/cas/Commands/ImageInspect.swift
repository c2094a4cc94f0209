import ArgumentParser
import CASClient
import CASCore
import CASImage
import CASOCI

/// `cas image inspect IMAGE`.
struct ImageInspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show the manifest, the configuration and the layers of an image.",
        discussion: """
            --raw prints the manifest byte for byte, that of an index too.

            EXAMPLES:
              cas image inspect registry.example/team/train:v1
              cas image inspect team/train:run --json
              cas image inspect docker.io/library/python:3.12 --raw | sha256sum
            """)

    @Argument(help: ArgumentHelp("The image.", valueName: "image"))
    var image: String

    @Flag(help: "Print the manifest as it is.")
    var raw = false

    @OptionGroup var registries: RegistryFlags
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        if raw, output.json {
            throw ValidationError("--raw and --json exclude each other")
        }
        _ = try ImageAccess.reference(image)
    }

    func run() throws {
        let settings = try Settings.load()
        let reference = try ImageAccess.reference(image)
        let access = ImageAccess(settings, registries, storeFlags)
        let work = { () throws -> Void in
            let result = Result { try inspect(reference, try access.repository(reference)) }
            try access.close()
            try result.get()
        }
        guard reference.host == nil else { return try work() }
        try storeFlags.withStore(isPatient: false, settings: settings) { store in
            access.store = store
            try work()
        }
    }

    private func inspect(
        _ reference: ImageReference, _ repository: any ImageRepository
    ) throws {
        if raw {
            return Console.data(
                bytes: try ResolvedImage.top(reference, in: repository).bytes)
        }
        let image = try ResolvedImage(
            reference, in: repository, platform: try registries.chosenPlatform())
        let configuration = try? JSON(decoding: image.configuration)
        if output.json {
            return Console.data(json(reference, image, configuration))
        }
        show(reference, image, configuration)
    }

    private func show(_ reference: ImageReference, _ image: ResolvedImage, _ config: JSON?) {
        var table = TextTable(.left, .left)
        func add(_ name: String, _ value: String?) {
            if let value, !value.isEmpty { table.add(name, printable(value)) }
        }
        func words(_ key: String) -> String? {
            config?["config"]?[key]?.texts.map { JSONText.list($0.map { .text($0) }).line }
        }
        add("image", "\(reference)")
        if image.top.digest != image.image.digest { add("index", "\(image.top.digest)") }
        add("manifest", "\(image.image.digest)")
        add("configuration", "\(image.manifest.config.digest)")
        add(
            "platform",
            ["os", "architecture", "variant"].compactMap { config?[$0]?.text }.joined(
                separator: "/"))
        add("created", config?["created"]?.text)
        add("base", image.manifest.annotations[Annotation.baseName])
        add("revision", image.manifest.annotations[Annotation.revision])
        add("entrypoint", words("Entrypoint"))
        add("cmd", words("Cmd"))
        add("workdir", config?["config"]?["WorkingDir"]?.text)
        add("user", config?["config"]?["User"]?.text)
        for variable in config?["config"]?["Env"]?.texts ?? [] { add("env", variable) }
        let labels = config?["config"]?["Labels"]?.map ?? [:]
        for key in JSON.sorted(labels.keys) { add("label", "\(key)=\(labels[key] ?? "")") }
        Console.data(lines: table.lines())
        var layers = TextTable(.left, .right, .left)
        let made = history(config, count: image.manifest.layers.count)
        for (index, layer) in image.manifest.layers.enumerated() {
            layers.add("\(layer.digest)", ByteCount.text(layer.size), printable(made[index]))
        }
        Console.data(lines: ["layers"] + layers.lines(indent: "  "))
    }

    /// What made each layer; empty where the history tells of other layers.
    private func history(_ config: JSON?, count: Int) -> [String] {
        let entries = (config?["history"]?.elements ?? []).filter {
            $0["empty_layer"]?.flag != true
        }
        guard entries.count == count else { return Array(repeating: "", count: count) }
        return entries.map { String(($0["created_by"]?.text ?? "").prefix(100)) }
    }

    private func json(
        _ reference: ImageReference, _ image: ResolvedImage, _ config: JSON?
    ) -> JSONText {
        .object([
            ("image", .text("\(reference)")), ("digest", .text("\(image.top.digest)")),
            ("mediaType", .text(image.top.mediaType)),
            ("manifestDigest", .text("\(image.image.digest)")),
            ("manifest", (try? JSON(decoding: image.image.bytes)).map { JSONText($0) } ?? .null),
            ("configuration", config.map { JSONText($0) } ?? .null),
        ])
    }
}

extension JSONText {
    /// A document that was read.
    init(_ value: JSON) {
        self =
            switch value {
            case .null: .null
            case .boolean(let flag): .boolean(flag)
            case .number(let text): Int64(text).map { .number($0) } ?? .text(text)
            case .text(let text): .text(text)
            case .list(let items): .list(items.map { JSONText($0) })
            case .object(let members): .object(members.map { ($0.key, JSONText($0.value)) })
            }
    }

    /// The document on one line.
    var line: String {
        description.split(separator: "\n").map { $0.drop { $0 == " " } }.joined(separator: " ")
            .replacing("[ ", with: "[").replacing(" ]", with: "]")
    }
}
