import CASCore

/// Puts a delivery into one pod: values only, no text.
struct PodInjection {
    let delivery: CodeDelivery
    /// The only container that gets the code; nil for all.
    let container: String?
    /// Whether the place of the code was asked for; if not, one that is there already stays.
    let mountIsFixed: Bool

    /// What was done to a pod.
    struct Outcome {
        /// The containers that have the code now.
        var containers: [String] = []
        /// What a person should know.
        var notes: [String] = []
    }

    /// Changes a document's value where a pod is.
    ///
    /// All that may be wrong is found before anything is changed.
    func apply(_ pod: ManifestCursor, to document: inout ManifestValue) throws -> Outcome {
        guard let spec = try pod.member("spec"), let containers = try spec.member("containers")
        else { return Outcome() }
        var targets: [ManifestCursor] = []
        for item in try containers.items() {
            try item.requireObject()
            guard let name = try item.member("name")?.value.text else {
                throw item.problem("a container without a name")
            }
            if container == nil || container == name { targets.append(item) }
        }
        guard !targets.isEmpty else { return Outcome() }

        var plan = Plan(delivery: delivery, document: document)
        try adoptMount(&plan, spec)
        try initContainer(&plan, spec, targets)
        try volumes(&plan, spec)
        for target in targets { try mount(&plan, target) }
        try annotate(&plan, pod)
        document = plan.document
        plan.outcome.containers = try targets.compactMap { try $0.member("name")?.value.text }
        return plan.outcome
    }

    private struct Plan {
        var delivery: CodeDelivery
        var document: ManifestValue
        var outcome = Outcome()
        /// Our init container, if it is there already.
        var present: ManifestCursor?

        mutating func insert(
            _ place: ManifestCursor, _ key: String, _ value: ManifestValue, before: [String]
        ) {
            document.replace(place.path[...]) { $0.insert(key, value, before: before) }
        }

        mutating func set(_ place: ManifestCursor, _ value: ManifestValue) {
            if place.value != value { document.replace(place.path[...]) { $0 = value } }
        }

        /// Adds items to the head of a list, which is made if it is missing.
        mutating func prepend(
            _ owner: ManifestCursor, _ key: String, _ added: [ManifestValue], before: [String]
        ) throws {
            guard !added.isEmpty else { return }
            if let list = try owner.member(key) {
                _ = try list.items()
                document.replace(list.path[...]) { $0.prepend(added) }
            } else {
                insert(owner, key, .list(added), before: before)
            }
        }
    }

    // MARK: - What is there already

    /// Finds our init container and keeps to the place where its pod has the code.
    private func adoptMount(_ plan: inout Plan, _ spec: ManifestCursor) throws {
        guard
            let present = try spec.member("initContainers")?.item(
                named: ManifestNames.initContainer)
        else { return }
        let arguments = try present.member("args")?.items() ?? []
        let environment = try present.member("env")
        guard arguments.count == 3, arguments[0].value.text == "fetch",
            arguments[1].value.text == "--force", let destination = arguments[2].value.text,
            let mount = try present.member("volumeMounts")?.item(named: ManifestNames.codeVolume),
            let path = try mount.member("mountPath")?.value.text,
            try environment?.item(named: "CAS_REF")?.member("value")?.value.text != nil
        else {
            throw present.problem(
                "the init container '\(ManifestNames.initContainer)' is not one of cas inject",
                hint: "rename it, or remove it with its volume and mounts")
        }
        plan.present = present
        if destination == delivery.codePath, path == delivery.mountPath { return }
        guard !mountIsFixed, let kept = delivery.moved(mountPath: path, codePath: destination)
        else {
            throw arguments[1].problem(
                "the code goes to '\(destination)' here, not to '\(delivery.codePath)'",
                hint: "use --mount \(destination), or remove the earlier injection")
        }
        plan.delivery = kept
    }

    // MARK: - Volumes

