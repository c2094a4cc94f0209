import CASCore
import CASKubernetes
import Testing

@Suite struct InjectionTests {
    private let pod = """
        # who: team-a
        apiVersion: v1
        kind: Pod   # the simplest
        metadata:
          name: train
        spec:
          restartPolicy: Never
          # what runs
          containers:
          - name: main
            image: "python:3.13"   # pinned elsewhere
            command: [python, train.py]

        """

    @Test func `a pod in block style`() throws {
        let result = try InjectionSupport.check(pod)
        #expect(
            result == """
                # who: team-a
                apiVersion: v1
                kind: Pod   # the simplest
                metadata:
                  annotations:
                    cas.example.org/ref: "\(InjectionSupport.first)"
                  name: train
                spec:
                  restartPolicy: Never
                  initContainers:
                  - name: cas-fetch
                    image: "registry.example.org/cas:1.0"
                    args:
                    - fetch
                    - "--force"
                    - /cas/code
                    env:
                    - name: CAS_SERVER
                      value: "http://cas.cas-system.svc:8700"
                    - name: CAS_REF
                      value: "\(InjectionSupport.first)"
                    - name: CAS_TOKEN_FILE
                      value: /var/run/secrets/cas/token
                    resources:
                      requests:
                        cpu: "100m"
                        memory: "64Mi"
                        ephemeral-storage: "1Gi"
                      limits:
                        memory: "256Mi"
                    securityContext:
                      allowPrivilegeEscalation: false
                      capabilities:
                        drop:
                        - ALL
                      readOnlyRootFilesystem: true
                      runAsNonRoot: true
                      runAsUser: 1000
                      seccompProfile:
                        type: RuntimeDefault
                    volumeMounts:
                    - name: cas-code
                      mountPath: /cas
                    - name: cas-token
                      mountPath: /var/run/secrets/cas
                      readOnly: true
                  volumes:
                  - name: cas-code
                    emptyDir:
                      sizeLimit: "1Gi"
                  - name: cas-token
                    projected:
                      defaultMode: 292
                      sources:
                      - serviceAccountToken:
                          audience: cas
                          expirationSeconds: 3600
                          path: token
                  # what runs
                  containers:
                  - name: main
                    image: "python:3.13"   # pinned elsewhere
                    workingDir: /cas/code
                    env:
                    - name: PYTHONPATH
                      value: /cas/code
                    volumeMounts:
                    - name: cas-code
                      mountPath: /cas
                    command: [python, train.py]

                """)
    }

    @Test func `a deployment with lists right of their keys, and lists that are there already`()
        throws
    {
        let result = try InjectionSupport.check(
            """
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web}
            spec:
                selector: {matchLabels: {app: web}}
                template:
                    metadata:
                        labels: {app: web}
                    spec:
                        containers:
                          - name: web
                            image: nginx
                            env:
                              # first of all
                              - {name: A, value: "1"}
                            volumeMounts: []
                            workingDir: /srv
                          - image: helper
                            name: helper
                        initContainers:
                          # waits
                          - name: wait
                            image: busybox
                        volumes:   # none yet
            """)
        #expect(
            result.contains(
                """
                                      env:
                                        - name: PYTHONPATH
                                          value: /cas/code
                                        # first of all
                                        - {name: A, value: "1"}
                                      volumeMounts: [{name: cas-code, mountPath: /cas}]
                """.split(separator: "\n").map { $0.dropFirst(6) }.joined(separator: "\n")),
            "\(result)")
        #expect(result.contains("              # waits\n              - name: wait\n"), "\(result)")
        #expect(
            result.contains(
                "            volumes:   # none yet\n              - name: cas-code\n"), "\(result)")
    }

    @Test func `flow style stays flow style, and JSON stays JSON`() throws {
        let flow = try InjectionSupport.check(
            "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: b, image: c}]}}\n"
        )
        #expect(flow.split(separator: "\n").count == 1, "\(flow)")
        #expect(flow.contains("image: c}]}}"))
        let compact = try InjectionSupport.check(
            #"{"kind":"Pod","apiVersion":"v1","metadata":{},"spec":{"containers":[{"name":"b","image":"c"}]}}"#
        )
        #expect(
            compact.contains(#""metadata":{"annotations": {"cas.example.org/ref": ""#), "\(compact)"
        )
        let pretty = try InjectionSupport.check(
            """
            {
                "apiVersion": "v1",
                "items": [
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "metadata": {
                            "annotations": {},
                            "name": "a"
                        },
                        "spec": {
                            "containers": [
                                {
                                    "image": "c",
                                    "name": "b",
                                    "volumeMounts": [
                                        {
                                            "mountPath": "/x",
                                            "name": "x"
                                        }
                                    ]
                                }
                            ]
                        }
                    }
                ],
                "kind": "List"
            }

            """)
        #expect(
            pretty.contains(
                """
                                        "volumeMounts": [
                                            {
                                                "name": "cas-code",
                                                "mountPath": "/cas"
                                            },
                                            {
                                                "mountPath": "/x",
                """), "\(pretty)")
        for line in (compact + pretty).split(separator: "\n") {
            #expect(!line.contains("'"), "\(line)")
        }
    }

    @Test func `line ends, marks and missing ends of files stay`() throws {
        let windows = pod.replacing("\n", with: "\r\n")
        let result = try InjectionSupport.check(windows)
        #expect(
            result.split(separator: "\r\n", omittingEmptySubsequences: false).allSatisfy {
                !$0.contains("\n")
            })
        try InjectionSupport.check("\u{feff}" + pod)
        try InjectionSupport.check(String(pod.dropLast()))
        try InjectionSupport.check("%YAML 1.1\n---\n" + pod + "...\n")
        try InjectionSupport.check("--- # x\n" + pod + "...\n# end\n---\n---\n" + pod)
        try InjectionSupport.check(pod.replacing("# what runs", with: "#\twhät runs\t\u{2028}#"))
        try InjectionSupport.check(pod + "\n\n  #\ttrailing\n  \n")
    }

    @Test func `documents without pods stay byte for byte`() throws {
        let before =
            "\n# Source: chart/a.yaml\napiVersion: v1\nkind: ConfigMap\ndata: {'a':   \"b\" }\n"
        let after = "# Source: chart/b.yaml\nkind:   Service\nspec: {\n  x: [1,\n  2]\n}\n"
        let result = try InjectionSupport.check(
            "---\(before)---\n\(pod)---\n\(after)---\n# nothing\n")
        #expect(result.hasPrefix("---\(before)---\n# who"))
        #expect(result.hasSuffix("train.py]\n---\n\(after)---\n# nothing\n"))
    }

    @Test func `a shared anchor is edited once`() throws {
        let result = try InjectionSupport.check(
            """
            kind: PyTorchJob
            spec:
              pytorchReplicaSpecs:
                Master: &replica
                  replicas: 1
                  template:
                    spec:
                      containers:
                      - name: pytorch
                        image: &image torch
                Worker: *replica
            """)
        #expect(result.split(separator: "name: cas-fetch").count == 2)
        let job = try #require(try ManifestYAML.parse(result).first)
        for replica in ["Master", "Worker"] {
            let spec = job.at("spec", "pytorchReplicaSpecs", replica, "template", "spec")
            #expect(spec?["initContainers"]?.item(named: "cas-fetch") != nil)
        }
    }

    @Test func `an anchor that is shared with another part is refused by line`() throws {
        let error = InjectionSupport.refusal(
            """
            kind: Pod
            spec:
              initContainers:
              - name: first
                env: &env
                - {name: A, value: b}
              containers:
              - name: main
                image: x
                env: *env
            """)
        #expect(error.message.hasPrefix("line 5: "), "\(error)")
        #expect(error.code == .unimplemented)
    }

    @Test func `what comes from a merge key is refused by line`() throws {
        let merged = """
            base: &base {image: x, env: [{name: A, value: b}]}
            kind: Pod
            spec:
              containers:
              - name: main
                <<: *base

            """
        let error = InjectionSupport.refusal(merged)
        #expect(error.message.hasPrefix("line 6: 'env' comes from a merge key"), "\(error)")
        try InjectionSupport.check(merged.replacing(", env: [{name: A, value: b}]", with: ""))
    }

    @Test(
        arguments: [
            ("one", ["one"]), ("two", ["two"]), (nil, ["one", "two"]),
        ] as [(String?, [String])])
    func `only the container that is named gets the code`(
        _ name: String?, _ expected: [String]
    ) throws {
        let text =
            "kind: Pod\nspec:\n  containers:\n  - {name: one, image: a}\n  - {name: two, image: b}\n"
        let result = try InjectionSupport.check(text, container: name)
        let containers = try ManifestYAML.parse(result)[0].at("spec", "containers")?.items ?? []
        let with = containers.filter { $0["volumeMounts"] != nil }.compactMap { $0["name"]?.text }
        #expect(with == expected)
    }

    @Test func `the directory of the code can be chosen, and stays`() throws {
        let result = try InjectionSupport.check(pod, mount: "/workspace/")
        let spec = try #require(try ManifestYAML.parse(result)[0]["spec"])
        let fetch = spec["initContainers"]?.items?[0]
        #expect(fetch?["args"] == ["fetch", "--force", "/workspace"])
        for owner in [fetch, spec["containers"]?.items?[0]] {
            let mount = owner?["volumeMounts"]?.item(named: "cas-code")
            #expect(mount?["mountPath"] == "/workspace")
        }
        #expect(try InjectionSupport.inject(result) == result)
        let error = InjectionSupport.refusal(result, mount: "/other")
        #expect(error.message.contains("goes to '/workspace'"), "\(error)")
        for bad in ["/", "", "a", "/a/../b", "/a//b", "/a:b", "/$(x)", "/a b", "/./x"] {
            #expect(InjectionSupport.refusal(pod, mount: bad).code == .invalidArgument)
        }
        #expect(
            try InjectionSupport.inject(pod, mount: "/cas/code") == InjectionSupport.inject(pod))
    }

    @Test func `a limit that the snapshot outgrew is raised, and never lowered`() throws {
        let result = try InjectionSupport.check(pod)
        let grown = try InjectionSupport.inject(result, bytes: 3 << 30)
        #expect(grown == result.replacing("\"1Gi\"", with: "\"8Gi\""))
        #expect(try InjectionSupport.inject(grown) == grown)
    }

    @Test func `what the user changed of our container stays, but what the delivery needs comes`()
        throws
    {
        let result = try InjectionSupport.check(pod)
            .replacing("memory: \"256Mi\"", with: "memory: 1Gi")
            .replacing("runAsUser: 1000", with: "runAsUser: 4711")
            .replacing(
                "            - name: CAS_TOKEN_FILE\n              value: /var/run/secrets/cas/token\n",
                with: "")
        let again = try InjectionSupport.inject(result)
        #expect(again.contains("memory: 1Gi") && again.contains("runAsUser: 4711"))
        var other = InjectionSupport.delivery()
        other.server = "https://other.example.org"
        other.clientImage = "cas:2"
        other.authorityConfigMap = "ca"
        let moved = try Injection.apply(Array(again.utf8), .init(other))
        let spec = try ManifestYAML.parse(String(decoding: moved.text, as: UTF8.self))[0]["spec"]
        let fetch = spec?["initContainers"]?.items?[0]
        #expect(fetch?["image"] == "cas:2")
        #expect(fetch?["env"]?.item(named: "CAS_SERVER")?["value"] == "https://other.example.org")
        #expect(fetch?["env"]?.item(named: "CAS_CA_FILE") != nil)
        #expect(fetch?["volumeMounts"]?.item(named: "cas-ca") != nil)
        #expect(spec?["volumes"]?.item(named: "cas-ca")?.at("configMap", "name") == "ca")
    }

    @Test func `the init container runs as the user who reads the code`() throws {
        func user(_ pod: String, _ container: String) throws -> ManifestValue? {
            let text =
                "kind: Pod\nspec:\n  securityContext: {\(pod)}\n  containers:\n"
                + "  - {name: a, image: b, securityContext: {\(container)}}\n"
            return try ManifestYAML.parse(try InjectionSupport.check(text))[0]
                .at("spec", "initContainers")?.items?[0].at("securityContext", "runAsUser")
        }
        #expect(try user("", "") == 1000)
        #expect(try user("runAsUser: 70", "") == nil)
        #expect(try user("runAsUser: 0", "") == 1000)
        #expect(try user("", "runAsUser: 33") == 33)
        #expect(try user("runAsUser: 0", "runAsUser: 0") == 1000)
    }
}
