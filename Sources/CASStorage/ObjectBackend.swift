package import CASCore
package import CASFileSystem

/// Where sealed packs live: whole, immutable objects under random names.
///
/// The rules are those that an object store can keep: nothing is appended to, renamed or replaced.
/// A value is one namespace (a directory, a bucket with a prefix) that belongs to one store. Methods
/// block, and any thread may call them, also several at once for one object. Absence is nil; a failure is
/// a `CASError`, `unavailable` or `deadlineExceeded` where the same call may succeed later. After a
/// failure a call may have had its effect (a lost answer), and every method can then simply be
/// repeated. What one call did, all later ones of any process see.
package protocol ObjectBackend: Sendable {
    /// Makes a finished file an object, unless one of that name is there, and then leaves that as it is.
    ///
    /// The object is whole and durable when this returns, and not there or whole whenever it throws
    /// or the power fails: nobody ever sees a part of one. False says that the name was taken. Names are
    /// random and a pack has one owner, so that this means that an earlier attempt, whose answer was
    /// lost, made the object. Throws `notFound` if the source is gone.
    func put(_ name: Identifier, _ source: ObjectSource) throws -> Bool

    /// Reads up to `target.count` bytes of an object from `offset`; nil if there is no such object.
    ///
    /// Fewer bytes only at the end of the object, none behind it. On failure the content of `target` is
    /// unspecified. An object that was deleted a moment ago may still be readable.
    func read(
        _ name: Identifier, at offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws -> Int?

    /// Objects behind `after` in the order of their names' bytes, `limit` or fewer; none at the end.
    ///
    /// Every object is listed that is there during the whole of a listing; one that is put or deleted
    /// meanwhile may or may not be.
    func list(after: Identifier?, limit: Int) throws -> [ObjectEntry]

    /// Removes an object, durably; no effect where there is none.
    func delete(_ name: Identifier) throws

    /// Where an object is, as text for a person.
    func place(of name: Identifier) -> String
}

/// A finished file on this machine that is to become an object.
///
/// Its bytes are durable, and nobody changes them from now on, whatever becomes of the attempt: a
/// backend on the same file system makes no copy but gives this very file a second name. The first
/// name stays its owner's, to be removed once the object counts.
package struct ObjectSource: Sendable {
    /// Its path in the file system that the backend was given, if it was given one.
    package let path: String
    /// The same file, open to be read.
    package let file: any StoreFile

    /// A file under its path.
    package init(path: String, file: any StoreFile) {
        self.path = path
        self.file = file
    }
}

/// What a listing says of one object.
package struct ObjectEntry: Hashable, Sendable {
    /// Its name.
    package let name: Identifier
    /// Its bytes.
    package let size: UInt64

    /// An entry from its parts.
    package init(name: Identifier, size: UInt64) {
        self.name = name
        self.size = size
    }
}

extension ObjectBackend {
    /// Calls `body` with every object, by ascending name.
    package func forEach(_ body: (ObjectEntry) throws -> Void) throws {
        var after: Identifier?
        while true {
            let page = try list(after: after, limit: 1000)
            guard let last = page.last else { return }
            for entry in page { try body(entry) }
            after = last.name
        }
    }
}
