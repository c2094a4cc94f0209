import CASClient
import CASCore
import CASTestSupport
import CASTree
import CASWire
import Testing

/// Layers of snapshots over the wire.
@Suite struct LayerTests {
    private static let options = "owner=0:0\nprefix=/app"

    @Test func `who may read the snapshot and write the name gets its layers there`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.write("file", content(seed: 1, count: 100_000))
            let digest = try world.withRemote { store in
                try world.push("other/x", store)
                return try world.push("team/a", store).snapshot
            }
            func layers(_ want: String, _ name: String) -> (RemoteStore) throws -> Void {
                {
                    let answer = try $0.layers(
                        LayersRequest(want: want, name: name, imageOptions: Self.options))
                    #expect(answer.layers.count == 1)
                    #expect(answer.layers[0].title == "/app")
                    #expect(answer.snapshot == digest)
                }
            }
            func code(_ token: String, _ body: (RemoteStore) throws -> Void) -> CASError.Code? {
                CASServerTests.code { try world.withRemote(token: token, body) }
            }
            let writer = try world.token("read+write:team")
            #expect(code(writer, layers("team/a", "team/image")) == nil)
            #expect(code(writer, layers("team/a", "")) == nil)
            #expect(code(writer, layers("\(digest)", "team/image")) == nil)
            #expect(code(writer, layers("team/a", "other/image")) == .permissionDenied)
            #expect(code(writer, layers("other/x", "team/image")) == .notFound)
            #expect(code(writer, layers("team/absent", "team/image")) == .notFound)
            #expect(code(try world.token("read"), layers("team/a", "")) == .permissionDenied)
            #expect(
                code(try world.token("write"), layers("\(digest)", "team/image"))
                    == .permissionDenied)
        }
    }
}
