import Foundation
import Testing

/// `cas inject` with a server that tells by which address pods reach it.
@Suite struct InjectCommandTests {
    private let pod = """
        # mine
        kind: Pod
        spec:
          containers:
          - name: main   # the one
            image: python:3.13

        """

    private func fixture(_ address: String = " --cluster-url http://cas.svc:8700") throws
        -> (CommandLineFixture, [String: String])
    {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let server = try fixture.serve("--store store" + address)
        let environment = ["CAS_SERVER": server, "CAS_CLIENT_IMAGE": "cas:1"]
        _ = try fixture.run(["push", "work", "--to", "team/train"], environment: environment)
        try fixture.write("pod.yaml", pod)
        return (fixture, environment)
    }

    @Test func `the manifest goes to standard output, what was done to the error output`() throws {
        let (fixture, environment) = try fixture()
        let first = try fixture.run(
            ["inject", "--ref", "team/train", "-f", "pod.yaml"], environment: environment)
        #expect(first.status == 0, "\(first.errors)")
        #expect(first.output.hasPrefix("# mine\nkind: Pod\nmetadata:\n"))
        #expect(first.output.contains("value: \"http://cas.svc:8700\"\n"))
        #expect(first.output.contains(/value: "team\/train@sha256:[0-9a-f]{64}"/))
        #expect(first.errors.contains("line 2: Pod: main gets it\n"), "\(first.errors)")
        // Again, by standard input: nothing changes. After an edit: only the digest does.
        let again = try fixture.run(
            ["inject", "--ref", "team/train", "-f", "-"], environment: environment,
            input: first.output)
        #expect(again.output == first.output)
        #expect(again.errors.contains("main has it already"), "\(again.errors)")
        try fixture.write("work/model.py", "answer = 43\n")
        _ = try fixture.run(["push", "work", "--to", "team/train"], environment: environment)
        let moved = try fixture.run(
            ["inject", "--ref", "team/train", "-f", "-"], environment: environment,
            input: first.output)
        #expect(moved.output != first.output)
        let digest = /[0-9a-f]{64}/
        #expect(
            moved.output.replacing(digest, with: "") == first.output.replacing(digest, with: ""))
        #expect(try fixture.read("pod.yaml") == pod)
    }

    @Test func `as a kustomize function it is told by functionConfig`() throws {
        let (fixture, environment) = try fixture()
        let indented = pod.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
        let list = """
            apiVersion: config.kubernetes.io/v1
            kind: ResourceList
            functionConfig:
              apiVersion: cas.example.org/v1
              kind: Inject
              metadata: {name: code}
              spec: {ref: team/train, mount: /code, container: main}
            items:
            -\(indented.dropFirst().replacing("# mine\n", with: "# mine\n"))

            """
        let result = try fixture.run(
            ["inject", "-f", "-"], environment: environment, input: list)
        #expect(result.status == 0, "\(result.errors)\n\(list)")
        #expect(result.output.contains("mountPath: /code\n"))
        #expect(
            result.output.contains(
                "      spec: {ref: team/train, mount: /code, container: main}".dropFirst(4)))
        let bad = try fixture.run(
            ["inject", "-f", "-"], environment: environment,
            input: list.replacing("mount: /code", with: "server: http://evil"))
        #expect(bad.status == 1 && bad.errors.contains("'server'"), "\(bad.errors)")
    }

    @Test func `refusals`() throws {
        let (fixture, environment) = try fixture()
        func errors(_ arguments: [String], status: Int32, input: String = "") throws -> String {
            let result = try fixture.run(
                ["inject"] + arguments, environment: environment, input: input)
            #expect(result.status == status, "\(arguments): \(result.errors)")
            #expect(result.output.isEmpty, "\(arguments): \(result.output)")
            return result.errors
        }
        let file = ["-f", "pod.yaml"]
        #expect(try errors(["--ref", "team/other"] + file, status: 1).contains("team/other"))
        #expect(
            try errors(["--ref", "team/train", "-f", "absent.yaml"], status: 1).contains(
                "absent.yaml: the file"))
        #expect(try errors(file, status: 64).contains("--ref REF"))
        #expect(try errors(["--ref", "a", "--mount", "x"] + file, status: 64).contains("'x'"))
        #expect(try errors(["--ref", "team/train"], status: 64).contains("-f"))
        let container = ["--ref", "team/train", "--container", "other"] + file
        #expect(try errors(container, status: 1).contains("its containers are: main"))
        let input = ["--ref", "team/train", "-f", "-"]
        #expect(try errors(input, status: 1).contains("empty"))
        #expect(try errors(input, status: 1, input: "kind: [\n").contains("line 2"))
        #expect(try errors(input, status: 1, input: "kind: TrainJob\n").contains("cas k8s runtime"))
        #expect(try errors(input, status: 1, input: "kind: Service\n").contains("holds Service"))
        // Nobody's pods reach an address of this machine for itself, or a store in a directory.
        let (other, loopback) = try self.fixture("")
        let unreachable = try other.run(
            ["inject", "--ref", "team/train"] + file, environment: loopback)
        #expect(unreachable.status == 1 && unreachable.errors.contains("--cluster-url"))
    }
}
