import CASCore
import CASTestSupport
import CASWire
import Testing

@testable import CASRegistry

@Suite struct TokenTests {
    private static let grants = [
        RegistryScope(name: "team/a", actions: [.pull, .push]), .catalog,
    ]

    @Test func `a bearer says what it was issued for`() throws {
        let tokens = BearerTokens()
        for owner: BearerTokens.Owner in [
            .token(Identifier(high: 1, low: 2)), .anonymous,
            .identity(
                [try TokenScope("read+write:team"), try TokenScope("admin")],
                subject: "system:serviceaccount:a b\n"),
            .identity([], subject: ""),
        ] {
            for grants in [[], Self.grants] {
                let content = BearerTokens.Content(owner: owner, grants: grants, expires: 1000)
                #expect(tokens.read(tokens.issue(content), now: 999) == content)
                #expect(tokens.read(tokens.issue(content), now: 1000) == nil)
                #expect(BearerTokens().read(tokens.issue(content), now: 0) == nil)
            }
        }
    }

    @Test func `a bearer that was changed anywhere is none`() {
        let tokens = BearerTokens(key: [1, 2, 3])
        let text = tokens.issue(
            BearerTokens.Content(owner: .anonymous, grants: Self.grants, expires: 1000))
        let bytes = Array(text.utf8)
        for index in bytes.indices {
            var changed = bytes
            changed[index] =
                changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            let other = String(decoding: changed, as: UTF8.self)
            // The last character of a part may hold loose bits, which mean nothing.
            if let content = tokens.read(other, now: 0) { #expect(content.grants == Self.grants) }
            #expect(tokens.read(String(text.prefix(index)), now: 0) == nil)
        }
        for other in ["", "casr.", "casr..", "casr.a.b", text + ".", "x" + text] {
            #expect(tokens.read(other, now: 0) == nil, "\(other)")
        }
    }

    @Test func `scopes are read as clients write them`() {
        #expect(
            RegistryScope("repository:a/b:pull,push")
                == RegistryScope(name: "a/b", actions: [.pull, .push]))
        #expect(
            RegistryScope("repository:a:*")
                == RegistryScope(name: "a", actions: [.pull, .push, .delete]))
        #expect(
            RegistryScope("repository(plugin):a:pull") == RegistryScope(name: "a", actions: [.pull])
        )
        #expect(RegistryScope("registry:catalog:*") == .catalog)
        #expect(RegistryScope("repository:a:fly") == RegistryScope(name: "a", actions: []))
        for text in [
            "", "repository", "repository:a", "repository:UPPER:pull", "registry:x:*", "a:b:c",
        ] {
            #expect(RegistryScope(text) == nil, "\(text)")
        }
        #expect(RegistryScope.list("repository:a:pull  registry:catalog:* x").count == 2)
        #expect(
            RegistryScope(name: "a/b", actions: [.delete, .pull, .push]).description
                == "repository:a/b:pull,push,delete")
    }

    @Test func `base64 goes there and back`() {
        for count in 0..<70 {
            let bytes = content(seed: UInt64(count), count: count)
            #expect(Base64.decode(Base64.encodeURL(bytes)) == bytes)
        }
        #expect(Base64.decode("YTpi") == Array("a:b".utf8))
        #expect(Base64.decode("YTo=") == Array("a:".utf8))
        #expect(Base64.decode("+/+/") == Base64.decode("-_-_"))
        for text in ["Y", "Y Q", "YTpi?"] { #expect(Base64.decode(text) == nil) }
    }

    /// RFC 4231, test cases 1, 2 and 6.
    @Test func `message authentication is HMAC`() {
        #expect(
            MessageAuthentication.code(
                Array("Hi There".utf8), key: [UInt8](repeating: 0x0b, count: 20)
            ).hexadecimal == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
        #expect(
            MessageAuthentication.code(
                Array("what do ya want for nothing?".utf8), key: Array("Jefe".utf8)
            ).hexadecimal == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        #expect(
            MessageAuthentication.code(
                Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
                key: [UInt8](repeating: 0xaa, count: 131)
            ).hexadecimal == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    }
}
