import CASCore
import CASTestSupport
import CASWire
import Testing

@testable import CASRegistry

/// Which names a list has, and what it looks at for that.
@Suite struct VisibleNamesTests {
    /// A page of some names; counts the rows that were read.
    private func page(
        _ visible: VisibleNames, of names: [String], after: String, limit: Int, read: inout Int
    ) throws -> [String] {
        var count = 0
        let page = try visible.page(after: after, limit: limit) { after, limit in
            let rows = names.filter { after.utf8.lexicographicallyPrecedes($0.utf8) }
                .prefix(min(limit, 7))
            count += rows.count
            return Array(rows)
        } exists: {
            names.contains($0)
        }
        read += count
        return page
    }

    @Test func `a page has what the scopes show, in order, for any names and scopes`() throws {
        for seed in 1...300 {
            var generator = SeededGenerator(seed: UInt64(seed))
            let words = ["a", "a-b", "a.b", "a_b", "a0", "b", "b/a", "z"]
            func name() -> String {
                (0...Int.random(in: 0...2, using: &generator)).map { _ in
                    words.randomElement(using: &generator) ?? ""
                }.joined(separator: "/")
            }
            let names = Set((0..<60).map { _ in name() }).sorted {
                $0.utf8.lexicographicallyPrecedes($1.utf8)
            }
            var scopes = try (0..<Int.random(in: 0...4, using: &generator)).map { _ in
                try TokenScope("read:\(name())")
            }
            scopes.append(try TokenScope("write:a"))
            if seed % 20 == 0 { scopes.append(try TokenScope("admin")) }
            let visible = VisibleNames(scopes)
            let shown = names.filter { name in scopes.contains { $0.allows(.read, name) } }
            var found: [String] = []
            var read = 0
            while true {
                let limit = Int.random(in: 1...9, using: &generator)
                let next = try page(
                    visible, of: names, after: found.last ?? "", limit: limit, read: &read)
                #expect(next.count <= limit, "seed \(seed)")
                found += next
                if next.count < limit { break }
            }
            #expect(found == shown, "seed \(seed)")
        }
    }

    @Test func `what the caller may not see is not looked at`() throws {
        let hidden = (0..<20_000).map { "a\($0)" }.sorted()
        let visible = VisibleNames([try TokenScope("read:z")])
        var read = 0
        let names = hidden + ["z", "z/a"]
        #expect(
            try page(visible, of: names, after: "", limit: 100, read: &read) == ["z", "z/a"])
        #expect(read < 10)
    }
}
