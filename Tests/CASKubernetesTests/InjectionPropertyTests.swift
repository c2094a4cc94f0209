import CASCore
import CASTestSupport
import Testing

@testable import CASKubernetes

/// Manifests of random content in random styles: what holds of every injection.
@Suite struct InjectionPropertyTests {
    @Test(arguments: [1, 2, 3, 4, UInt64.random(in: 0...(.max))])
    func `random manifests in random styles`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for round in 0..<(TestForm.isFull ? 1_000 : 60) {
            var documents: [ManifestValue] = []
            for _ in 0...Int.random(in: 0..<3, using: &random) {
                documents.append(Self.document(&random))
            }
            documents.insert(
                Self.workload(&random), at: Int.random(in: 0...documents.count, using: &random))
            var writer = RandomManifest(random)
            let text = writer.text(documents)
            random = writer.random
            #expect(
                try ManifestYAML.parse(text).count == documents.count,
                "seed \(seed), round \(round): the test's own writer is wrong:\n\(text)")
            do {
                let result = try InjectionSupport.check(text, "seed \(seed), round \(round)")
                try Self.checkPods(result, "seed \(seed), round \(round)")
            } catch {
                Issue.record("seed \(seed), round \(round): \(error)\n\(text)")
                return
            }
        }
    }

    /// Every container of every pod has the code, and ours comes first.
    private static func checkPods(_ text: String, _ note: Comment) throws {
        for document in try ManifestYAML.parse(text) {
            var finder = PodFinder()
            try finder.visit(ManifestCursor(document))
            for place in finder.places {
                var value = document
                for step in place.path {
                    switch step {
                    case .key(let key): value = value[key] ?? .null
                    case .index(let index): value = value.items?[index] ?? .null
                    }
                }
                let spec = value["spec"]
                #expect(spec?["initContainers"]?.items?.first?["name"] == "cas-fetch", note)
                #expect(spec?["volumes"]?.item(named: "cas-code") != nil, note)
                #expect(
                    value.at("metadata", "annotations", ManifestNames.refAnnotation)?.text
                        == InjectionSupport.first, note)
                for container in spec?["containers"]?.items ?? [] {
                    #expect(container["volumeMounts"]?.item(named: "cas-code") != nil, note)
                    #expect(container["workingDir"] != nil, note)
                    #expect(container["env"]?.item(named: "PYTHONPATH") != nil, note)
                }
            }
        }
    }

    // MARK: - Random content

    private typealias Random = SeededGenerator

    private static func chance(_ percent: Int, _ random: inout Random) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    private static func word(_ random: inout Random) -> String {
        [
            "a", "train.py", "8", "true", "x: y", "it's", "#no", "", " lead", "ünï", "- z", "a\\b",
            "{x}", "say \"hi\"", "0x1f", "registry.example.org/a:1",
        ].randomElement(using: &random) ?? ""
    }

    private static func container(_ name: String, _ random: inout Random) -> ManifestValue {
        var members: [ManifestValue.Member] = [.init("name", .text(name))]
        if chance(85, &random) { members.append(.init("image", .text(word(&random)))) }
        if chance(50, &random) {
            members.append(.init("command", .list([.text(word(&random)), .text(word(&random))])))
        }
        if chance(30, &random) { members.append(.init("workingDir", "/srv")) }
        if chance(40, &random) {
            let variables: [ManifestValue] = [
                ["name": "A", "value": .text(word(&random))],
                ["name": "B", "valueFrom": ["fieldRef": ["fieldPath": "metadata.name"]]],
                ["name": "PYTHONPATH", "value": "/lib"],
            ]
            members.append(
                .init(
                    "env", .list(Array(variables[..<Int.random(in: 0...3, using: &random)]))))
        }
        if chance(40, &random) {
            let mounts: ManifestValue = [["name": "data", "mountPath": "/data"]]
            members.append(
                .init(
                    "volumeMounts",
                    [mounts, .list([]), .null].randomElement(using: &random) ?? .null))
        }
        if chance(30, &random) {
            members.append(.init("resources", ["limits": ["cpu": 1, "memory": "1Gi"]]))
        }
        if chance(10, &random) {
            members.append(.init("unknownField", ["x": .list([.null, .decimal("1.0")])]))
        }
        if chance(30, &random) { members.shuffle(using: &random) }
        return .object(members)
    }

    private static func template(_ random: inout Random) -> ManifestValue {
        var spec: [ManifestValue.Member] = []
        if chance(40, &random) { spec.append(.init("restartPolicy", "Never")) }
        if chance(30, &random) {
            spec.append(.init("securityContext", ["runAsUser": chance(50, &random) ? 0 : 70]))
        }
        if chance(40, &random) {
            let list = ManifestValue.list([container("wait", &random)])
            spec.append(
                .init(
                    "initContainers",
                    [list, .list([]), .null].randomElement(using: &random) ?? .null))
        }
        let names = ["main", "side", "third"][..<Int.random(in: 1...3, using: &random)]
        spec.append(.init("containers", .list(names.map { container($0, &random) })))
        if chance(50, &random) {
            let list: ManifestValue = [["name": "data", "emptyDir": .object([])]]
            spec.append(
                .init("volumes", [list, .list([]), .null].randomElement(using: &random) ?? .null))
        }
        if chance(30, &random) { spec.shuffle(using: &random) }
        var members: [ManifestValue.Member] = [.init("spec", .object(spec))]
        let metadata: [ManifestValue?] = [
            nil, .null, .object([]), ["labels": ["a": "b"]], ["annotations": .null, "name": "x"],
            ["name": "x", "annotations": .object([])],
            ["annotations": ["a.b/c": "d"], "labels": .object([])], ["name": "y"],
        ]
        if let chosen = metadata.randomElement(using: &random) ?? nil {
            members.insert(.init("metadata", chosen), at: chance(80, &random) ? 0 : 1)
        }
        return .object(members)
    }

    private static func workload(_ random: inout Random) -> ManifestValue {
        let pod = template(&random)
        switch Int.random(in: 0..<7, using: &random) {
        case 0:
            return .object([.init("apiVersion", "v1"), .init("kind", "Pod")] + (pod.members ?? []))
        case 1: return ["kind": "Deployment", "spec": ["replicas": 2, "template": pod]]
        case 2:
            return ["kind": "CronJob", "spec": ["jobTemplate": ["spec": ["template": pod]]]]
        case 3:
            return [
                "kind": "PyTorchJob",
                "spec": [
                    "pytorchReplicaSpecs": [
                        "Master": ["template": pod], "Worker": ["template": template(&random)],
                    ]
                ],
            ]
        case 4:
            let job: ManifestValue = [
                "name": "node", "template": ["spec": ["template": pod]],
            ]
            return ["kind": "JobSet", "spec": ["replicatedJobs": .list([job])]]
        case 5:
            return [
                "kind": "List",
                "items": [["kind": "Job", "spec": ["template": pod]], document(&random)],
            ]
        default:
            return [
                "kind": "Own",
                "spec": ["stages": [["runTemplate": pod, "x": .text(word(&random))]]],
            ]
        }
    }

    private static func document(_ random: inout Random) -> ManifestValue {
        [
            "kind": "ConfigMap", "data": ["a": .text(word(&random)), "b": .null],
            "list": .list([.list([.text(word(&random)), 1]), .object([])]),
        ]
    }
}
