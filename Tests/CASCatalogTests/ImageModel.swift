import CASCatalog
import CASCore
import CASPack
import CASWire

extension CatalogView {
    static let imageNames = ["a", "a/b", "i"]

    /// Everything that can be asked about images.
    mutating func addImages(_ reader: any CatalogReader, _ digests: [Digest]) throws {
        let domain = Domain.standard
        func text(_ values: some Any) -> String { "\(values)" }
        for digest in digests {
            values += [
                text(try reader.links(to: digest, limit: 3, domain: domain)),
                text(try reader.parts(of: digest, domain: domain) as Any),
                text(try reader.manifests(naming: [digest], domain: domain)),
                text(try reader.manifests(naming: [digest, digests[2]], domain: domain)),
                text(try reader.referrers(to: digest, domain: domain)),
                text(try reader.derivedImages(of: digest, domain: domain)),
                text(try reader.derivedImages(naming: digest, limit: 2, domain: domain)),
                text(
                    try reader.derivedImage(tree: digest, options: [1], domain: domain) as Any),
            ]
            for name in Self.imageNames {
                values += [
                    text(try reader.link(name, digest, .blob, domain: domain) as Any),
                    text(try reader.link(name, digest, .manifest, domain: domain) as Any),
                    text(
                        try reader.referrers(
                            name, to: digest, after: digests[3], limit: 2, domain: domain)),
                    text(try reader.links(name, .blob, after: digest, limit: 2, domain: domain)),
                ]
            }
        }
        for name in [nil] + Self.imageNames.map(Optional.some) {
            values.append(text(try reader.imageNames(after: name, limit: 2, domain: domain)))
        }
        var links: [UsedLink] = []
        while true {
            let page = try reader.links(after: links.last?.link, limit: 2, domain: domain)
            links += page
            guard page.count == 2 else { break }
        }
        values.append(text(links))
        var images: [DerivedImage] = []
        while true {
            let page = try reader.derivedImages(after: images.last, limit: 2, domain: domain)
            images += page
            guard page.count == 2 else { break }
        }
        values.append(text(images))
        var aliases: [(sha512: [UInt8], digest: Digest)] = []
        while true {
            let page = try reader.aliases(after: aliases.last?.sha512, limit: 2, domain: domain)
            aliases += page
            guard page.count == 2 else { break }
        }
        values.append(text(aliases))
        for number in Self.numbers {
            let identifier = Sample.identifier(number)
            values += [
                text(try reader.upload(identifier, domain: domain) as Any),
                text(try reader.uploads(after: identifier, limit: 2, domain: domain)),
                text(try reader.uploadParts(identifier, after: 1, limit: 2, domain: domain)),
                text(
                    try reader.alias(
                        [UInt8](repeating: UInt8(number), count: 64), domain: domain) as Any),
            ]
        }
        for name in [nil] + Self.imageNames {
            values.append(text(try reader.uploadCount(to: name, domain: domain)))
        }
        for name in Self.names {
            let name = try RefName(name).name
            var moves: [HistoryEntry] = []
            while true {
                let page = try reader.moves(
                    named: name, after: moves.last, limit: 2, domain: domain)
                moves += page
                guard page.count == 2 else { break }
            }
            values.append(text(moves))
        }
    }
}

extension CatalogChange {
    private var imageName: String { CatalogView.imageNames[(first + second) % 3] }

    private var linkKind: OCILink.Kind { second % 2 == 0 ? .blob : .manifest }

    private var image: DerivedImage {
        DerivedImage(
            tree: Sample.digest(first), options: [UInt8](repeating: 1, count: second % 3),
            manifest: Sample.digest(second), mediaType: "m",
            config: Sample.digest((first + 1) % 8),
            layers: [
                DerivedLayer(
                    digest: Sample.digest((second + 2) % 8), size: 3, format: 1, part: [])
            ], created: Sample.time)
    }

    func applyImages(_ change: any CatalogTransaction) throws -> String {
        let domain = Domain.standard
        let digest = Sample.digest(first)
        let identifier = Sample.identifier(first)
        switch kind {
        case 46, 47, 48:
            try change.insert(
                link: OCILink(
                    name: imageName, digest: digest, kind: linkKind, size: UInt64(second),
                    subject: second == 1 ? Sample.digest(5) : nil, created: Sample.time,
                    parts: linkKind == .manifest ? [Sample.digest(second)] : []),
                used: Int64(second), domain: domain)
        case 49:
            try change.use(
                link: imageName, digest, linkKind, at: Int64(first * 3), domain: domain)
        case 50:
            return "\(try change.removeLink(imageName, digest, linkKind, domain: domain))"
        case 51:
            try change.insert(
                alias: [UInt8](repeating: UInt8(second), count: 64), digest, domain: domain)
        case 52:
            if first == second {
                try change.remove(aliasesAndImagesOf: [digest], domain: domain)
            }
        case 53: try change.insert(derivedImage: image, domain: domain)
        case 54:
            try change.removeDerivedImage(
                tree: image.tree, options: image.options, domain: domain)
        case 55:
            try change.insert(
                upload: UploadEntry(
                    identifier: identifier, name: imageName, size: UInt64(second),
                    tail: [UInt8](repeating: 2, count: second), used: Int64(second)),
                domain: domain)
        case 56:
            try change.append(
                parts: (0...(second % 3)).map { Sample.list($0) }, toUpload: identifier,
                domain: domain)
        default: return "\(try change.removeUpload(identifier, domain: domain))"
        }
        return ""
    }
}
