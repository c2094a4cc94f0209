import CASCore
import Testing

@testable import CASKubernetes

/// What the tests of injection share.
enum InjectionSupport {
    static let first = "team/train@sha256:" + String(repeating: "1a", count: 32)
    static let second = "team/train@sha256:" + String(repeating: "2b", count: 32)

    static func delivery(_ reference: String = first, bytes: UInt64 = 5 << 20) -> CodeDelivery {
        CodeDelivery(
            reference: reference, server: "http://cas.cas-system.svc:8700", audience: "cas",
            clientImage: "registry.example.org/cas:1.0", bytes: bytes, entries: 40)
    }

    static func inject(
        _ text: String, _ reference: String = first, container: String? = nil, mount: String? = nil,
        bytes: UInt64 = 5 << 20
    ) throws -> String {
        let request = Injection.Request(
            delivery(reference, bytes: bytes), container: container, mount: mount)
        let result = try Injection.apply(Array(text.utf8), request)
        return String(decoding: result.text, as: UTF8.self)
    }

    /// The error of an injection that should fail.
    static func refusal(
        _ text: String, container: String? = nil, mount: String? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) -> CASError {
        do {
            let result = try inject(text, container: container, mount: mount)
            Issue.record("it was edited:\n\(result)", sourceLocation: location)
        } catch let error as CASError {
            return error
        } catch {
            Issue.record("\(error)", sourceLocation: location)
        }
        return CASError(.unknown, "")
    }

    /// Checks what holds of every injection, and hands back its result.
    @discardableResult
    static func check(
        _ text: String, container: String? = nil, mount: String? = nil, _ note: String = "",
        _ location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let result = try inject(text, container: container, mount: mount)
        let comment = Comment(rawValue: note + "\n" + text + "\n=>\n" + result)
        // A null that is written out gives way to a value; all else stays.
        let kept = text.replacing("null", with: "").replacing("~", with: "")
        #expect(
            isSubsequence(Array(kept.utf8), Array(result.utf8)), comment, sourceLocation: location)
        let again = try inject(result, container: container, mount: mount)
        #expect(again == result, comment, sourceLocation: location)
        let moved = try inject(result, second, container: container, mount: mount)
        #expect(
            moved == result.replacing(first, with: second), comment, sourceLocation: location)
        let old = try ManifestYAML.parse(text)
        let new = try ManifestYAML.parse(result)
        #expect(old.count == new.count, sourceLocation: location)
        for (old, new) in zip(old, new) {
            #expect(holds(new, old), comment, sourceLocation: location)
        }
        return result
    }

    /// Whether a value has all that another has: only members, and items at the head, may be new.
    static func holds(_ new: ManifestValue, _ old: ManifestValue) -> Bool {
        switch (new, old) {
        case (.object(let members), .object(let others)):
            return others.allSatisfy { other in
                members.first { $0.key == other.key }.map { holds($0.value, other.value) } ?? false
            }
        case (.list(let items), .list(let others)):
            guard items.count >= others.count else { return false }
            return zip(items.suffix(others.count), others).allSatisfy { holds($0, $1) }
        case (_, .null): return true
        default: return new == old
        }
    }

    static func isSubsequence(_ part: [UInt8], _ whole: [UInt8]) -> Bool {
        var position = 0
        for byte in whole where position < part.count && part[position] == byte { position += 1 }
        return position == part.count
    }
}
