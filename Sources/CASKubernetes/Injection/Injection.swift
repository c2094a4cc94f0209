import CASCore

/// Puts the delivery of a snapshot into any manifest that bears pods.
///
/// The text is edited, not written anew: comments, anchors, order, quotes, indentation and line ends stay. What
/// the manifest should say is computed apart from the text, and the edited text is read again and compared with
/// it: an edit that does not say exactly that is an error and changes nothing.
package enum Injection {
    /// Bytes of a manifest at most.
    package static let maximumBytes = 16 << 20

    /// What to put where.
    package struct Request: Sendable {
        /// The delivery, with the code where `mount` says.
        package var delivery: CodeDelivery
        /// The only container that gets the code; nil for all of a pod's.
        package var container: String?
        /// Where the code is to lie; nil for the usual place, or where it lies already.
        package var mount: String?

        /// A request from its parts.
        package init(_ delivery: CodeDelivery, container: String? = nil, mount: String? = nil) {
            self.delivery = delivery
            self.container = container
            self.mount = mount
        }
    }

    /// The manifest with the code in it.
    package struct Result: Sendable {
        /// The text of all documents.
        package var text: [UInt8]
        /// One line for each pod, and what else a person should know.
        package var notes: [String]
    }

    /// Fails if the code can not lie in a directory.
    package static func checkMount(_ directory: String) throws {
        let none = CodeDelivery(reference: "", server: "", audience: nil, clientImage: "")
        _ = try none.mounted(at: directory)
    }

    /// Edits a text of one or more documents, YAML or JSON.
    package static func apply(_ bytes: [UInt8], _ request: Request) throws -> Result {
        var delivery = request.delivery
        if let mount = request.mount { delivery = try delivery.mounted(at: mount) }
        let (mark, manifest) = try read(bytes)
        let injection = PodInjection(
            delivery: delivery, container: request.container, mountIsFixed: request.mount != nil)

        var wanted = manifest.documents.map(\.value)
        var notes: [String] = []
        var finder = PodFinder()
        var names: Set<String> = []
        for (index, document) in manifest.documents.enumerated() {
            try at(document, manifest.text) {
                let first = finder.places.count
                let original = wanted[index]
                try finder.visit(ManifestCursor(original))
                for place in finder.places[first...] {
                    let pod = cursor(original, place.path)
                    names.formUnion(containerNames(pod))
                    let before = wanted[index]
                    let outcome = try injection.apply(pod, to: &wanted[index])
                    guard !outcome.containers.isEmpty else { continue }
                    let line = manifest.text.line(at: document.nearest(place.path[...]).offset)
                    let what = wanted[index] == before ? "has it already" : "gets it"
                    notes.append(
                        "line \(line): \(place.owner): \(outcome.containers.joined(separator: ", ")) \(what)"
                    )
                    notes += outcome.notes.map { "line \(line): \(place.owner): \($0)" }
                }
            }
        }
        guard !notes.isEmpty else { throw nothing(finder, request.container, names) }
        notes += finder.trainJobs.map {
            "\($0) bears no pods: it gets the code from its runtime (cas k8s runtime), or from cas render trainjob"
        }
        return Result(text: mark + (try edit(manifest, to: wanted)), notes: notes)
    }

    /// Reads a manifest; a byte order mark is kept apart.
    private static func read(_ bytes: [UInt8]) throws -> ([UInt8], LocatedManifest) {
        guard bytes.count <= maximumBytes else {
            throw CASError(
                .resourceExhausted,
                "the manifest is larger than \(ByteCount.text(UInt64(maximumBytes)))")
        }
        let mark: [UInt8] = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? Array(bytes[..<3]) : []
        let body = Array(bytes[mark.count...])
        guard String(validating: body, as: UTF8.self) != nil else {
            throw CASError(.invalidArgument, "the manifest is no UTF-8 text")
        }
        let manifest = try LocatedManifest(ManifestText(body))
        guard manifest.documents.contains(where: { $0.value != .null }) else {
            throw CASError(.invalidArgument, "the manifest is empty")
        }
        return (mark, manifest)
    }

    private static func edit(
        _ manifest: LocatedManifest, to wanted: [ManifestValue]
    ) throws -> [UInt8] {
        var failure: CASError?
        for aboveComments in [true, false] {
            var editor = ManifestEditor(manifest.text, aboveComments: aboveComments)
            for (document, value) in zip(manifest.documents, wanted) {
                try editor.change(document, to: value)
            }
            let bytes = editor.result()
            do {
                let again = try LocatedManifest(ManifestText(bytes)).documents.map(\.value)
                if again == wanted { return bytes }
                failure = difference(manifest, wanted, again)
            } catch let error as CASError {
                failure = CASError(
                    .unimplemented,
                    "the manifest can not be edited in the form that it has: \(error.message)",
                    hint: "write the pod's part in plain block style, or edit it by hand")
            }
        }
        throw failure ?? CASError(.internalError, "the manifest can not be edited")
    }

    /// Names the first line where the edited text says something else than it should.
    private static func difference(
        _ manifest: LocatedManifest, _ wanted: [ManifestValue], _ found: [ManifestValue]
    ) -> CASError {
        var line = 1
        for (index, document) in manifest.documents.enumerated() {
            guard index < found.count, found[index] == wanted[index] else {
                let path =
                    index < found.count
                    ? firstDifference(document.value, wanted[index], found[index]) : []
                line = manifest.text.line(at: document.nearest(path[...]).offset)
                break
            }
        }
        return CASError(
            .unimplemented,
            "line \(line): the text can not be edited without changing something else",
            hint:
                "where an anchor is shared with a part that does not get the code, write that part out"
        )
    }

    /// The way to the first place where two values differ, in the value that both were made from.
    private static func firstDifference(
        _ original: ManifestValue, _ left: ManifestValue, _ right: ManifestValue
    ) -> [ManifestStep] {
        switch (left, right) {
        case (.object(let members), .object):
            for member in members {
                guard let other = right[member.key] else { return [] }
                if other != member.value {
                    let below = original[member.key] ?? .null
                    return [.key(member.key)] + firstDifference(below, member.value, other)
                }
            }
        case (.list(let items), .list(let others)):
            let present = original.items ?? []
            // New items stand at the head; those that were there keep their distance from the end.
            let added = items.count - present.count
            guard items.count == others.count else { return [] }
            for (index, (item, other)) in zip(items, others).enumerated() where item != other {
                guard index >= added else { return [] }
                let place = index - added
                return [.index(place)] + firstDifference(present[place], item, other)
            }
        default: break
        }
        return []
    }

    private static func cursor(_ document: ManifestValue, _ path: [ManifestStep]) -> ManifestCursor
    {
        var value = document
        for step in path {
            switch step {
            case .key(let key): value = value[key] ?? .null
            case .index(let index): value = value.items?[index] ?? .null
            }
        }
        return ManifestCursor(value, path: path)
    }

    private static func containerNames(_ pod: ManifestCursor) -> [String] {
        pod.value.at("spec", "containers")?.items?.compactMap { $0["name"]?.text } ?? []
    }

    /// Runs with a document; a problem of it gets its line.
    private static func at(
        _ document: LocatedValue, _ text: ManifestText, _ body: () throws -> Void
    ) throws {
        do { try body() } catch let problem as ManifestProblem {
            let line = text.line(at: document.nearest(problem.path).offset)
            throw CASError(
                .failedPrecondition, "line \(line): \(problem.message)", hint: problem.hint)
        }
    }

    private static func nothing(
        _ finder: PodFinder, _ container: String?, _ names: Set<String>
    ) -> CASError {
        if !finder.places.isEmpty {
            let known = names.sorted().prefix(20).joined(separator: ", ")
            return CASError(
                .notFound, "no pod of the manifest has a container '\(container ?? "")'",
                hint: "its containers are: \(known)")
        }
        if !finder.trainJobs.isEmpty {
            return CASError(
                .failedPrecondition, "a TrainJob bears no pods, so nothing can be put into it",
                hint: "cas render trainjob writes one with its code; "
                    + "cas k8s runtime derives a runtime that delivers it")
        }
        var kinds: [String] = []
        for kind in finder.others where !kinds.contains(kind) { kinds.append(kind) }
        let found = kinds.isEmpty ? "no resource" : kinds.prefix(20).joined(separator: ", ")
        return CASError(
            .notFound, "the manifest bears no pods; it holds \(found)",
            hint: "give a Pod, or a resource with a pod template: Job, PyTorchJob, Deployment …")
    }
}
