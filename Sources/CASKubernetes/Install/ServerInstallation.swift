import CASCore

/// The manifests of a server in a cluster: one pod over one volume, and what it needs around it.
package struct ServerInstallation: Sendable {
    /// Who issues the tokens of the cluster's pods, where no one says another.
    package static let clusterIssuer =
        "https://kubernetes.default.svc.cluster.local=https://kubernetes.default.svc/openid/v1/jwks"
    private static let name = "cas"
    private static let port: ManifestValue = 8700
    private static let user: ManifestValue = 65532
    private static let accountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// The namespace, which is made.
    package var namespace = "cas-system"
    /// The image with cas in it.
    package var image: String
    /// Bytes of the volume, as a quantity.
    package var storage = "100Gi"
    /// The class of the volume; nil for the cluster's default.
    package var storageClass: String?
    /// The Secret of type kubernetes.io/tls with the server's certificate; nil for plain HTTP.
    package var certificateSecret: String?
    /// Issuers of identity tokens, `ISSUER=URL`.
    package var trust = [ServerInstallation.clusterIssuer]
    /// Whom identity tokens must be for.
    package var audience = "cas"
    /// What tokens of an issuer may do: pods read what is named after their namespace.
    package var grants = ["read {kubernetes.io/namespace}"]

    /// An installation of an image; all else has a default.
    package init(image: String) {
        self.image = image
    }

    /// The address by which pods reach the server.
    package var clusterURL: String {
        "\(certificateSecret == nil ? "http" : "https")://\(Self.name).\(namespace).svc:8700"
    }

    /// Throws `invalidArgument` for what Kubernetes does not take.
    package func check() throws {
        guard KubernetesNames.isLabel(namespace) else {
            throw KubernetesNames.refused(
                "--namespace", namespace, "use lower-case letters, digits and '-', 63 at most")
        }
        guard KubernetesNames.isImage(image) else {
            throw KubernetesNames.refused("--image", image, "write REGISTRY/NAME:TAG or …@sha256:…")
        }
        guard KubernetesNames.isQuantity(storage) else {
            throw KubernetesNames.refused("--storage", storage, "write an amount as 100Gi")
        }
        for (flag, value) in [
            ("--storage-class", storageClass), ("--tls-secret", certificateSecret),
        ] {
            if let value, !KubernetesNames.isSubdomain(value) {
                throw KubernetesNames.refused(
                    flag, value, "use lower-case letters, digits, '-' and '.'")
            }
        }
    }

    /// All documents, in the order in which they are applied.
    package func documents() throws -> [ManifestValue] {
        try check()
        return [
            object(
                "v1", "Namespace", name: namespace, isNamespaced: false,
                [
                    "metadata": [
                        "name": .text(namespace),
                        "labels": ["pod-security.kubernetes.io/enforce": "restricted"],
                    ]
                ]),
            object("v1", "ServiceAccount", ["automountServiceAccountToken": false]),
            issuerDiscovery, service, headlessService, networkPolicy, statefulSet,
        ]
    }

    private func object(
        _ version: String, _ kind: String, name: String = ServerInstallation.name,
        isNamespaced: Bool = true, _ rest: ManifestValue
    ) -> ManifestValue {
        var metadata: ManifestValue = ["name": .text(name)]
        if isNamespaced { metadata["namespace"] = .text(namespace) }
        metadata["labels"] = Self.labels
        var document: ManifestValue = [
            "apiVersion": .text(version), "kind": .text(kind), "metadata": metadata,
        ]
        for member in rest.members ?? [] { document[member.key] = member.value }
        return document
    }

    private static let labels: ManifestValue = [
        "app.kubernetes.io/name": .text(name), "app.kubernetes.io/component": "server",
    ]

    /// Lets the server read the keys that the cluster signs tokens of pods with; they are no secret.
    private var issuerDiscovery: ManifestValue {
        object(
            "rbac.authorization.k8s.io/v1", "ClusterRoleBinding",
            name: "\(namespace)-issuer-discovery", isNamespaced: false,
            [
                "roleRef": [
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                    "name": "system:service-account-issuer-discovery",
                ],
                "subjects": [
                    [
                        "kind": "ServiceAccount", "name": .text(Self.name),
                        "namespace": .text(namespace),
                    ]
                ],
            ])
    }

    private static let portList: ManifestValue = [
        ["name": "api", "port": port, "targetPort": "api", "protocol": "TCP"]
    ]

    private var service: ManifestValue {
        object("v1", "Service", ["spec": ["selector": Self.labels, "ports": Self.portList]])
    }

    /// Gives the pod its name, as a StatefulSet wants it.
    private var headlessService: ManifestValue {
        object(
            "v1", "Service", name: Self.name + "-headless",
            [
                "spec": [
                    "clusterIP": "None", "selector": Self.labels, "ports": Self.portList,
                    "publishNotReadyAddresses": true,
                ]
            ])
    }

    /// Lets in whoever is in the cluster, to the one port; lets out for names and for the cluster's keys.
    private var networkPolicy: ManifestValue {
        let names: [ManifestValue] = [
            ["protocol": "UDP", "port": 53], ["protocol": "TCP", "port": 53],
        ]
        let keys: [ManifestValue] = [
            ["protocol": "TCP", "port": 443], ["protocol": "TCP", "port": 6443],
        ]
        return object(
            "networking.k8s.io/v1", "NetworkPolicy",
            [
                "spec": [
                    "podSelector": ["matchLabels": Self.labels],
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [
                        [
                            "from": [["namespaceSelector": .object([])]],
                            "ports": [["protocol": "TCP", "port": Self.port]],
                        ]
                    ],
                    "egress": [["ports": .list(names)], ["ports": .list(keys)]],
                ]
            ])
    }

    private var statefulSet: ManifestValue {
        var claim: ManifestValue = ["accessModes": ["ReadWriteOnce"]]
        if let storageClass { claim["storageClassName"] = .text(storageClass) }
        claim["resources"] = ["requests": ["storage": .text(storage)]]
        return object(
            "apps/v1", "StatefulSet",
            [
                "spec": [
                    // A store is opened by one server at a time.
                    "replicas": 1, "serviceName": .text(Self.name + "-headless"),
                    "selector": ["matchLabels": Self.labels],
                    "template": ["metadata": ["labels": Self.labels], "spec": pod],
                    "volumeClaimTemplates": [["metadata": ["name": "store"], "spec": claim]],
                ]
            ])
    }

    private var pod: ManifestValue {
        var volumes: [ManifestValue] = [
            ["name": "tmp", "emptyDir": ["sizeLimit": "1Gi"]],
            ["name": "account", "projected": ["sources": .list(Self.accountSources)]],
        ]
        if let certificateSecret {
            volumes.append(["name": "tls", "secret": ["secretName": .text(certificateSecret)]])
        }
        return [
            "serviceAccountName": .text(Self.name), "automountServiceAccountToken": false,
            // Requests in progress end, and a pack is sealed, before the pod does.
            "terminationGracePeriodSeconds": 60,
            "securityContext": [
                "runAsNonRoot": true, "runAsUser": Self.user, "runAsGroup": Self.user,
                "fsGroup": Self.user, "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": ["type": "RuntimeDefault"],
            ],
            "containers": [container], "volumes": .list(volumes),
        ]
    }

    /// What a pod is given for the API server, spelled out, so that the account itself mounts nothing: the server
    /// asks for the cluster's keys with it.
    private static let accountSources: [ManifestValue] = [
        ["serviceAccountToken": ["expirationSeconds": 3600, "path": "token"]],
        [
            "configMap": [
                "name": "kube-root-ca.crt", "items": [["key": "ca.crt", "path": "ca.crt"]],
            ]
        ],
    ]

    private var arguments: [String] {
        var words = [
            "serve", "--listen", "0.0.0.0:8700", "--store", "/var/lib/cas", "--cluster-url",
            clusterURL,
        ]
        if certificateSecret == nil {
            words.append("--plaintext")
        } else {
            words += [
                "--tls-certificate", "/etc/cas/tls/tls.crt", "--tls-key", "/etc/cas/tls/tls.key",
            ]
        }
        for issuer in trust { words += ["--trust", issuer] }
        guard !trust.isEmpty else { return words }
        words += ["--audience", audience]
        for grant in grants { words += ["--grant", grant] }
        return words
    }

    private func probe(_ path: String, _ period: Int64, _ failures: Int64) -> ManifestValue {
        let scheme: ManifestValue = certificateSecret == nil ? "HTTP" : "HTTPS"
        return [
            "httpGet": ["path": .text(path), "port": "api", "scheme": scheme],
            "periodSeconds": .integer(period), "failureThreshold": .integer(failures),
        ]
    }

    private var container: ManifestValue {
        var mounts: [ManifestValue] = [
            ["name": "store", "mountPath": "/var/lib/cas"], ["name": "tmp", "mountPath": "/tmp"],
            ["name": "account", "mountPath": .text(Self.accountPath), "readOnly": true],
        ]
        if certificateSecret != nil {
            mounts.append(["name": "tls", "mountPath": "/etc/cas/tls", "readOnly": true])
        }
        return [
            "name": .text(Self.name), "image": .text(image),
            "args": RenderRequest.words(arguments),
            "ports": [["name": "api", "containerPort": Self.port, "protocol": "TCP"]],
            // Opening a large store takes as long as its catalog is old.
            "startupProbe": probe("/readyz", 5, 120),
            "readinessProbe": probe("/readyz", 5, 3),
            "livenessProbe": probe("/healthz", 20, 3),
            "resources": [
                "requests": ["cpu": "250m", "memory": "512Mi"], "limits": ["memory": "2Gi"],
            ],
            "securityContext": CodeDelivery.containerSecurity(readOnlyRoot: true),
            "volumeMounts": .list(mounts),
        ]
    }
}
