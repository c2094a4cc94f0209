/// Names that cas uses in manifests.
package enum ManifestNames {
    /// What annotations, labels and the manager of patches begin with.
    package static let domain = "cas.example.org"
    /// The annotation that names the snapshot, `NAME@sha256:…`.
    package static let refAnnotation = "cas.example.org/ref"
    /// The label with the prefix that a run's name was made from.
    package static let nameLabel = "cas.example.org/name"
    /// The init container that fetches.
    package static let initContainer = "cas-fetch"
    /// The volume that holds the code.
    package static let codeVolume = "cas-code"
    /// The volume with the pod's identity token.
    package static let tokenVolume = "cas-token"
    /// The volume with the authorities to trust.
    package static let authorityVolume = "cas-ca"
}

/// How the code of one snapshot reaches a pod.
package struct CodeDelivery: Hashable, Sendable {
    /// The snapshot, always by digest: `NAME@sha256:…`.
    package var reference: String
    /// The address by which pods reach the server.
    package var server: String
    /// Whom the pod's token is for; nil where the server asks for none.
    package var audience: String?
    /// The image with cas in it.
    package var clientImage: String
    /// The ConfigMap whose `ca.crt` holds the authorities to trust; nil for the image's own.
    package var authorityConfigMap: String?
    /// Bytes of all files of the snapshot; nil where unknown.
    package var bytes: UInt64?
    /// Files and directories of the snapshot.
    package var entries: UInt64 = 0
    /// Where the volume is mounted.
    package var mountPath = "/cas"
    /// The directory in the volume with the code; empty for the volume itself.
    package var codeDirectory = "code"

    /// A delivery from its parts.
    package init(
        reference: String, server: String, audience: String?, clientImage: String,
        authorityConfigMap: String? = nil, bytes: UInt64? = nil, entries: UInt64 = 0,
        mountPath: String = "/cas"
    ) {
        self.reference = reference
        self.server = server
        self.audience = audience
        self.clientImage = clientImage
        self.authorityConfigMap = authorityConfigMap
        self.bytes = bytes
        self.entries = entries
        self.mountPath = mountPath
    }

    /// The directory with the code.
    package var codePath: String {
        codeDirectory.isEmpty ? mountPath : mountPath + "/" + codeDirectory
    }
    private static let tokenPath = "/var/run/secrets/cas"
    private static let authorityPath = "/var/run/secrets/cas-ca"

    /// Mebibytes that the code's volume may hold; nil where the size is unknown.
    ///
    /// Twice the snapshot, since an update has old and new files for a moment and programs write beside their
    /// code, and a block for each file; rounded up to a power of two, at least 1 GiB, so that it changes seldom.
    package var volumeMebibytes: UInt64? {
        guard let bytes else { return nil }
        let blocks = entries.multipliedReportingOverflow(by: 4096)
        let used = bytes.addingReportingOverflow(blocks.overflow ? .max : blocks.partialValue)
        let needed = used.overflow ? UInt64.max >> 2 : min(used.partialValue, .max >> 2)
        var mebibytes: UInt64 = 1024
        while mebibytes << 20 < needed * 2, mebibytes < 1 << 40 { mebibytes <<= 1 }
        return mebibytes
    }

    /// The volume's limit as a Kubernetes quantity.
    package var volumeLimit: String? {
        volumeMebibytes.map { $0 % 1024 == 0 ? "\($0 / 1024)Gi" : "\($0)Mi" }
    }

    /// What every container that talks to the server finds in its environment.
    package var environment: [(name: String, value: String)] {
        var variables = [("CAS_SERVER", server), ("CAS_REF", reference)]
        if audience != nil { variables.append(("CAS_TOKEN_FILE", Self.tokenPath + "/token")) }
        if authorityConfigMap != nil {
            variables.append(("CAS_CA_FILE", Self.authorityPath + "/ca.crt"))
        }
        return variables
    }

    /// The init container that fetches the code; holds under restricted Pod Security.
    package var initContainer: ManifestValue {
        var requests: ManifestValue = ["cpu": "100m", "memory": "64Mi"]
        // No limit: kubelet holds the whole pod, with all that training writes, to the limits that there are.
        if let volumeLimit { requests["ephemeral-storage"] = .text(volumeLimit) }
        return [
            "name": .text(ManifestNames.initContainer),
            "image": .text(clientImage),
            // A pod that is made anew on its volume gets the snapshot's bytes, whatever the job wrote over them.
            "args": ["fetch", "--force", .text(codePath)],
            "env": .list(environment.map { ["name": .text($0.name), "value": .text($0.value)] }),
            "resources": ["requests": requests, "limits": ["memory": "256Mi"]],
            "securityContext": Self.containerSecurity(readOnlyRoot: true),
            "volumeMounts": .list([codeMount(readOnly: false)] + identityMounts),
        ]
    }

    /// The mount of the code in a container.
    package func codeMount(readOnly: Bool) -> ManifestValue {
        var mount: ManifestValue = [
            "name": .text(ManifestNames.codeVolume), "mountPath": .text(mountPath),
        ]
        if readOnly { mount["readOnly"] = true }
        return mount
    }

    /// The mounts of the pod's token and of the authorities, in containers that talk to the server.
    package var identityMounts: [ManifestValue] {
        var mounts: [ManifestValue] = []
        if audience != nil {
            mounts.append([
                "name": .text(ManifestNames.tokenVolume), "mountPath": .text(Self.tokenPath),
                "readOnly": true,
            ])
        }
        if authorityConfigMap != nil {
            mounts.append([
                "name": .text(ManifestNames.authorityVolume),
                "mountPath": .text(Self.authorityPath), "readOnly": true,
            ])
        }
        return mounts
    }

    /// The volume that holds the code.
    package var codeVolume: ManifestValue {
        var empty = ManifestValue.object([])
        if let volumeLimit { empty["sizeLimit"] = .text(volumeLimit) }
        return ["name": .text(ManifestNames.codeVolume), "emptyDir": empty]
    }

    /// The volumes with the pod's token and the authorities.
    ///
    /// kubelet writes the token and renews it; nothing secret stands in the manifest.
    package var identityVolumes: [ManifestValue] {
        var volumes: [ManifestValue] = []
        if let audience {
            let token: ManifestValue = [
                "audience": .text(audience), "expirationSeconds": 3600, "path": "token",
            ]
            volumes.append([
                "name": .text(ManifestNames.tokenVolume),
                // 0444: the user of the container is not known here.
                "projected": ["defaultMode": 292, "sources": [["serviceAccountToken": token]]],
            ])
        }
        if let authorityConfigMap {
            volumes.append([
                "name": .text(ManifestNames.authorityVolume),
                "configMap": ["name": .text(authorityConfigMap)],
            ])
        }
        return volumes
    }

    /// What restricted Pod Security asks of a container (kubernetes.io, "Pod Security Standards").
    package static func containerSecurity(readOnlyRoot: Bool) -> ManifestValue {
        var security: ManifestValue = [
            "allowPrivilegeEscalation": false, "capabilities": ["drop": ["ALL"]],
        ]
        if readOnlyRoot { security["readOnlyRootFilesystem"] = true }
        return security
    }

    /// What restricted Pod Security asks of a pod.
    package static let podSecurity: ManifestValue = [
        "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
        "seccompProfile": ["type": "RuntimeDefault"],
    ]
}
