import CASCatalog
import CASCore
import CASFileSystem
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

/// Commits that move several refs: all of them, or none.
@Suite struct SeveralRefsTests {
    private func request(_ refs: [(String, SampleTree)]) throws -> PushRequest {
        let requests = try refs.map { ref, tree in try TestPush(ref).request(tree.digest) }
        var request = requests[0]
        request.others = Array(requests.dropFirst())
        return request
    }

    private func commit(
        _ request: PushRequest, _ repository: Repository
    ) throws -> PushResponse {
        let none = ReusableBuffer()
        return try withExtendedLifetime(none) {
            try repository.commit(
                request, records: none.bytes, trusted: false, domain: .standard)
        }
    }

    @Test(arguments: Storage.allCases)
    func `they move together, and a repeated commit gets the same answer`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        let trees = try (0..<2).map { try SampleTree.random(UInt64(800 + $0)) }
        for (index, tree) in trees.enumerated() {
            try store.repository.push(tree, to: "known-\(index)")
        }
        let request = try request([
            ("a", trees[0]), ("known-1", trees[1]), ("b", trees[1]),
        ])
        let response = try commit(request, store.repository)
        #expect(([response] + response.others).map(\.outcome) == [.done, .unchanged, .done])
        try store.reopen()
        let again = try commit(request, store.repository)
        #expect(([again] + again.others).map(\.sequence).first == response.sequence)
        #expect(([again] + again.others).map(\.outcome) == [.done, .unchanged, .done])
        for name in ["a", "b"] {
            let history = try store.repository.historyPage(
                try RefName(name), before: "", limit: 10, domain: .standard)
            #expect(history.entries.count == 1)
        }
        try trees[0].expectWhole(in: store.repository, "a")
        try trees[1].expectWhole(in: store.repository, "b")
        _ = try store.rebuild()
        try trees[1].expectWhole(in: store.repository, "b")
    }

    @Test func `each has image options of its own, and they stay`() throws {
        let store = try TestStore()
        let trees = try (0..<2).map { try SampleTree.random(UInt64(820 + $0)) }
        for (index, tree) in trees.enumerated() {
            try store.repository.push(tree, to: "known-\(index)")
        }
        func options(_ name: String) throws -> String? {
            try store.repository.ref(try RefName(name), domain: .standard)?.imageOptions
        }
        var request = try request([("a", trees[0]), ("known-1", trees[1]), ("b", trees[1])])
        request.imageOptions = "prefix=/one"
        request.others[0].imageOptions = "prefix=/two"
        let response = try commit(request, store.repository)
        #expect(([response] + response.others).map(\.outcome) == [.done, .unchanged, .done])
        #expect(try ["a", "known-1", "b"].map(options) == ["prefix=/one", "prefix=/two", ""])
        _ = try commit(try self.request([("a", trees[1]), ("b", trees[0])]), store.repository)
        #expect(try options("a") == "prefix=/one")
        var wrong = try self.request([("a", trees[0]), ("b", trees[1])])
        wrong.others[0].imageOptions = "prefix"
        #expect(try code { _ = try commit(wrong, store.repository) } == .invalidArgument)
        _ = try store.rebuild()
        #expect(try ["a", "known-1", "b"].map(options) == ["prefix=/one", "prefix=/two", ""])
    }

    @Test func `what forbids one forbids all`() throws {
        let store = try TestStore()
        let known = try SampleTree.random(810)
        let unknown = try SampleTree.random(811)
        try store.repository.push(known, to: "known")
        let missing = try commit(
            try request([("a", known), ("b", unknown)]), store.repository)
        #expect(missing.outcome == .missing && missing.missing == [unknown.digest])
        var taken = try request([("a", known), ("known", known), ("b", known)])
        taken.others[0].precondition = .absent
        let conflict = try commit(taken, store.repository)
        #expect(conflict.outcome == .conflict)
        #expect(conflict.ref?.description == "known:latest")
        var rule = RetentionRule(pattern: "once")
        rule.onceTags = ["*"]
        _ = try store.repository.set(rule: rule, domain: .standard)
        try store.repository.push(known, to: "once")
        let other = try SampleTree.random(812)
        try store.repository.push(other, to: "other")
        #expect(
            try code {
                _ = try commit(
                    try request([("a", known), ("b", other), ("once", other)]), store.repository)
            } == .failedPrecondition)
        #expect(
            try code {
                _ = try commit(try request([("a", known), ("a", other)]), store.repository)
            } == .invalidArgument)
        for name in ["a", "b"] {
            #expect(try store.repository.ref(try RefName(name), domain: .standard) == nil)
        }
    }

    @Test func `a failure and the end of the process anywhere leaves all or none`() throws {
        let known = try SampleTree.random(820)
        var outcomes: Set<Int> = []
        for number in 0..<40 {
            let store = try TestStore()
            try store.repository.push(known, to: "known")
            let request = try request([("a", known), ("b", known), ("c", known)])
            store.simulated.inject(
                .error(CASError(.internalError, "no")), at: number)
            var isDone = false
            do {
                isDone = try commit(request, store.repository).outcome == .done
            } catch is CASError {}
            store.simulated.inject(
                .error(CASError(.internalError, "")), at: .max)
            try store.reopen(closing: false)
            let count = try ["a", "b", "c"].count {
                try store.repository.ref(try RefName($0), domain: .standard) != nil
            }
            #expect(count == 0 && !isDone || count == 3, "failure \(number): \(count)")
            outcomes.insert(count)
        }
        #expect(outcomes == [0, 3])
    }
}