    private func volumes(_ plan: inout Plan, _ spec: ManifestCursor) throws {
        let list = try spec.member("volumes")
        var added: [ManifestValue] = []
        if let volume = try list?.item(named: ManifestNames.codeVolume) {
            guard plan.present != nil, let empty = try volume.member("emptyDir") else {
                throw volume.problem(
                    "the volume '\(ManifestNames.codeVolume)' is not one of cas inject",
                    hint: "give it another name")
            }
            grow(&plan, try empty.member("sizeLimit"))
        } else {
            added.append(plan.delivery.codeVolume)
        }
        for wanted in plan.delivery.identityVolumes {
            guard let volume = try list?.item(named: wanted["name"]?.text ?? "") else {
                added.append(wanted)
                continue
            }
            try update(&plan, volume, to: wanted)
        }
        try plan.prepend(spec, "volumes", added, before: ["containers"])
    }

    /// Makes the scalars of a volume of ours what they should be; what else the user gave it stays.
    private func update(
        _ plan: inout Plan, _ volume: ManifestCursor, to wanted: ManifestValue
    ) throws {
        if let map = try volume.member("configMap")?.member("name"),
            let name = wanted.at("configMap", "name")
        {
            return plan.set(map, name)
        }
        if let sources = try volume.member("projected")?.member("sources"),
            let audience = wanted.at("projected", "sources")?.items?.first?
                .at("serviceAccountToken", "audience")
        {
            for source in try sources.items() {
                if let token = try source.member("serviceAccountToken")?.member("audience") {
                    return plan.set(token, audience)
                }
            }
        }
        throw volume.problem(
            "the volume '\(wanted["name"]?.text ?? "")' is not one of cas inject",
            hint: "give it another name")
    }

    /// Raises a limit that the snapshot outgrew.
    private func grow(_ plan: inout Plan, _ limit: ManifestCursor?) {
        guard let limit, let wanted = plan.delivery.volumeLimit,
            let present = limit.value.text.flatMap(Self.bytes),
            let needed = Self.bytes(wanted), present < needed
        else { return }
        plan.set(limit, .text(wanted))
        let note = "the snapshot needs \(wanted) now, more than stood there"
        if !plan.outcome.notes.contains(note) { plan.outcome.notes.append(note) }
    }

    /// The bytes of a quantity of Kubernetes (`512Mi`); nil if it is written in another way.
    static func bytes(_ quantity: String) -> UInt64? {
        let units: [Substring: UInt64] = [
            "": 1, "k": 1000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000,
            "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50,
        ]
        let digits = quantity.prefix { $0.isASCII && $0.isNumber }
        guard let number = UInt64(digits), let unit = units[quantity[digits.endIndex...]] else {
            return nil
        }
        let product = number.multipliedReportingOverflow(by: unit)
        return product.overflow ? nil : product.partialValue
    }

    // MARK: - The init container

    private func initContainer(
        _ plan: inout Plan, _ spec: ManifestCursor, _ targets: [ManifestCursor]
    ) throws {
        guard let present = plan.present else {
            let user = try Self.user(spec, targets)
            return try plan.prepend(
                spec, "initContainers", [plan.delivery.injectedInitContainer(user: user)],
                before: ["containers"])
        }
        if let image = try present.member("image") {
            plan.set(image, .text(plan.delivery.clientImage))
        }
        let environment = try present.member("env")
        var added: [ManifestValue] = []
        for (name, value) in plan.delivery.environment {
            if let variable = try environment?.item(named: name) {
                // One that comes from elsewhere (valueFrom) stays.
                if let text = try variable.member("value") { plan.set(text, .text(value)) }
            } else {
                added.append(["name": .text(name), "value": .text(value)])
            }
        }
        try plan.prepend(present, "env", added, before: ["resources"])
        let resources = try present.member("resources")
        for part in ["requests", "limits"] {
            grow(&plan, try resources?.member(part)?.member("ephemeral-storage"))
        }
        try addMounts(&plan, present, plan.delivery.identityMounts)
    }

