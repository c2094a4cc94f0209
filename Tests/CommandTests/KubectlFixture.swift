import Foundation
import Testing

extension CommandLineFixture {
    /// Puts a program in the place of kubectl that writes down what it is asked and what it is given.
    ///
    /// It answers with `answers`: lines of a shell's `case "$*" in`. What none of them matches is refused, so that
    /// nothing is asked that a test does not know of.
    func standInForKubectl(_ answers: String) throws {
        let log = path("kubectl.log")
        try write("kubectl.log", "")
        try write(
            "bin/kubectl",
            """
            #!/bin/sh
            printf '%s\\n' "$*" >>'\(log)'
            case "$*" in *--filename=-*) cat >'\(path("manifest.yaml"))' ;; esac
            case "$*" in
            \(answers)
            *) echo "the stand-in does not know: $*" >&2; exit 99 ;;
            esac
            """, permissions: 0o755)
    }

    /// The environment in which that program is found.
    var withKubectl: [String: String] { ["PATH": "\(path("bin")):/usr/bin:/bin"] }

    /// What kubectl was asked, one call a line.
    func kubectlCalls() throws -> [String] {
        try read("kubectl.log").split(separator: "\n").map(String.init)
    }
}
