import CASFileSystem
import Foundation
import Testing

/// `cas render` and `cas k8s`: what they print, and what they refuse.
@Suite(.timeLimit(.minutes(10))) struct RenderCommandTests {
    private static let image = "--image python:3.12 --client-image registry.example.org/cas:1"

    /// A fixture with a pushed project and a server that pods reach by a name.
    private func served(_ flags: String = "--cluster-url http://cas.cas-system.svc:8700") throws
        -> (CommandLineFixture, [String: String])
    {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let server = ["CAS_SERVER": try fixture.serve("--store store \(flags)")]
        #expect(
            try fixture.run(["push", "work", "--to", "team/train"], environment: server).status == 0
        )
        return (fixture, server)
    }

    @Test func `a manifest on standard output, the same each time`() throws {
        let (fixture, server) = try served()
        let line = "render job --ref team/train --name train \(Self.image) --nodes 2"
        let words = line.split(separator: " ").map(String.init)
        let command = ["--", "python3", "train.py", "--name", "$(id) é"]
        let first = try fixture.cas(words + command, environment: server)
        #expect(try fixture.run(words + command, environment: server).output == first.output)
        try fixture.cas(words + ["--json"] + command, environment: server)
        // By digest it is the same; another snapshot is another object.
        let pushed = try fixture.run(["push", "work", "--to", "team/train"], environment: server)
        let pinned = pushed.output.trimmingCharacters(in: .newlines)
        let byDigest = words.map { $0 == "team/train" ? pinned : $0 }
        #expect(try fixture.run(byDigest + command, environment: server).output == first.output)
        try fixture.write("work/model.py", "answer = 43\n")
        _ = try fixture.run(["push", "work", "--to", "team/train"], environment: server)
        #expect(try fixture.run(words + command, environment: server).output != first.output)
        #expect(try fixture.run(byDigest + command, environment: server).output == first.output)
        try fixture.cas(
            "render trainjob --ref team/train --name train --runtime torch-cas --trainer 2.1 -- true",
            environment: server)
        // Pods of a claim speak to no server.
        _ = try fixture.stopServer()
        try fixture.cas(
            "render job --ref team/train --name train --image python:3.12 --claim code:published "
                + "--store store -- true")
        try Snapshot.check(fixture, "render")
    }

    @Test func `wrong flags are said before anything is asked`() throws {
        let fixture = try CommandLineFixture()
        let job = "render job --ref team/train --name train \(Self.image)"
        for line in [
            "render pod --ref team/train --name train -- true",
            "render job --name train \(Self.image) -- true",
            "render job --ref team/train \(Self.image) -- true", job,
            "render job --ref team/train --name Train_1 \(Self.image) -- true",
            "render job --ref team/train --name \(String(repeating: "a", count: 60)) \(Self.image) -- true",
            "render job --ref https://x/team --name train \(Self.image) -- true",
            "render job --ref team/train --name train -- true", job + " --runtime torch -- true",
            job + " --trainer 2.3 -- true", job + " --mpi -- true",
            "render trainjob --ref team/train --name train -- true",
            "render trainjob --ref team/train --name train --runtime torch --trainer 1.9 -- true",
            "render trainjob --ref team/train --name train --runtime mpi --mpi --image x -- true",
            "render trainjob --ref team/train --name train --runtime Torch -- true",
            job + " --namespace a.b -- true", job + " --nodes 0 -- true", job + " --gpus x -- true",
            job + " --env 1A=b -- true", job + " --env A -- true",
            job + " --env CAS_TOKEN=x -- true",
            job + " --env A=1 --env A=2 -- true", job + " --label a/b/c=d -- true",
            job + " --resources gpu=1 -- true", job + " --resources cpu=many -- true",
            job + " --mode auto -- true", job + " --mode claim -- true",
            job + " --mode init --claim code -- true", job + " --claim code:../x -- true",
            job + " --mode sidecar -- true", job + " --ca-configmap A_b -- true",
            "render mpijob --ref team/train --name train \(Self.image) --mode bootstrap -- true",
        ] {
            let result = try fixture.cas(line)
            #expect(result.status == 64, "\(line)")
            #expect(result.output.isEmpty)
        }
        try Snapshot.check(fixture, "render-usage")
    }

    @Test func `what pods can not reach, or is gone, is refused`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let job = "render job --ref team/train --name train \(Self.image) -- true"
        _ = try fixture.run(["push", "work", "--to", "team/train", "--store", "store"])
        try fixture.cas(
            "render job --ref team/train --name train \(Self.image) --store store -- true")
        let server = ["CAS_SERVER": try fixture.serve("--store store")]
        try fixture.cas(job, environment: server)
        try fixture.cas(
            "render job --ref team/other --name train \(Self.image) -- true", environment: server)
        try fixture.cas(
            "render job --ref team/train@sha256:\(String(repeating: "0", count: 64)) --name train "
                + "\(Self.image) -- true", environment: server)
        try fixture.cas(
            "render job --ref team/train --name train --image python:3.12 -- true",
            environment: server)
        try fixture.cas("k8s runtime torch --client-image x -f missing.yaml", environment: server)
        _ = try fixture.stopServer()
        try fixture.cas(job, environment: ["CAS_SERVER": "http://127.0.0.1:1"])
        try Snapshot.check(fixture, "render-refusals")
    }

    private static let runtime = """
        apiVersion: trainer.kubeflow.org/v1alpha1
        kind: ClusterTrainingRuntime
        metadata: {name: torch-distributed, uid: 0b1c, resourceVersion: "7"}
        spec:
          mlPolicy: {numNodes: 1, torch: {}}
          template:
            spec:
              replicatedJobs:
              - name: node
                template:
                  metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}}
                  spec: {template: {spec: {containers: [{name: node, image: pytorch}]}}}
        status: {}
        """

    @Test func `a runtime is derived from the cluster's, or from a file, and nothing is applied`()
        throws
    {
        let (fixture, server) = try served()
        let environment = server.merging(fixture.withKubectl) { $1 }
        let resource = "clustertrainingruntimes.trainer.kubeflow.org"
        try fixture.write("runtime.yaml", Self.runtime)
        try fixture.standInForKubectl(
            """
            "get \(resource) torch-distributed --output yaml") cat '\(fixture.path("runtime.yaml"))' ;;
            "get \(resource) secret --output yaml") echo 'Error from server (Forbidden): no' >&2; exit 1 ;;
            """)
        let line = "k8s runtime torch-distributed --client-image registry.example.org/cas:1"
        let derived = try fixture.cas(line, environment: environment)
        #expect(
            try fixture.run(
                (line + " -f runtime.yaml").split(separator: " ").map(String.init),
                environment: server
            ).output == derived.output)
        // Twice changes nothing, and another name is taken.
        try fixture.write("derived.yaml", derived.output)
        let again =
            "k8s runtime torch-distributed-cas --client-image registry.example.org/cas:1 -f -"
        #expect(
            try fixture.run(
                again.split(separator: " ").map(String.init), environment: server,
                input: derived.output
            ).output == derived.output)
        let named = try fixture.run(
            (line + " --as mine -f runtime.yaml").split(separator: " ").map(String.init),
            environment: server)
        #expect(named.output.contains("name: mine\n"))
        try fixture.cas("k8s runtime secret --client-image x", environment: environment)
        try fixture.cas("k8s runtime other --client-image x -f runtime.yaml", environment: server)
        try fixture.cas(
            "k8s runtime x --client-image x",
            environment: server.merging(["PATH": fixture.path("nothing")]) { $1 })
        try fixture.cas("k8s runtime torch-distributed -f runtime.yaml", environment: server)
        try fixture.cas("k8s runtime Torch --client-image x", environment: server)
        try fixture.write("bad.yaml", "a: [\n")
        try fixture.cas("k8s runtime x --client-image x -f bad.yaml", environment: server)
        try fixture.write("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n")
        try fixture.cas("k8s runtime x --client-image x -f pod.yaml", environment: server)
        #expect(
            try fixture.kubectlCalls() == [
                "get \(resource) torch-distributed --output yaml",
                "get \(resource) secret --output yaml",
            ])
        try Snapshot.check(fixture, "k8s-runtime")
    }

    @Test func `an installation says how it is protected`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("k8s install --image registry.example.org/cas:1")
        try fixture.cas("k8s install --image x --plaintext --tls-secret tls")
        try fixture.cas("k8s install --plaintext")
        try fixture.cas("k8s install --image x --plaintext --namespace A")
        try fixture.cas("k8s install --image x --plaintext --trust issuer")
        let result = try fixture.run(
            ["k8s", "install", "--plaintext", "--storage", "5Gi"],
            environment: ["CAS_CLIENT_IMAGE": "registry.example.org/cas:1"])
        #expect(result.status == 0)
        #expect(result.output.contains("storage: \"5Gi\"\n"))
        try Snapshot.check(fixture, "k8s-install")
    }

    @Test func `a pull secret needs a registry and a token, and says that it is one`() throws {
        let (fixture, server) = try served()
        try fixture.cas("k8s pull-secret", environment: server)
        _ = try fixture.stopServer()
        try fixture.cas("k8s pull-secret --store store")
        let token = try fixture.run(
            ["token", "create", "pull", "--scope", "read:team", "--store", "store"]
        ).output.trimmingCharacters(in: .newlines)
        let again = [
            "CAS_SERVER": try fixture.serve(
                "--store store --registry-host registry.example.org:5000")
        ]
        try fixture.cas("k8s pull-secret", environment: again)
        let result = try fixture.run(
            ["k8s", "pull-secret", "--namespace", "team-a"],
            environment: again.merging(["CAS_TOKEN": token]) { $1 })
        #expect(result.status == 0)
        #expect(result.errors.hasPrefix("this holds a secret: the token of 127.0.0.1:"))
        #expect(!result.errors.contains(token))
        #expect(result.output.contains("type: kubernetes.io/dockerconfigjson\n"))
        try Snapshot.check(fixture, "k8s-pull-secret")
    }
}
