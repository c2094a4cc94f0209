import Testing

/// `cas image`, with a store on this machine; registries are in ops/interop/test_image_build.
@Suite struct ImageCommandTests {
    private let epoch = ["SOURCE_DATE_EPOCH": "1700000000"]

    @Test func `an image of a snapshot, and what is in it`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "team/train", "--store", "store"])
        let build =
            "image build --base scratch --workspace team/train --to team/train:image --platform linux/amd64 "
            + "--store store --env A=b --label team=vision --entrypoint /workspace/run.sh"
        try fixture.cas(build + " --dry-run", environment: epoch)
        try fixture.cas(build, environment: epoch)
        try fixture.cas(build, environment: epoch)
        try fixture.cas(build + " --json", environment: epoch)
        try fixture.cas("image inspect team/train:image --store store")
        try fixture.cas("image inspect team/train:image --store store --json")
        try fixture.cas(
            "image build --base team/train:image --workspace team/train=/second --to team/train:two "
                + "--store store", environment: epoch)
        try fixture.cas(
            build.replacing(":image", with: ":zipped")
                + " --compression zstd --compression-level 19 --directory /tmp=1777",
            environment: epoch)
        let raw = try fixture.run([
            "image", "inspect", "team/train:image", "--raw", "--store", "store",
        ])
        #expect(raw.output.hasPrefix("{\"schemaVersion\":2,"))
        try Snapshot.check(fixture, "image")
    }

    @Test func `the Dockerfile of an image`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas([
            "image", "dockerfile", "--base", "docker.io/library/python:3.12", "--workspace",
            "team/deps=/opt/deps", "--workspace", "team/train", "--cmd",
            "[\"python3\", \"train.py\"]",
            "--env", "A=$b", "--user", "1000:1000", "--owner", "1000:1000",
        ])
        // A builder would look for a name without a host elsewhere.
        let words = "image dockerfile --base team/python:3.12 --workspace team/train"
        try fixture.cas(words, environment: ["CAS_SERVER": "https://cas.example"])
        try fixture.cas(words)
        // Flags of the builder say what a Dockerfile can not; a builder knows no scheme.
        try fixture.cas([
            "image", "dockerfile", "--base", "oci://a.example/python:3.12", "--workspace",
            "team/train", "--annotation", "org.example.note=it's $1", "--workdir", "/work $HOME",
        ])
        try fixture.cas("image dockerfile --base oci://host/python --workspace team/train")
        // A line break would end the instruction, and begin another one.
        let broken = try fixture.run(
            words.split(separator: " ").map(String.init) + ["--env", "A=1\nRUN evil"],
            environment: ["CAS_SERVER": "https://cas.example"])
        #expect(broken.status == 1 && broken.output.isEmpty)
        try Snapshot.check(fixture, "image-dockerfile")
    }

    @Test func `what no image is built of`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "team/train", "--store", "store"])
        let good = "image build --base scratch --workspace team/train --to team/image --store store"
        for words in [
            "image build --base scratch --to team/image",
            "image build --workspace team/train --to a",
            "\(good) --env A", "\(good) --owner root:root", "\(good) --prefix relative",
            "\(good) --workspace a.example/team/x", "\(good) --platform linux",
            "\(good) --compression brotli",
            "\(good) --compression-level 3", "\(good) --compression gzip --compression-level 10",
            "\(good) --directory tmp", "\(good) --directory /tmp=4777",
            "image dockerfile --base scratch --workspace team/train --directory /tmp",
            "\(good) --cmd [python3]",
            "image build --base scratch --workspace team/train --to team/image@sha256:12",
            "image build --base team/absent --workspace team/train --to team/image --store store",
            "image build --base team/train --workspace team/train --to team/image --store store",
            "image build --base scratch --workspace team/absent --to team/image --store store",
            "image inspect team/absent --store store", "image inspect team/train --store store",
            "image inspect team/train --raw --json",
        ] { try fixture.cas(words) }
        try fixture.cas(good, environment: ["SOURCE_DATE_EPOCH": "yesterday"])
        try Snapshot.check(fixture, "image-refusals")
    }
}
