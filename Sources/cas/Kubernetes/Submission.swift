import CASClient
import CASCore
import CASFileSystem
import CASKubernetes
import CASWire

/// One job on its way to the cluster.
struct Submission {
    let kubectl: Kubectl
    let store: StoreAccess
    let request: RenderRequest
    /// The ref or digest that is run, with the name that the run lies beside.
    let project: Reference

    /// What came of it.
    struct Submitted {
        let kind: JobKind
        let name: String
        let namespace: String?
        let reference: String
        let run: RefName
        let mode: DeliveryMode

        /// The result for `--json`.
        var json: JSONText {
            .object([
                ("kind", .text(kind.apiKind)), ("name", .text(name)),
                ("namespace", .optional(namespace)), ("ref", .text(reference)),
                ("run", .text(run.description)), ("mode", .text(mode.word)),
            ])
        }
    }

    /// Applies the manifest and records the run.
    ///
    /// The cluster is asked first what it would say; the run is recorded before the object is there, so that
    /// nothing collects its code; where the object is refused after all, the run goes again. Earlier objects
    /// are deleted last.
    func apply(message: String, replaces: Bool) throws -> Submitted {
        var generator = SystemRandomNumberGenerator()
        let rendered = try request.render(suffix: RunName.suffix(&generator))
        let text = try ManifestYAML.write(rendered.documents)
        let what = "\(request.kind.apiKind) \(rendered.name) was not submitted"
        Interruption.leaves(.reading)
        try kubectl.check(
            ["apply", "--dry-run=server", "--filename=-"], input: text, what: what)
        Interruption.leaves(.submission)
        let run = try record(rendered.name, message)
        do {
            let said = try kubectl.check(["apply", "--filename=-"], input: text, what: what)
            Console.note(printable(said.split(separator: "\n").joined(separator: "; ")))
        } catch {
            try forget(run, unless: rendered.name)
            throw error
        }
        if replaces { try deleteOthers(than: rendered.name) }
        return Submitted(
            kind: request.kind, name: rendered.name, namespace: request.namespace,
            reference: request.delivery.reference, run: run, mode: request.mode)
    }

    /// Leaves the pin of the run.
    private func record(_ name: String, _ message: String) throws -> RefName {
        guard let digest = try Reference(request.delivery.reference).digest,
            let projectName = project.name
        else { throw CASError(.internalError, "the manifest names no digest of a name") }
        let run = try Runs.ref(of: name, beside: projectName)
        let place = request.namespace.map { " in \($0)" } ?? ""
        let words = request.command.joined(separator: " ")
        let line = "\(request.kind.apiKind)\(place): \(message.isEmpty ? words : message)"
        _ = try store.connection.setRef(
            run,
            RefUpdate(
                target: digest, precondition: .absent,
                provenance: store.settings.provenance(message: String(line.prefix(1000))),
                lifetime: Runs.lifetimeSeconds))
        Console.note(
            "\(run) in \(store.choice.text) keeps its code, at least 15 days from its last fetch on"
        )
        return run
    }

    /// Takes the pin back where the cluster says that there is no such object.
    ///
    /// An answer that was lost may stand for an object that is there, so in doubt the pin stays. What the
    /// cluster said first is the error to report, whatever becomes of this.
    private func forget(_ run: RefName, unless name: String) throws {
        let found = try kubectl.run(["get", request.kind.resource, name, "--output", "name"])
        guard Kubectl.isAbsent(found) else {
            Console.note("\(run) stays, since the object may be there")
            return
        }
        do {
            try store.connection.removeRef(run, RefUpdate(provenance: store.settings.provenance()))
            Console.note("\(run) is removed again")
        } catch {
            Console.note("\(run) stays until it expires: \(printable("\(error)"))")
        }
    }

    private func deleteOthers(than name: String) throws {
        let said = try kubectl.check(
            [
                "delete", request.kind.resource, "--selector",
                "\(ManifestNames.nameLabel)=\(request.name)", "--field-selector",
                "metadata.name!=\(name)", "--ignore-not-found", "--wait=false",
            ], what: "\(name) is submitted, but earlier objects could not be deleted")
        for line in said.split(separator: "\n") where !line.hasPrefix("No resources") {
            Console.note(printable(String(line)))
        }
    }
}

extension Reference {
    /// The name in it, without a tag; nil for a bare digest.
    var name: String? {
        switch target {
        case .ref(let ref): ref.name
        case .digest(_, let name): name
        }
    }

    /// The digest in it; nil for a ref.
    var digest: Digest? {
        if case .digest(let digest, _) = target { digest } else { nil }
    }
}
