import CASCore
import CASFileSystem
import Testing

/// Calls of other programs.
@Suite(.timeLimit(.minutes(10))) struct ProgramCallTests {
    private func call(
        _ script: String, input: [UInt8] = [], maximumBytes: Int = 1 << 24
    ) throws -> ProgramCall.Output {
        try ProgramCall.run(["/bin/sh", "-c", script], input: input, maximumBytes: maximumBytes)
    }

    @Test func `input, output, errors and the exit status arrive`() throws {
        let result = try call("cat; echo said >&2; exit 3", input: Array("given\n".utf8))
        #expect(result.status == 3)
        #expect(result.output == Array("given\n".utf8))
        #expect(result.errors == Array("said\n".utf8))
    }

    @Test func `more than a pipe holds goes through in both directions`() throws {
        let input = [UInt8](repeating: 65, count: 1 << 22)
        let result = try call("tee /dev/stderr", input: input)
        #expect(result.output == input)
        #expect(result.errors == input)
    }

    @Test func `a program that does not read its input ends all the same`() throws {
        let result = try call("exec 0<&-; echo done", input: [UInt8](repeating: 65, count: 1 << 22))
        #expect(result.status == 0)
        #expect(result.output == Array("done\n".utf8))
    }

    @Test func `a signal is a status of 128 and more`() throws {
        #expect(try call("kill -TERM $$").status == 128 + 15)
    }

    @Test func `who prints too much is ended`() throws {
        let error = #expect(throws: CASError.self) { try call("yes", maximumBytes: 1 << 20) }
        #expect(error?.code == .resourceExhausted)
    }

    @Test func `a program that is not there is an error`() throws {
        #expect(throws: CASError.self) {
            try ProgramCall.run(["/no/such/program"], maximumBytes: 1)
        }
    }

    @Test func `it lies in our process group, so that Ctrl-C reaches it`() throws {
        // The fifth field of stat is the group (proc(5)); comm has no blanks here.
        let result = try call("cut -d' ' -f5 /proc/$$/stat; cut -d' ' -f5 /proc/$PPID/stat")
        let groups = String(decoding: result.output, as: UTF8.self).split(separator: "\n")
        #expect(groups.count == 2)
        #expect(groups.first == groups.last)
    }
}
