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
            filled; 'cas image build' needs neither a context nor a builder.

            EXAMPLES:
              cas image dockerfile --base docker.io/library/python:3.12 --workspace team/deps=/opt/deps \
            --workspace team/train --cmd '["python3", "train.py"]' > Dockerfile
            """)

    @OptionGroup var image: ImageFlags

    func run() throws {
        let options = try image.options()
        let workspaces = try image.workspaces()
        let text = try DockerfileText(
            base: image.base, owner: image.owner,
            workspaces: workspaces.map { ("\($0.reference)", $0.directory) }, options: options,
            directories: try image.emptyDirectories())
        Console.data(bytes: Array(text.description.utf8))
    }
}
