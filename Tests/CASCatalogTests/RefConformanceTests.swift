import CASCatalog
import CASCore
import CASTree
import CASWire
import Testing

/// What every catalog has to do: refs with their history, pushes, tokens and leases.
@Suite struct RefConformanceTests {
    @Test(arguments: CatalogKind.allCases)
    func `everything comes back after the catalog was closed`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { try CatalogSample.fill($0) }
        try fixture.catalog.read { try CatalogSample.check($0) }
        try fixture.reopen()
        try fixture.catalog.read { try CatalogSample.check($0) }
    }

    @Test(arguments: CatalogKind.allCases)
    func `a ref moves, is removed and keeps its history`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        let name = try RefName("a/b:c")
        try fixture.catalog.write { change in
            for sequence in UInt64(1)...5 {
                try change.move(
                    try Sample.move("a/b:c", sequence * 10, to: Int(sequence)),
                    try Sample.entry("a/b:c", sequence * 10, target: Int(sequence), tree: 9),
                    domain: .standard)
            }
            #expect(try change.lastSequence() == 50, "a move raises the sequence")
        }
        try fixture.catalog.write { change in
            #expect(
                try change.ref(name, domain: .standard)
                    == Sample.entry("a/b:c", 50, target: 5, tree: 9))
            func page(_ before: UInt64?, _ limit: Int) throws -> [UInt64] {
                try change.history(name, before: before, limit: limit, domain: .standard)
                    .map(\.sequence)
            }
            #expect(try page(nil, 2) == [50, 40])
            #expect(try page(40, 2) == [30, 20], "an entry at the border stands on one page only")
            #expect(try page(20, 2) == [10])
            #expect(try page(10, 2) == [])
            #expect(try page(41, 1) == [40])
            #expect(try page(.max, 9).count == 5)
            #expect(try page(nil, 0) == [])
            try change.move(try Sample.move("a/b:c", 60, to: nil), nil, domain: .standard)
            #expect(try change.ref(name, domain: .standard) == nil)
            #expect(try page(nil, 9) == [60, 50, 40, 30, 20, 10])
            // A rebuild brings moves twice and out of order.
            try change.move(try Sample.move("a/b:c", 35, to: 3), nil, domain: .standard)
            try change.move(try Sample.move("a/b:c", 30, to: 3), nil, domain: .standard)
            #expect(try page(nil, 9) == [60, 50, 40, 35, 30, 20, 10])
            #expect(try change.lastSequence() == 60, "an older move does not lower it")
            #expect(
                try change.history(
                    try RefName("a/b:d"), before: nil, limit: 9, domain: .standard) == [])
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `refs are listed by name and tag, in pages`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        let names = ["a:1", "a:B", "a:a", "a-b:x", "a/b:x", "a0:x", "ab/c:x", "b:x"]
        try fixture.catalog.write { change in
            for (index, name) in names.shuffled().enumerated() {
                let sequence = UInt64(index + 1)
                try change.move(
                    try Sample.move(name, sequence, to: 1),
                    try Sample.entry(name, sequence, target: 1, tree: nil), domain: .standard)
            }
        }
        try fixture.catalog.read { reader in
            func page(_ prefix: String, after: String? = nil, limit: Int = 99) throws -> [String] {
                try reader.refs(
                    prefix: prefix, after: try after.map { try RefName($0) }, limit: limit,
                    domain: .standard
                ).map(\.name.description)
            }
            #expect(
                try page("") == ["a:1", "a:B", "a:a", "a-b:x", "a/b:x", "a0:x", "ab/c:x", "b:x"])
            #expect(try page("a").count == 7)
            #expect(try page("a/") == ["a/b:x"])
            #expect(try page("ab") == ["ab/c:x"])
            #expect(try page("c") == [])
            #expect(try page("a:1") == [])
            var walked: [String] = []
            while true {
                let part = try page("a", after: walked.last, limit: 2)
                walked += part
                if part.count < 2 { break }
            }
            #expect(walked == ["a:1", "a:B", "a:a", "a-b:x", "a/b:x", "a0:x", "ab/c:x"])
            #expect(try page("", after: "a:C", limit: 1) == ["a:a"], "a border that does not exist")
            #expect(try page("b", after: "a:1") == ["b:x"], "a border before the prefix")
            #expect(try page("", after: "b:x") == [])
            #expect(try page("", limit: 0) == [])
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `a ref gets another end without a move`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        var entry = try Sample.entry("a:x", 1, target: 1, tree: 5)
        try fixture.catalog.write { change in
            try change.update(ref: entry, domain: .standard)
            #expect(try change.ref(entry.name, domain: .standard) == nil, "there is none")
            for (name, sequence, target) in [("a:x", UInt64(1), 1), ("a:y", 2, 1), ("b:x", 3, 1)] {
                try change.move(
                    try Sample.move(name, sequence, to: target),
                    try Sample.entry(name, sequence, target: target, tree: 5), domain: .standard)
            }
            entry.expires = Sample.later
            entry.lifetime = 60
            try change.update(ref: entry, domain: .standard)
        }
        try fixture.reopen()
        try fixture.catalog.read { reader in
            let present = try reader.ref(entry.name, domain: .standard)
            #expect(present == entry)
            func named(_ name: String, _ number: Int, limit: Int = 9) throws -> [String] {
                try reader.refs(
                    named: name, holding: Sample.digest(number), limit: limit, domain: .standard
                ).map(\.name.description)
            }
            #expect(try named("a", 1) == ["a:x", "a:y"])
            #expect(try named("a", 5) == ["a:x", "a:y"], "by tree")
            #expect(try named("a", 5, limit: 1) == ["a:x"])
            #expect(try named("b", 1) == ["b:x"])
            #expect(try named("a", 2) == [])
            #expect(
                try reader.history(entry.name, before: nil, limit: 9, domain: .standard).count == 1)
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `refs are found by what they hold, in their domain`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        let other = Domain(rawValue: Domain.standard.rawValue + 1)
        try fixture.catalog.write { change in
            for (name, sequence, target, tree) in [
                ("b:x", UInt64(1), 1, Optional(5)), ("a:x", 2, 2, 5), ("c:x", 3, 3, nil),
            ] {
                try change.move(
                    try Sample.move(name, sequence, to: target),
                    try Sample.entry(name, sequence, target: target, tree: tree),
                    domain: .standard)
            }
            try change.move(
                try Sample.move("a:x", 4, to: 7), try Sample.entry("a:x", 4, target: 7, tree: 5),
                domain: other)
            try change.insert(push: Sample.identifier(1), Sample.response(1), domain: other)
        }
        try fixture.catalog.read { reader in
            func holding(_ number: Int, _ domain: Domain = .standard) throws -> [String] {
                try reader.refs(holding: Sample.digest(number), limit: 100, domain: domain).map(
                    \.name.name)
            }
            #expect(try holding(1) == ["b"])
            #expect(try holding(3) == ["c"])
            #expect(try holding(5) == ["a", "b"])
            #expect(try holding(7) == [])
            #expect(try holding(7, other) == ["a"])
            #expect(try holding(1, other) == [])
            let name = try RefName("a:x")
            #expect(try reader.ref(name, domain: .standard)?.sequence == 2)
            #expect(try reader.ref(name, domain: other)?.sequence == 4)
            #expect(
                try reader.history(name, before: nil, limit: 9, domain: other).map(\.sequence)
                    == [4])
            #expect(try reader.refs(prefix: "", after: nil, limit: 9, domain: other).count == 1)
            #expect(try reader.push(Sample.identifier(1), domain: .standard) == nil)
            #expect(try reader.push(Sample.identifier(1), domain: other) == Sample.response(1))
            #expect(try reader.counts(domain: .standard).refs == 3)
            #expect(try reader.counts(domain: other).refs == 1)
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `the first answer to a push stays`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            let identifier = Sample.identifier(3)
            #expect(try change.push(identifier, domain: .standard) == nil)
            try change.insert(push: identifier, Sample.response(1), domain: .standard)
            try change.insert(push: identifier, Sample.response(2), domain: .standard)
            #expect(try change.push(identifier, domain: .standard) == Sample.response(1))
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `a token is revoked once and for all`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            for number in [3, 1, 2] { try change.insert(token: try Sample.token(number)) }
            try change.insert(token: try Sample.token(2, name: "renamed"))
            #expect(try change.revoke(token: Sample.identifier(1), at: Sample.time))
            #expect(try change.revoke(token: Sample.identifier(1), at: Sample.later))
            #expect(try !change.revoke(token: Sample.identifier(9), at: Sample.time))
        }
        try fixture.reopen()
        try fixture.catalog.read { reader in
            let tokens = try reader.tokens()
            #expect(tokens.count == 3)
            for (left, right) in zip(tokens, tokens.dropFirst()) {
                #expect(left.id.bytes.lexicographicallyPrecedes(right.id.bytes))
            }
            #expect(
                try reader.token(Sample.identifier(1))?.revoked == Sample.time, "the first time")
            #expect(try reader.token(Sample.identifier(2)) == Sample.token(2, name: "renamed"))
            #expect(try reader.token(Sample.identifier(9)) == nil)
        }
    }

    @Test(arguments: CatalogKind.allCases)
    func `leases are prolonged, end and are found when they ended`(kind: CatalogKind) throws {
        let fixture = try CatalogFixture(kind)
        try fixture.catalog.write { change in
            for (number, expires) in [(1, UInt64(30)), (2, 10), (3, 20), (4, 20)] {
                try change.insert(lease: Sample.lease(number, expires: expires))
            }
            #expect(try change.lease(Sample.identifier(2)) == Sample.lease(2, expires: 10))
            #expect(try change.expiredLeases(at: 9) == [])
            #expect(try change.expiredLeases(at: 10).map(\.expires) == [10], "the end counts")
            #expect(try change.expiredLeases(at: 29).map(\.expires) == [10, 20, 20])
            #expect(try change.renew(lease: Sample.identifier(2), until: 40))
            #expect(try !change.renew(lease: Sample.identifier(7), until: 40))
            #expect(try change.lease(Sample.identifier(7)) == nil)
            try change.insert(lease: Sample.lease(3, expires: 50))
            try change.remove(lease: Sample.identifier(1))
            try change.remove(lease: Sample.identifier(1))
            #expect(try change.expiredLeases(at: .max).map(\.expires) == [20, 40, 50])
        }
    }
}
