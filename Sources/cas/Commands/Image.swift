import ArgumentParser

/// `cas image build|inspect|dockerfile`.
struct ImageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image",
        abstract: "Build images of snapshots, and look at images.",
        discussion: """
            EXAMPLES:
              cas image build --base scratch --workspace team/tool --entrypoint /workspace/tool --to team/tool:image
              cas image inspect team/tool:image
              cas image dockerfile --base docker.io/library/python:3.12 --workspace team/train
            """,
        subcommands: [
            ImageBuildCommand.self, ImageInspectCommand.self, ImageDockerfileCommand.self,
        ])
}
