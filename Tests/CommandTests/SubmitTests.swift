import Foundation
import Testing

/// `cas submit`, `cas runs`, and runs where refs are wanted; kubectl is a stand-in that writes down its calls.
@Suite struct SubmitTests {
    /// A runtime with the init container, as kubectl prints it.
    private static let runtime = """
        {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "ClusterTrainingRuntime",
         "metadata": {"name": "torch-cas"},
         "spec": {"mlPolicy": {"numNodes": 1, "torch": {}}, "template": {"spec": {"replicatedJobs": [
          {"name": "node", "template": {"spec": {"template": {"spec": {
           "initContainers": [{"name": "cas-fetch"}], "containers": [{"name": "node"}]}}}}}]}}}}
        """
    /// What a cluster answers that has the runtime and runs the job to its end.
    private static let working = """
        get\\ clustertrainingruntimes*) cat "$(dirname "$0")/runtime.json" ;;
        apply*dry-run*) echo 'created (server dry run)' ;;
        apply*) echo 'trainjob.trainer.kubeflow.org/x created' ;;
        get\\ pods*) echo 'x-node-0-0 Running'; echo 'x-node-0-1 Succeeded' ;;
        logs*) echo '[pod/x-node-0-0/node] trained' ;;
        get\\ *jobs.*) echo 'Complete=True JobsCompleted: done' ;;
        delete*) echo 'trainjob.trainer.kubeflow.org "resnet-old" deleted' ;;
        """

    private struct World {
        let fixture: CommandLineFixture
        let address: String

        init(_ answers: String, announce: String = " --cluster-url http://cas.example.org") throws {
            fixture = try CommandLineFixture()
            try fixture.writeProject()
            try fixture.write("bin/runtime.json", SubmitTests.runtime)
            try fixture.standInForKubectl(answers)
            address = try fixture.serve("--store \(fixture.path("store"))" + announce)
        }

        var environment: [String: String] {
            fixture.withKubectl.merging(["CAS_SERVER": address]) { $1 }
        }

        func run(_ line: String) throws -> CommandLineFixture.Result {
            try fixture.run(
                line.split(separator: " ").map(String.init), environment: environment)
        }

        /// Submits a TrainJob with two nodes.
        func submit(_ more: String = "") throws -> CommandLineFixture.Result {
            try run(
                "submit trainjob work --to team/resnet --name resnet --runtime torch-cas --nodes 2 "
                    + "--namespace team \(more) -- python train.py")
        }

        /// The name of the object that the last line of data says.
        func name(_ result: CommandLineFixture.Result) throws -> String {
            let line = try #require(result.output.split(separator: "\n").first)
            return String(line.dropFirst("trainjob/".count).prefix { $0 != " " })
        }

        func refs() throws -> String { try run("ls").output }
    }

