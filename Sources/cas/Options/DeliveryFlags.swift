import ArgumentParser
import CASClient
import CASCore
import CASKubernetes
import CASTree
import CASWire

/// Flags of every command that writes how code reaches a pod.
struct DeliveryFlags: ParsableArguments {
    @Option(help: ArgumentHelp("The image with cas in it (client-image).", valueName: "image"))
    var clientImage: String?

    @Option(
        name: .customLong("ca-configmap"),
        help: ArgumentHelp("A ConfigMap whose ca.crt pods trust.", valueName: "name"))
    var authorityConfigMap: String?

    /// How the code of a snapshot of this store reaches a pod.
    ///
    /// Throws where pods could not reach the store. `fetches` is false where pods have the code already and ask
    /// nobody for it.
    func delivery(
        of resolved: ResolvedSnapshot, named reference: Reference, in store: StoreAccess,
        needsClientImage: Bool, fetches: Bool = true
    ) throws -> CodeDelivery {
        var delivery = try delivery(
            for: DeliveryFlags.pinned(reference, resolved.digest), in: store,
            needsClientImage: needsClientImage, fetches: fetches)
        delivery.bytes = resolved.snapshot.totals.bytes
        delivery.entries = resolved.snapshot.totals.entries
        return delivery
    }

    /// How code of this store reaches a pod, before anybody knows which.
    func delivery(
        for reference: String, in store: StoreAccess, needsClientImage: Bool, fetches: Bool = true
    ) throws -> CodeDelivery {
        let image = store.settings.clientImage(flag: clientImage)?.value
        guard image != nil || !needsClientImage else { throw DeliveryFlags.noClientImage }
        var delivery = CodeDelivery(
            reference: reference, server: "", audience: nil, clientImage: image ?? "",
            authorityConfigMap: authorityConfigMap)
        guard fetches else { return delivery }
        let description = try store.connection.describe()
        delivery.server = try DeliveryFlags.server(description, store)
        delivery.audience = description.audience.isEmpty ? nil : description.audience
        return delivery
    }

    /// Says that pods bring no token, where they bring none.
    static func noteWithoutToken(_ delivery: CodeDelivery) {
        guard delivery.audience == nil else { return }
        Console.note(
            "pods bring no token, since \(printable(delivery.server)) trusts no issuer of them "
                + "(cas serve --trust)")
    }

    /// Says that the usual rule does not let pods of the namespace read this name.
    static func noteOtherNamespace(_ delivery: CodeDelivery, namespace: String?) {
        guard delivery.audience != nil, let namespace,
            let name = delivery.reference.split(separator: "@").first, !name.hasPrefix("sha256:"),
            name != namespace, !name.hasPrefix(namespace + "/")
        else { return }
        Console.note(
            "pods of '\(namespace)' may read \(namespace)/… and not \(printable(String(name))), unless the "
                + "server has a --grant for it; push to \(namespace)/… instead")
    }

    static let noClientImage = ValidationError(
        "no image with cas in it is named; say --client-image IMAGE, or set client-image in config.yaml or "
            + "CAS_CLIENT_IMAGE")

    /// The reference as it stands in manifests: by digest, with the name that rights go by.
    static func pinned(_ reference: Reference, _ digest: Digest) -> String {
        let name: String? =
            switch reference.target {
            case .ref(let ref): ref.name
            case .digest(_, let name): name
            }
        return name.map { "\($0)@\(digest)" } ?? "\(digest)"
    }

    /// The server that a choice names; throws for a store on this machine, which no pod reaches.
    @discardableResult
    static func server(_ choice: StoreChoice) throws -> ServerAddress {
        guard case .server(let address, _) = choice else {
            throw CASError(
                .failedPrecondition,
                "pods can not reach a store in \(choice.text) on this machine",
                hint:
                    "push to a server that they reach: cas serve --cluster-url URL, CAS_SERVER=URL")
        }
        return address
    }

    /// The address by which pods reach the server: what it says of itself, else the one that was used here.
    static func server(_ description: StoreDescription, _ store: StoreAccess) throws -> String {
        let used = try server(store.choice)
        let told = [description.clusterURL, description.publicURL].first { !$0.isEmpty }
        let address = try told.map { try ServerAddress($0) } ?? used
        guard !address.isLoopback else {
            throw CASError(
                .failedPrecondition,
                "pods can not reach \(address.url), which is an address of this machine for itself",
                hint: "the server must tell by which address they do: cas serve --cluster-url URL")
        }
        return address.url
    }
}
