import CASCore
import CASKubernetes
import Testing

@Suite struct RuntimeDerivationTests {
    private static func runtime(_ text: String) throws -> ManifestValue {
        try #require(try ManifestYAML.parse(text).first)
    }

    private static let torch = """
        apiVersion: trainer.kubeflow.org/v1alpha1
        kind: ClusterTrainingRuntime
        metadata:
          annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}
          creationTimestamp: "2026-01-01T00:00:00Z"
          finalizers: [trainer.kubeflow.org/resource-in-use]
          generation: 1
          labels: {trainer.kubeflow.org/framework: torch}
          managedFields: [{manager: kubectl, operation: Update}]
          name: torch-distributed
          resourceVersion: "123"
          uid: 0b1c
        spec:
          mlPolicy: {numNodes: 1, torch: {}}
          template:
            spec:
              replicatedJobs:
              - name: dataset-initializer
                template:
                  metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: dataset-initializer}}
                  spec: {template: {spec: {containers: [{name: dataset-initializer, image: init}]}}}
              - name: node
                template:
                  metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}}
                  spec:
                    template:
                      spec:
                        initContainers: [{name: wait, image: busybox}]
                        containers:
                        - {name: sidecar, image: log}
                        - name: node
                          image: pytorch/pytorch:2.13.0
                          workingDir: /workspace
                          env: [{name: A, value: "1"}, {name: PYTHONPATH, value: /opt/lib}]
                          volumeMounts: [{name: data, mountPath: /data}]
                        volumes: [{name: data, emptyDir: {}}]
        status: {conditions: []}
        """

    private static let mpi = """
        apiVersion: trainer.kubeflow.org/v1alpha1
        kind: TrainingRuntime
        metadata: {name: deepspeed, namespace: team-b}
        spec:
          mlPolicy: {numNodes: 2, mpi: {numProcPerNode: 1, mpiImplementation: OpenMPI}}
          template:
            spec:
              replicatedJobs:
              - name: launcher
                template:
                  metadata: {labels: {trainer.kubeflow.org/trainjob-ancestor-step: trainer}}
                  spec:
                    template:
                      spec:
                        containers:
                        - name: node
                          image: deepspeed
                          securityContext: {runAsUser: 1000, runAsGroup: 1001}
              - name: node
                template:
                  spec:
                    template:
                      spec:
                        securityContext: {runAsUser: 0}
                        containers:
                        - {name: node, image: deepspeed, command: [/usr/sbin/sshd, -De]}
        """

    @Test func `a runtime with the init container, all else as it was`() throws {
        let derivation = RuntimeDerivation(delivery: Sample.delivery())
        let derived = try derivation.derive(from: try Self.runtime(Self.torch))
        #expect(derived.document.at("metadata", "name")?.text == "torch-distributed-cas")
        #expect(derived.notes == ["node: the command runs in /cas/code, before in /workspace"])
        try Golden.check([derived.document], "runtime-torch")
        let again = try derivation.derive(from: derived.document)
        #expect(again.document == derived.document)
        #expect(again.notes.isEmpty)
    }

    @Test func `MPI's launcher and workers both get the code`() throws {
        let derivation = RuntimeDerivation(
            delivery: Sample.delivery(audience: nil), name: "mpi", namespace: "team-c")
        let derived = try derivation.derive(from: try Self.runtime(Self.mpi))
        try Golden.check([derived.document], "runtime-mpi")
        #expect(try derivation.derive(from: derived.document).document == derived.document)
    }

    @Test func `another server changes what is ours alone`() throws {
        let first = try RuntimeDerivation(delivery: Sample.delivery()).derive(
            from: try Self.runtime(Self.torch)
        ).document
        var delivery = Sample.delivery(audience: nil)
        delivery.server = "https://other.example.org"
        delivery.clientImage = "other"
        let derivation = RuntimeDerivation(delivery: delivery)
        let second = try derivation.derive(from: first).document
        #expect(second != first)
        #expect(try derivation.derive(from: second).document == second)
        let text = try ManifestYAML.write([second])
        #expect(!text.contains("cas-system.svc"))
        #expect(!text.contains("cas-token"), "\(text)")
        #expect(!text.contains("cas-ca"), "\(text)")
    }

    @Test func `what is no runtime, or trains nothing, is refused`() throws {
        let derivation = RuntimeDerivation(delivery: Sample.delivery())
        for text in [
            "kind: Pod\napiVersion: v1\n", "a: 1\n",
            Self.torch.replacing("ClusterTrainingRuntime", with: "TrainJob"),
            Self.mpi.replacing("- name: node\n", with: "- name: x\n").replacing(
                "- {name: node", with: "- {name: y"),
            Self.torch.replacing("- name: node\n", with: "- name: n\n"),
            "kind: TrainingRuntime\napiVersion: trainer.kubeflow.org/v1alpha1\nspec: {}\n",
        ] {
            #expect(throws: CASError.self) { try derivation.derive(from: try Self.runtime(text)) }
        }
        #expect(throws: CASError.self) {
            try RuntimeDerivation(delivery: Sample.delivery(), namespace: "x").derive(
                from: try Self.runtime(Self.torch))
        }
    }
}
