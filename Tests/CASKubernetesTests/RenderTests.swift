import CASCore
import CASKubernetes
import Testing

/// Requests that differ in one thing.
enum Sample {
    static let digits = String(repeating: "0123456789abcdef", count: 4)

    static func delivery(audience: String? = "cas") -> CodeDelivery {
        CodeDelivery(
            reference: "team/train@sha256:\(digits)", server: "https://cas.cas-system.svc:8700",
            audience: audience, clientImage: "registry.example.org/cas/cas:1",
            authorityConfigMap: audience.map { _ in "cas-ca" }, bytes: 3 << 30, entries: 2000)
    }

    static func request(
        _ kind: JobKind, _ mode: DeliveryMode = .initContainer, trainer: TrainerVersion = .v2_3
    ) throws -> RenderRequest {
        var request = RenderRequest(
            kind: kind, delivery: delivery(), mode: mode, name: "train",
            command: ["torchrun", "train.py", "--name", "a b", "$(date) $HOME \"é\"\n"])
        request.namespace = "team-a"
        request.trainer = trainer
        request.runtime = kind == .trainJob ? try RuntimeReference("torch-cas") : nil
        request.image = kind == .trainJob ? nil : "registry.example.org/torch:2.13"
        request.nodes = 3
        request.gpus = 2
        request.resources = [("cpu", "4"), ("memory", "32Gi")]
        request.environment = [("EPOCHS", "3"), ("PYTHONPATH", "/opt/lib:/cas/code")]
        request.labels = [("team", "vision")]
        return request
    }

    static let bootstrap = DeliveryMode.bootstrap(client: String(repeating: "ab", count: 32))
    static let claim = DeliveryMode.claim(name: "code", path: "published/train")
}

@Suite struct RenderTests {
    @Test(arguments: JobKind.allCases)
    func `each kind`(_ kind: JobKind) throws {
        try Golden.check(Sample.request(kind).render().documents, "\(kind.rawValue)-init")
        try Golden.check(
            Sample.request(kind, Sample.claim).render().documents, "\(kind.rawValue)-claim")
    }

    @Test(arguments: TrainerVersion.allCases)
    func `each Trainer`(_ trainer: TrainerVersion) throws {
        try Golden.check(
            Sample.request(.trainJob, trainer: trainer).render().documents,
            "trainjob-\(trainer.rawValue)-init")
        try Golden.check(
            Sample.request(.trainJob, Sample.bootstrap, trainer: trainer).render().documents,
            "trainjob-\(trainer.rawValue)-bootstrap")
    }

    @Test func `a bootstrap in a pod of ours, and MPI in a runtime`() throws {
        try Golden.check(Sample.request(.job, Sample.bootstrap).render().documents, "job-bootstrap")
        var request = try Sample.request(.trainJob)
        request.isMPI = true
        try Golden.check(request.render().documents, "trainjob-mpi")
        request.image = "other"
        #expect(throws: CASError.self) { try request.render() }
        request = try Sample.request(.trainJob, Sample.bootstrap)
        request.isMPI = true
        #expect(throws: CASError.self) { try request.render() }
        #expect(throws: CASError.self) { try Sample.request(.mpiJob, Sample.bootstrap).render() }
    }

    @Test func `one node is a master alone, and asks for nothing it was not given`() throws {
        var request = RenderRequest(
            kind: .pyTorchJob, delivery: Sample.delivery(audience: nil), mode: .initContainer,
            name: "one", command: ["true"])
        request.image = "image"
        try Golden.check(request.render().documents, "pytorchjob-one")
    }

