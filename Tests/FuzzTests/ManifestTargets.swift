import CASCore
import FuzzTargets

@testable import CASKubernetes

/// Manifests that people and programs write.
enum ManifestTargets {
    static let all: [FuzzTarget] = [
        FuzzTarget("inject", samples.map { Array($0.utf8) }) { bytes in
            let result = try Injection.apply(bytes, .init(delivery("1")))
            // Nothing is taken away, and a second time nothing is added.
            let kept = String(decoding: bytes, as: UTF8.self).replacing(
                /null|Null|NULL|~/, with: "")
            try require(
                isSubsequence(Array(kept.utf8), result.text), "bytes of the manifest are gone")
            let again = try followUp { try Injection.apply(result.text, .init(delivery("1"))) }
            try require(again.text == result.text, "a second time changes something")
            _ = try followUp { try Injection.apply(result.text, .init(delivery("2"))) }
        }
    ]

    /// What was taken once has to be taken again.
    private static func followUp<Value>(_ body: () throws -> Value) throws -> Value {
        do { return try body() } catch {
            throw FuzzFailure("what was edited is refused the next time: \(error)")
        }
    }

    private static func delivery(_ digit: String) -> CodeDelivery {
        CodeDelivery(
            reference: "a/b@sha256:" + String(repeating: digit, count: 64),
            server: "http://cas:8700", audience: "cas", clientImage: "cas:1", bytes: 1)
    }

    private static func isSubsequence(_ part: [UInt8], _ whole: [UInt8]) -> Bool {
        var position = 0
        for byte in whole where position < part.count && part[position] == byte { position += 1 }
        return position == part.count
    }

    private static let samples = [
        """
        # a
        kind: Pod
        metadata: {name: a}
        spec:
          containers:
          # b
          - name: main
            image: "x"
            env: [{name: A, value: b}]
            volumeMounts:

        """,
        """
        apiVersion: kubeflow.org/v1
        kind: PyTorchJob
        spec:
          pytorchReplicaSpecs:
            Master: &r
              template: &t
                metadata: {annotations: {}}
                spec:
                    initContainers:
                      - {name: wait, image: w}
                    volumes: null
                    containers: [{name: a, image: b}]
            Worker: *r
        ---
        kind: Service
        """,
        #"{"kind":"List","items":[{"kind":"Job","spec":{"template":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}]}"#,
        "kind: X\nspec: {aTemplate: {spec: {containers: [ {<<: {image: x}, name: y}\n]}}}\n",
    ]
}
