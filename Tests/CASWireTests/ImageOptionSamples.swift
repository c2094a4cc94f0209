import CASCore
import CASTree
import CASWire

/// What came with images of snapshots.
extension Samples {
    static func imagePush() throws -> PushRequest {
        var push = try expiringPush()
        push.imageOptions = "prefix=/app"
        var other = try expiringPush()
        other.pushID = Identifier(high: 1, low: 2)
        other.ref = try RefName("team/other")
        other.imageOptions = ""
        push.others = [other]
        return push
    }

    static func imageEntry() throws -> RefEntry {
        var entry = try entry()
        entry.imageOptions = "prefix=/app"
        return entry
    }

    static let imageUpdate = RefUpdate(
        target: digest, provenance: provenance, imageOptions: "prefix=/app")

    static let basedImage = DerivedImage(
        tree: digest, options: [1], manifest: other, mediaType: "m", config: digest,
        layers: [DerivedLayer(digest: other, size: 8, format: 1, part: [3], key: digest)],
        created: time, base: other, inherited: [digest, other])

    static let layersWanted = LayersRequest(
        want: "team/project", name: "team/image", imageOptions: "owner=0:0\nprefix=/app")

    static let layersGiven = LayersResponse(
        snapshot: digest, totals: TreeTotals(files: 1, directories: 2, symlinks: 3, bytes: 4),
        layers: [SnapshotLayer(digest: other, size: 5, title: "/app (1 of 2)")])

    static func imageRenewal() throws -> StoreEvent {
        .refRenewed(
            RefRenewal(
                name: try ref(), move: 7, expires: nil, lifetime: 0, imageOptions: "",
                domain: .standard), sequence: 20)
    }
}