    @Test func `a directory becomes a run that is followed to its end`() throws {
        let world = try World(Self.working)
        let result = try world.submit()
        #expect(result.status == 0, "\(result.errors)")
        let name = try world.name(result)
        #expect(name.contains(/^resnet-[bcdfghjklmnpqrstvwxz24-9]{5}$/), "\(name)")
        #expect(result.output.contains("[pod/x-node-0-0/node] trained"))
        #expect(
            result.errors.contains("mode init: the runtime 'torch-cas' declares the init container")
        )
        #expect(result.errors.contains("2 pods: 1 Running, 1 Succeeded"))
        #expect(result.errors.contains("\(name) is done"))
        let calls = try world.fixture.kubectlCalls()
        #expect(calls.allSatisfy { $0.hasSuffix(" --namespace team") })
        #expect(
            calls.map { $0.split(separator: " ").prefix(2).joined(separator: " ") } == [
                "get clustertrainingruntimes.trainer.kubeflow.org", "apply --dry-run=server",
                "apply --filename=-", "get pods", "logs --follow",
                "get trainjobs.trainer.kubeflow.org",
            ])
        #expect(calls[4].contains("--selector jobset.sigs.k8s.io/jobset-name=\(name) "))
        let manifest = try world.fixture.read("manifest.yaml")
        #expect(manifest.contains("name: \(name)\n"))
        #expect(manifest.contains(/team\/resnet@sha256:[0-9a-f]{64}/))
        #expect(!manifest.contains("127.0.0.1"))
    }

    @Test func `the same manifest as render writes, but for its name`() throws {
        let world = try World(Self.working)
        let name = try world.name(try world.submit("--detach"))
        let applied = try world.fixture.read("manifest.yaml")
        let rendered = try world.run(
            "render trainjob --ref team/resnet --name resnet --runtime torch-cas --nodes 2 "
                + "--namespace team -- python train.py")
        #expect(rendered.status == 0, "\(rendered.errors)")
        let other = try #require(rendered.output.firstMatch(of: /name: (resnet-[0-9a-f]{8})\n/))
        #expect(rendered.output.replacing(String(other.1), with: name) == applied)
    }

    @Test func `runs are listed and stand for their code`() throws {
        let world = try World(Self.working)
        let first = try world.name(try world.submit("--detach"))
        try world.fixture.write("work/model.py", "answer = 43\n")
        let second = try world.name(try world.submit("--detach --message better"))
        let runs = try world.run("runs").output.split(separator: "\n")
        #expect(runs.map { $0.prefix { $0 != " " } } == [Substring(second), Substring(first)])
        #expect(runs[0].hasSuffix("TrainJob in team: better"))
        #expect(runs[1].hasSuffix("TrainJob in team: python train.py"))
        let document = try world.run("runs team/ --json").output
        #expect(document.contains(#""expires": "20"#))
        let difference = try world.run("diff \(first) \(second)")
        #expect(difference.status == 2)
        #expect(difference.output == "M model.py\n")
        #expect(try world.run("fetch \(first) old").status == 0)
        #expect(try world.fixture.read("old/model.py") == "answer = 42\n")
        // And again from a run, without a push.
        let again = try world.run(
            "submit trainjob --ref \(first) --name again --runtime torch-cas --detach -- python train.py"
        )
        #expect(again.status == 0, "\(again.errors)")
        #expect(try world.run("diff \(first) \(try world.name(again))").status == 0)
        #expect(try world.run("fetch nosuchrun old").errors.contains("there is no ref"))
    }

    @Test func `a refusal of the cluster changes nothing there, and leaves no run`() throws {
        let refusal = "echo 'Error from server (Forbidden): trainjobs is forbidden' >&2; exit 1"
        let world = try World(
            "apply*dry-run*) \(refusal) ;;\n" + Self.working)
        let result = try world.submit()
        #expect(result.status == 1)
        #expect(result.errors.contains("kubectl says: Error from server (Forbidden)"))
        #expect(result.errors.contains("hint: kubectl auth can-i"))
        #expect(result.output == "")
        #expect(try world.run("runs").output == "")
        #expect(try !world.fixture.kubectlCalls().contains { $0.hasPrefix("apply --filename") })
    }

    @Test func `a refusal after the dry run takes the run back`() throws {
        let world = try World(
            """
            apply\\ --filename*) echo 'Error from server: quota' >&2; exit 1 ;;
            get\\ *--output\\ name*) echo 'Error from server (NotFound): x' >&2; exit 1 ;;

            """ + Self.working)
        let result = try world.submit()
        #expect(result.status == 1)
        #expect(result.errors.contains("kubectl says: Error from server: quota"))
        #expect(result.errors.contains("is removed again"))
        #expect(try world.run("runs").output == "")
    }

    @Test func `an answer that was lost leaves the run, as its object may be there`() throws {
        let world = try World(
            "apply\\ --filename*) echo 'Unable to connect: i/o timeout' >&2; exit 1 ;;\n"
                + Self.working)
        let result = try world.submit()
        #expect(result.status == 1)
        #expect(result.errors.contains("stays, since the object may be there"))
        #expect(try world.run("runs").output.contains("team/resnet@"))
    }

    @Test func `without kubectl nothing is pushed`() throws {
        let world = try World(Self.working)
        let result = try world.fixture.run(
            ["submit", "job", "work", "--name", "x", "--image", "i", "--", "true"],
            environment: ["CAS_SERVER": world.address, "PATH": world.fixture.path("none")])
        #expect(result.status == 1)
        #expect(result.errors.contains("there is no kubectl on the PATH"))
        #expect(try world.refs() == "")
    }

    @Test func `a store that pods do not reach is refused before a push`() throws {
        let world = try World(Self.working, announce: "")
        let result = try world.submit()
        #expect(result.status == 1)
        #expect(result.errors.contains("--cluster-url"))
        #expect(try world.refs() == "")
        let local = try world.fixture.run(
            [
                "submit", "trainjob", "work", "--name", "x", "--runtime", "r", "--store",
                world.fixture.path("other"), "--", "true",
            ], environment: world.fixture.withKubectl)
        #expect(local.status == 1)
        #expect(local.errors.contains("pods can not reach a store in"))
    }

    @Test func `a runtime that nobody may read means bootstrap`() throws {
        let world = try World(
            "get\\ cluster*) echo 'Error from server (Forbidden): no' >&2; exit 1 ;;\n"
                + Self.working)
        let result = try world.submit("--detach")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("mode bootstrap: runtimes can not be read with your rights"))
        #expect(try world.fixture.read("manifest.yaml").contains("python3"))
    }

    @Test func `a runtime that is not there is an error before a push`() throws {
        let world = try World(
            "get\\ cluster*) echo 'Error from server (NotFound): not found' >&2; exit 1 ;;\n"
                + Self.working)
        let result = try world.submit()
        #expect(result.status == 1)
        #expect(result.errors.contains("the runtime 'torch-cas' can not be read"))
        #expect(try world.refs() == "")
    }

    @Test func `a job that fails is a failure`() throws {
        let world = try World(
            "get\\ *jobs.*) echo 'Failed=True BackoffLimit: rank 1 died' ;;\n" + Self.working)
        let result = try world.submit()
        #expect(result.status == 1)
        #expect(result.errors.contains("failed: BackoffLimit: rank 1 died"))
    }

    @Test func `earlier objects go after the new one is there`() throws {
        let world = try World(Self.working)
        let result = try world.submit("--replace --detach")
        #expect(result.status == 0, "\(result.errors)")
        let calls = try world.fixture.kubectlCalls()
        let last = try #require(calls.last)
        #expect(
            last.hasPrefix(
                "delete trainjobs.trainer.kubeflow.org --selector cas.example.org/name=resnet "))
        #expect(last.contains("metadata.name!=\(try world.name(result)) "))
        #expect(result.errors.contains(#""resnet-old" deleted"#))
    }

    @Test(arguments: [
        "submit job work --name Upper --image i -- true",
        "submit job work --name x --namespace under_score --image i -- true",
        "submit job work --name x --image i --env 1X=y -- true",
        "submit job work --name x --image i --label a/b/c=y -- true",
        "submit job work --name x --image i",
        "submit job --ref team/x work --name x --image i -- true",
        "submit cronjob work --name x --image i -- true",
        "submit trainjob work --name x -- true",
    ])
    func `what Kubernetes does not accept is said before anything is done`(_ line: String) throws {
        let world = try World(Self.working)
        let result = try world.run(line)
        #expect(result.status == 64, "\(result.errors)")
        #expect(try world.fixture.kubectlCalls() == [])
        #expect(try world.refs() == "")
    }
}
