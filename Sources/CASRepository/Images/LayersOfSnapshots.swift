import CASCatalog
package import CASCore
import CASOCI
import CASTree
package import CASWire

/// Layers of snapshots for images that somebody builds.
extension Repository {
    /// The layers that a snapshot is cut into by some options, linked in the repository of images that the request
    /// names, if any; nil if `isKnownOnly` and somebody has to hash for it.
    ///
    /// Nothing is stored of them but what a derived image is: they are made of the tree whenever they are read, and
    /// keep it. Blocks for as long as it takes to hash what nobody hashed before.
    package func layers(
        _ request: LayersRequest, isKnownOnly: Bool = false, domain: Domain
    ) throws -> LayersResponse? {
        if !request.name.isEmpty { try Repository.requireName(request.name) }
        let options = try SnapshotImageOptions(request.imageOptions)
        guard options.base == nil else {
            throw CASError(
                .invalidArgument, "layers of a snapshot have no base",
                hint: "leave base out of the options")
        }
        let found = try resolve(try Reference(request.want).target, domain: domain)
        use(found.snapshot, isByDigest: false, domain: domain)
        if let name = found.ref?.name { renew(name, holding: found.snapshot, domain: domain) }
        let layers: [DerivedLayer]
        if let known = try knownImage(found.tree, options, domain) {
            layers = known.layers
        } else if isKnownOnly {
            return nil
        } else if request.name.isEmpty {
            try requireWhole(found.snapshot, found.tree, domain)
            layers = try plannedLayers(
                found.tree, options, room: options.maximumLayers, domain)
        } else {
            layers = try derivedImage(
                snapshot: found.snapshot, tree: found.tree, options: options.text, domain: domain
            ).layers
        }
        if !request.name.isEmpty { try link(layers, in: request.name, domain) }
        let totals = try catalog.read { try $0.treeState(of: found.tree, domain: domain)?.totals }
        let layerOptions = try options.layers
        return LayersResponse(
            snapshot: found.snapshot, totals: totals ?? TreeTotals(),
            layers: try layers.map { layer in
                SnapshotLayer(
                    digest: layer.digest, size: layer.size,
                    title: try LayerPart(decoding: layer.part).text(layerOptions))
            })
    }

    private func link(_ layers: [DerivedLayer], in name: String, _ domain: Domain) throws {
        let now = clock.now()
        try makingRoom {
            try commit(session: nil, isEvent: true) { [self] context in
                for layer in layers {
                    guard try revive(layer.digest, context.transaction, domain) else {
                        throw CASError(
                            .aborted, "a layer went while it was linked", hint: "try again",
                            digest: layer.digest)
                    }
                    try insert(
                        OCILink(
                            name: name, digest: layer.digest, kind: .blob, size: layer.size,
                            created: now), context, now, domain)
                }
            }
        }
    }
}
