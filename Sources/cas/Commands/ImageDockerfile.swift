import ArgumentParser
import CASCore
import CASImage
import CASOCI

/// `cas image dockerfile --base IMAGE --workspace REF …`.
struct ImageDockerfileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dockerfile",
        abstract: "Write the Dockerfile that builds what 'cas image build' would.",
        usage: "cas image dockerfile --base IMAGE|scratch --workspace REF[=/PATH] … [OPTIONS]",
        discussion: """
            For those who have to use one: nothing is asked or read. Its first lines say how the context is \
            filled, and with which flags annotations are given to a builder, as a Dockerfile has no way to say \
            them; 'cas image build' needs neither a context nor a builder.

            EXAMPLES:
              cas image dockerfile --base docker.io/library/python:3.12 --workspace team/deps=/opt/deps \
            --workspace team/train --cmd '["python3", "train.py"]' > Dockerfile
            """)

    @OptionGroup var image: ImageFlags

    func run() throws {
        let options = try image.options()
        let workspaces = try image.workspaces()
        let text = try DockerfileText(
            base: try base(), owner: image.owner,
            workspaces: workspaces.map { ("\($0.reference)", $0.directory) }, options: options,
            directories: try image.emptyDirectories())
        Console.data(bytes: Array(text.description.utf8))
        if text.needsFlags {
            Console.note(
                "a Dockerfile has no annotations: comments at its beginning name the flags of docker "
                    + "buildx build and buildah build that set them")
        }
    }

    /// The base as builders have to name it: they look for a name without a host in a public registry, and here it is
    /// one of the configured server.
    private func base() throws -> String {
        guard image.base != "scratch" else { return image.base }
        let reference = try ImageAccess.reference(image.base)
        if reference.host != nil {
            guard !reference.description.hasPrefix(ImageReference.scheme) else {
                throw CASError(
                    .unimplemented,
                    "no builder takes '\(reference.host ?? "")' for the host of a registry",
                    hint: "name it with a dot or a port: oci://\(reference.host ?? ""):443/"
                        + reference.path)
            }
            return reference.description
        }
        let choice = try StoreChoice.choose(
            serverFlag: nil, storeFlag: nil, host: nil, settings: try Settings.load())
        guard case .server(let address, _) = choice else {
            throw CASError(
                .failedPrecondition,
                "'\(image.base)' is in a store on this machine, where no builder finds it",
                hint: "name the base with its registry, or configure a server with cas login")
        }
        return "\(try RegistryLocation(address: address.url).host)/\(image.base)"
    }
}
