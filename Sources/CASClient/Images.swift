package import CASCore
package import CASWire

/// What is said where images meet a store that knows none.
enum ImageFailure {
    static func notTaken(_ ref: RefName) -> CASError {
        CASError(
            .failedPrecondition,
            "'\(ref)' names an image, and the store is of a version of cas that takes none",
            hint: "upgrade it")
    }
}

/// What became of the image of a snapshot that was answered once by the store that it comes from.
package enum CarriedImage: Sendable {
    /// It is here under the same digest.
    case same(Digest)
    /// This store makes another one of the snapshot.
    case other(was: Digest, is: Digest?)
    /// It could not be made.
    case failed(Digest, CASError)

    /// Has a store make the image that a ref's snapshot is.
    static func derive(
        _ digest: Digest, of ref: RefName, _ target: any StoreConnection
    ) -> CarriedImage {
        do {
            let made = try target.images(of: ref, derives: true).derived
            return made == digest ? .same(digest) : .other(was: digest, is: made)
        } catch let error as CASError {
            return .failed(digest, error)
        } catch {
            return .failed(
                digest, CASError(.unknown, "the image could not be made", cause: error))
        }
    }
}

/// An image that somebody named, with everything that belongs to it.
package struct NamedImage: Sendable {
    /// The name that has it.
    package var name: String
    /// Its manifest or index.
    package var digest: Digest
    /// The ref that names it; nil where its digest was given.
    package var entry: RefEntry?
    /// What belongs to it.
    package var images: RefImages

    /// An image from its parts.
    package init(name: String, digest: Digest, entry: RefEntry?, images: RefImages) {
        self.name = name
        self.digest = digest
        self.entry = entry
        self.images = images
    }

    /// The same as another name has it.
    func contents(as other: String) -> [ImageContents] {
        images.images.map { image in
            var image = image
            if image.name == name { image.name = other }
            return image
        }
    }

    /// Image options as another name has them: an image below that comes along into that name is named there.
    func imageOptions(_ text: String, as other: String) -> String {
        guard other != name, let own = images.images.first(where: { $0.name == name }) else {
            return text
        }
        return text.split(separator: "\n").map { line in
            let base = own.manifests.first { line == "base=\(name)@\($0.digest)" }
            return base.map { "base=\(other)@\($0.digest)" } ?? String(line)
        }.joined(separator: "\n")
    }
}

extension StoreConnection {
    /// The image that a reference names; nil where it names none, or nothing.
    package func image(_ reference: Reference) throws -> NamedImage? {
        switch reference.target {
        case .ref(let name):
            guard let entry = try ref(name), entry.target.kind == .manifest else { return nil }
            guard try describe().takesImages else { throw ImageFailure.notTaken(name) }
            return NamedImage(
                name: name.name, digest: entry.target.digest, entry: entry,
                images: try images(of: entry.target.digest, name: name.name))
        case .digest(let digest, .some(let name)):
            guard try describe().takesImages else { return nil }
            do {
                return NamedImage(
                    name: name, digest: digest, entry: nil,
                    images: try images(of: digest, name: name))
            } catch let error as CASError where error.code == .notFound {
                return nil
            }
        case .digest: return nil
        }
    }

    /// What a ref names, and what belongs to it besides its snapshot, of one moment; throws `notFound`.
    package func refWithImages(
        _ name: RefName, takesImages: Bool
    ) throws -> (entry: RefEntry, images: RefImages) {
        for _ in 0..<5 {
            guard let entry = try ref(name) else {
                throw CASError(
                    .notFound, "there is no ref '\(name)'", hint: "cas ls lists what there is")
            }
            guard takesImages else {
                guard entry.target.kind == .snapshot else { throw ImageFailure.notTaken(name) }
                return (entry, RefImages(ref: name))
            }
            let found = try images(of: name, derives: false)
            if try ref(name)?.sequence == entry.sequence { return (entry, found) }
        }
        throw CASError(
            .aborted, "'\(name)' moves again and again while it is looked at", hint: "try again")
    }
}