    /// The user of the init container: none where the pod names one that is not root, else that of a container
    /// that gets the code, so that the files are its own.
    private static func user(_ spec: ManifestCursor, _ targets: [ManifestCursor]) throws -> Int64? {
        func user(_ owner: ManifestCursor) throws -> Int64? {
            guard
                case .integer(let user) = try owner.member("securityContext")?
                    .member("runAsUser")?.value
            else { return nil }
            return user
        }
        if let user = try user(spec), user != 0 { return nil }
        return try targets.lazy.compactMap(user).first { $0 != 0 } ?? 1000
    }

    // MARK: - The containers

    private func mount(_ plan: inout Plan, _ container: ManifestCursor) throws {
        let path = ManifestValue.text(plan.delivery.codePath)
        let after = Self.afterImage(container)
        if try container.member("workingDir") == nil {
            plan.insert(container, "workingDir", path, before: after)
        }
        if let variable = try container.member("env")?.item(named: "PYTHONPATH") {
            if try variable.member("value")?.value != path {
                let name = try container.member("name")?.value.text ?? ""
                plan.outcome.notes.append("PYTHONPATH of container '\(name)' stays as it is")
            }
        } else {
            try plan.prepend(
                container, "env", [["name": "PYTHONPATH", "value": path]], before: after)
        }
        try addMounts(&plan, container, [plan.delivery.codeMount(readOnly: false)])
    }

    private func addMounts(
        _ plan: inout Plan, _ container: ManifestCursor, _ wanted: [ManifestValue]
    ) throws {
        let present = try container.member("volumeMounts")?.items() ?? []
        var added: [ManifestValue] = []
        for mount in wanted {
            let path = mount["mountPath"]?.text ?? ""
            let isCode = mount["name"]?.text == ManifestNames.codeVolume
            let taken = isCode ? [path, plan.delivery.codePath] : [path]
            var found = false
            for item in present {
                let sameName = try item.member("name")?.value.text == mount["name"]?.text
                let place = try item.member("mountPath")?.value.text.map(Self.trimmed)
                let samePlace = place.map(taken.contains) ?? false
                guard sameName || samePlace else { continue }
                guard sameName, place == path, isCode ? plan.present != nil : true else {
                    throw item.problem(
                        samePlace
                            ? "something else is mounted at '\(place ?? "")' already"
                            : "the volume '\(mount["name"]?.text ?? "")' is mounted elsewhere",
                        hint: "give it another place, or put the code elsewhere with --mount DIR")
                }
                found = true
            }
            if !found { added.append(mount) }
        }
        try plan.prepend(
            container, "volumeMounts", added,
            before: Self.afterImage(container))
    }

    private static func trimmed(_ path: String) -> String {
        var path = path[...]
        while path.count > 1, path.last == "/" { path.removeLast() }
        return String(path)
    }

    /// The keys that new ones go before: what follows `image`, or `image` itself at the end.
    private static func afterImage(_ container: ManifestCursor) -> [String] {
        let keys = container.value.members?.map(\.key) ?? []
        guard let image = keys.firstIndex(of: "image") else { return [] }
        if image + 1 < keys.count { return [keys[image + 1]] }
        return image > 0 ? ["image"] : []
    }

    // MARK: - The annotation

    private func annotate(_ plan: inout Plan, _ pod: ManifestCursor) throws {
        let reference = ManifestValue.text(plan.delivery.reference)
        let name = ManifestNames.refAnnotation
        guard let metadata = try pod.member("metadata") else {
            return plan.insert(
                pod, "metadata", ["annotations": .object([.init(name, reference)])],
                before: ["spec"])
        }
        try metadata.requireObject()
        guard let annotations = try metadata.member("annotations") else {
            return plan.insert(
                metadata, "annotations", .object([.init(name, reference)]), before: ["labels"])
        }
        try annotations.requireObject()
        if let present = try annotations.member(name) {
            plan.set(present, reference)
        } else {
            plan.insert(annotations, name, reference, before: [])
        }
    }
}
