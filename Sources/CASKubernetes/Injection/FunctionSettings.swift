import CASCore

/// What a kustomize function was configured with: `functionConfig` of the ResourceList that it reads
/// (config.kubernetes.io/v1), in its `spec`, or `data` where it is a ConfigMap.
///
/// It can name no server, no store and no image: what a repository holds must not redirect credentials.
package struct FunctionSettings: Hashable, Sendable {
    /// The snapshot to deliver.
    package var reference: String?
    /// The only container that gets the code.
    package var container: String?
    /// Where the code is to lie.
    package var mount: String?

    /// The settings in an input; nil if it is no ResourceList.
    package init?(readingFrom bytes: [UInt8]) throws {
        let documents = try ManifestYAML.parse(String(decoding: bytes, as: UTF8.self))
        guard let list = documents.first, documents.count == 1,
            list["kind"]?.text == "ResourceList"
        else { return nil }
        let config = list["functionConfig"]
        for key in ["spec", "data"] {
            guard let members = config?[key]?.members else { continue }
            for member in members {
                guard let text = member.value.text else {
                    throw CASError(.invalidArgument, "'\(member.key)' of functionConfig is no text")
                }
                switch member.key {
                case "ref": reference = text
                case "container": container = text
                case "mount": mount = text
                default:
                    throw CASError(
                        .invalidArgument, "functionConfig has '\(member.key)', which means nothing",
                        hint: "it may have ref, container and mount")
                }
            }
        }
    }
}
