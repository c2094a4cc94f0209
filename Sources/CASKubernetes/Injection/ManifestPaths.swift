/// What is wrong at one place of a manifest; the line is found by the path.
struct ManifestProblem: Error {
    let path: ManifestPath
    let message: String
    var hint: String?
}

/// A value in a document, with the way to it: what is read of it fails with its line.
struct ManifestCursor {
    let path: [ManifestStep]
    let value: ManifestValue

    init(_ value: ManifestValue, path: [ManifestStep] = []) {
        self.value = value
        self.path = path
    }

    /// An error at this place.
    func problem(_ message: String, hint: String? = nil) -> ManifestProblem {
        ManifestProblem(path: path[...], message: message, hint: hint)
    }

    /// The member of an object; nil if it has none, or nothing for it.
    ///
    /// What comes from a merge key is refused: an edit there would change all that share it.
    func member(_ key: String) throws -> ManifestCursor? {
        if let found = value[key] {
            return found == .null ? nil : ManifestCursor(found, path: path + [.key(key)])
        }
        if let merged = value["<<"], Self.merges(merged, key, depth: 0) {
            throw ManifestCursor(merged, path: path + [.key("<<")]).problem(
                "'\(key)' comes from a merge key (<<), which is not edited",
                hint: "write '\(key)' out in this place")
        }
        return nil
    }

    private static func merges(_ source: ManifestValue, _ key: String, depth: Int) -> Bool {
        guard depth < 20 else { return true }
        if let items = source.items { return items.contains { merges($0, key, depth: depth + 1) } }
        if source[key] != nil { return true }
        return source["<<"].map { merges($0, key, depth: depth + 1) } ?? false
    }

    /// The items of a list.
    func items() throws -> [ManifestCursor] {
        guard let items = value.items else { throw problem("a list is expected here") }
        return items.enumerated().map { ManifestCursor($1, path: path + [.index($0)]) }
    }

    /// The item with a name.
    func item(named name: String) throws -> ManifestCursor? {
        try items().first { try $0.member("name")?.value.text == name }
    }

    /// Fails unless this is an object.
    func requireObject() throws {
        guard value.members != nil else { throw problem("an object is expected here") }
    }
}

extension ManifestValue {
    /// Replaces the value at the end of a path that is there.
    mutating func replace(_ path: ManifestPath, _ body: (inout ManifestValue) -> Void) {
        guard let step = path.first else { return body(&self) }
        switch (self, step) {
        case (.list(var items), .index(let index)) where index < items.count:
            items[index].replace(path.dropFirst(), body)
            self = .list(items)
        case (.object(var members), .key(let key)):
            guard let index = members.firstIndex(where: { $0.key == key }) else { return }
            members[index].value.replace(path.dropFirst(), body)
            self = .object(members)
        default: break
        }
    }

    /// Adds a member before the first of some others, or gives one that is null a value.
    ///
    /// Without any of the others it is put before the second member, or the only one: the first often follows
    /// a dash, and what follows the last is hard to find in a text.
    mutating func insert(_ key: String, _ value: ManifestValue, before others: [String]) {
        var members = self.members ?? []
        if let present = members.firstIndex(where: { $0.key == key }) {
            members[present].value = value
        } else {
            let place = others.lazy.compactMap { other in
                members.firstIndex { $0.key == other }
            }.first
            members.insert(Member(key, value), at: place ?? (members.count > 1 ? 1 : 0))
        }
        self = .object(members)
    }

    /// Adds items at the head of a list.
    mutating func prepend(_ added: [ManifestValue]) {
        self = .list(added + (items ?? []))
    }
}
