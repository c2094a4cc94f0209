import CASCore
import CASFileSystem

extension WorkspaceScan {
    /// Files outside of a directory that decide about a push of it: what git tracks, its exclusions, and
    /// ignore files of the directories above; as directories and names in them.
    package static func inputsOutside(
        _ root: String
    ) throws -> [(directory: String, names: Set<[UInt8]>)] {
        let path = try Host.resolve(root)
        let repository = try WorkspaceRepository(containing: path)
        var inputs: [(directory: String, names: Set<[UInt8]>)] = []
        if let git = repository.gitDirectory {
            inputs.append((git, [Array("index".utf8)]))
        }
        if let common = repository.commonDirectory {
            inputs.append((FilePaths.join(common, "info"), [Array("exclude".utf8)]))
        }
        var above = repository.root
        for name in repository.components {
            inputs.append(
                (
                    above,
                    [IgnoreFiles.gitignore, IgnoreFiles.casignore, Array("cas.yaml".utf8)]
                ))
            above = FilePaths.join(above, String(decoding: name, as: UTF8.self))
        }
        return inputs
    }
}