    @Test(arguments: JobKind.allCases)
    func `the same request gives the same bytes, another one another name`(_ kind: JobKind) throws {
        let request = try Sample.request(kind)
        let first = try request.render()
        #expect(
            try ManifestYAML.write(first.documents)
                == ManifestYAML.write(request.render().documents))
        #expect(first.name.wholeMatch(of: /train-[0-9a-f]{8}/) != nil)
        #expect(first.documents[0].at("metadata", "name")?.text == first.name)
        var names: Set = [first.name]
        let changes: [(inout RenderRequest) -> Void] = [
            { $0.nodes = 4 }, { $0.gpus = 1 }, { $0.command.append("x") }, { $0.labels = [] },
            { $0.environment = [] }, { $0.resources = [] }, { $0.namespace = nil },
            { $0.delivery.reference = "team/train@sha256:" + String(repeating: "1", count: 64) },
            { $0.mode = Sample.claim },
        ]
        for change in changes {
            var other = request
            change(&other)
            #expect(names.insert(try other.render().name).inserted)
        }
        #expect(try request.render(suffix: "x7k2p").name == "train-x7k2p")
    }

    @Test(arguments: [
        (JobKind.trainJob, "-node-0-0-abcde"), (.jobSet, "-node-0-0-abcde"),
        (.pyTorchJob, "-worker-0"), (.tensorFlowJob, "-worker-0"), (.mpiJob, "-worker-0"),
        (.job, "-0"),
    ])
    func `a name is as long as what is made of it allows`(_ kind: JobKind, _ added: String) throws {
        var request = try Sample.request(kind)
        request.nodes = 1
        let most = 63 - added.count - 9
        request.name = String(repeating: "a", count: most)
        #expect(try request.render().name.count + added.count == 63)
        request.name += "a"
        #expect(throws: CASError.self) { try request.render() }
        request.name.removeLast()
        request.nodes = 1001
        #expect(throws: CASError.self) { try request.render() }
        request.name.removeLast(3)
        _ = try request.render()
    }

    @Test func `no secret and no variable of ours comes from a flag`() throws {
        for name in ["CAS_TOKEN", "CAS_REF", "CAS_SERVER", "CAS_TOKEN_FILE", "1A", "A=B", ""] {
            var request = try Sample.request(.job)
            request.environment = [(name, "x")]
            #expect(throws: CASError.self, "\(name)") { try request.render() }
        }
        for mode in [DeliveryMode.initContainer, Sample.bootstrap, Sample.claim] {
            let text = try ManifestYAML.write(Sample.request(.job, mode).render().documents)
            #expect(!text.contains("CAS_TOKEN\n"))
            #expect(!text.contains("cas_"))
        }
    }

    @Test func `what Kubernetes does not accept is refused`() throws {
        let changes: [(inout RenderRequest) -> Void] = [
            { $0.name = "Train" }, { $0.name = "-a" }, { $0.name = "a_b" }, { $0.name = "" },
            { $0.name = "a." }, { $0.name = "ä" }, { $0.name = "1a" }, { $0.namespace = "a.b" },
            { $0.namespace = "" }, { $0.nodes = 0 }, { $0.nodes = -1 }, { $0.gpus = -1 },
            { $0.image = nil }, { $0.image = "a b" }, { $0.image = "" }, { $0.command = [] },
            { $0.command = [""] }, { $0.command = ["a\0"] },
            { $0.command = Array(repeating: "a", count: 129) },
            { $0.command = ["a", String(repeating: "b", count: 1 << 20)] },
            { $0.labels = [("a/b/c", "x")] }, { $0.labels = [("a", "x y")] },
            { $0.labels = [("a", "x"), ("a", "y")] },
            { $0.labels = [("cas.example.org/name", "x")] },
            { $0.resources = [("gpu", "1")] }, { $0.resources = [("cpu", "four")] },
            { $0.resources = [("cpu", "1"), ("cpu", "1")] },
            { $0.resources = [("nvidia.com/gpu", "1")] },
            { $0.delivery.clientImage = "" }, { $0.delivery.authorityConfigMap = "A" },
            { $0.mode = .claim(name: "A", path: "") },
            { $0.mode = .claim(name: "a", path: "../x") },
            { $0.mode = .claim(name: "a", path: "x//y") }, { $0.isMPI = true },
        ]
        for (index, change) in changes.enumerated() {
            var request = try Sample.request(.pyTorchJob)
            _ = try request.render()
            change(&request)
            #expect(throws: CASError.self, "change \(index)") { try request.render() }
        }
        var request = try Sample.request(.pyTorchJob)
        request.runtime = try RuntimeReference("x")
        #expect(throws: CASError.self) { try request.render() }
        request = try Sample.request(.trainJob)
        request.runtime = nil
        #expect(throws: CASError.self) { try request.render() }
        for text in ["", "a/b", "Pod/x", "TrainingRuntime/", "A"] {
            #expect(throws: CASError.self) { try RuntimeReference(text) }
        }
        #expect(try RuntimeReference("TrainingRuntime/x").isNamespaced)
        request = try Sample.request(.job)
        request.name = "1a"
        _ = try request.render()
    }
}

@Suite struct KubernetesNamesTests {
    @Test(arguments: [
        "1", "0.5", "500m", "32Gi", "1e9", "1E6", "2E", "1e+3", "100n", "3u", "4k",
    ])
    func `amounts`(_ text: String) { #expect(KubernetesNames.isQuantity(text)) }

    @Test(arguments: [
        "", "-1", "+1", "1 ", ".5", "5.", "1.2.3", "Gi", "1gb", "1KiB", "1e", "1e-", "1e999", "ä",
        "1m1", "99999999999999999999",
    ])
    func `no amounts`(_ text: String) { #expect(!KubernetesNames.isQuantity(text)) }

    @Test func `labels and keys`() {
        #expect(KubernetesNames.isLabelValue(""))
        #expect(KubernetesNames.isLabelValue("A_b.c-1"))
        #expect(!KubernetesNames.isLabelValue("-a"))
        #expect(!KubernetesNames.isLabelValue(String(repeating: "a", count: 64)))
        #expect(KubernetesNames.isQualified("example.org/A_b"))
        #expect(!KubernetesNames.isQualified("Example.org/a"))
        #expect(!KubernetesNames.isQualified("/a"))
        #expect(!KubernetesNames.isQualified("a/"))
        #expect(KubernetesNames.isResource("hugepages-2Mi"))
        #expect(!KubernetesNames.isResource("gpu"))
    }
}
