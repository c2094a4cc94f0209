import CASCore

extension CodeDelivery {
    /// The init container for a pod whose security context is not ours: it satisfies restricted Pod Security by
    /// itself.
    func injectedInitContainer(user: Int64?) -> ManifestValue {
        var container = initContainer
        var security = container["securityContext"] ?? .object([])
        security["runAsNonRoot"] = true
        if let user { security["runAsUser"] = .integer(user) }
        security["seccompProfile"] = ["type": "RuntimeDefault"]
        container["securityContext"] = security
        return container
    }

    /// The delivery with the code in a directory of the user's choice, where the volume itself is mounted.
    func mounted(at directory: String) throws -> CodeDelivery {
        var path = directory[...]
        while path.count > 1, path.last == "/" { path.removeLast() }
        let components = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard path.first == "/", !components.isEmpty,
            components.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }),
            path.unicodeScalars.allSatisfy({ $0.value > 0x20 && $0.value != 0x7f }),
            !path.contains(where: { ":$,\\".contains($0) })
        else {
            throw CASError(
                .invalidArgument, "'\(directory)' can not be the directory with the code",
                hint: "give an absolute path below /, without '..', ':', '$' and spaces")
        }
        if path == codePath { return self }
        return moved(mountPath: String(path), codePath: String(path)) ?? self
    }

    /// The delivery with other paths; nil if the code would not lie in the volume, or not where we put it.
    func moved(mountPath: String, codePath: String) -> CodeDelivery? {
        var moved = self
        moved.mountPath = mountPath
        for directory in [codeDirectory, "code", ""] {
            moved.codeDirectory = directory
            if moved.codePath == codePath { return moved }
        }
        return nil
    }
}
