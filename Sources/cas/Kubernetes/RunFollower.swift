import CASCore
import CASFileSystem
import CASKubernetes
import Glibc

/// Waits for the pods of a submitted job, shows what they print, and says how it ended.
struct RunFollower {
    private static let pollMicroseconds: UInt32 = 1_000_000
    /// Polls without an answer after which following ends; the job goes on.
    private static let silentPolls = 60

    let kubectl: Kubectl
    let kind: JobKind
    /// The object's name.
    let name: String
    let nodes: Int

    /// How far the pods of a job are.
    struct Pods: Equatable {
        var phases: [(name: String, phase: String)] = []

        /// `NAME PHASE` lines, as the template in `podsTemplate` prints them.
        init(_ text: String) {
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard let name = words.first else { continue }
                phases.append((String(name), words.count > 1 ? String(words[1]) : "Pending"))
            }
        }

        /// Whether each of them runs, or ran.
        var haveStarted: Bool {
            !phases.isEmpty && phases.allSatisfy { $0.phase != "Pending" && $0.phase != "Unknown" }
        }

        /// For a person: `2 pods: 1 Pending, 1 Running`.
        var text: String {
            guard !phases.isEmpty else { return "no pods yet" }
            var counts: [String: Int] = [:]
            for pod in phases { counts[pod.phase, default: 0] += 1 }
            let parts = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            return "\(counted(phases.count, "pod")): \(parts.joined(separator: ", "))"
        }

        static func == (left: Pods, right: Pods) -> Bool {
            left.phases.elementsEqual(right.phases) { $0 == $1 }
        }
    }

    /// How a job ended.
    enum End: Equatable {
        case succeeded
        case failed(String)

        /// Reads `TYPE=STATUS REASON MESSAGE` lines, as `conditionsTemplate` prints them; nil while it runs.
        init?(_ text: String) {
            for line in text.split(separator: "\n") {
                let words = line.split(separator: " ", maxSplits: 1)
                guard let condition = words.first, condition.hasSuffix("=True") else { continue }
                switch condition.dropLast(5) {
                case "Complete", "Completed", "Succeeded": self = .succeeded
                case "Failed":
                    self = .failed(words.count > 1 ? String(words[1]) : "no reason is given")
                default: continue
                }
                return
            }
            return nil
        }
    }

    private static let podsTemplate =
        #"jsonpath={range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}"#
    private static let conditionsTemplate =
        #"jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}"#

    /// Follows a job to its end; throws if it fails.
    func follow() throws {
        let place = kubectl.namespace.map { " --namespace \($0)" } ?? ""
        Console.note(
            "following it; Ctrl-C ends that and not the job: kubectl delete \(kind.resource) \(name)\(place)"
        )
        if let count = try waitForPods() {
            // What started later, or anew, is shown from its beginning too.
            let status = try kubectl.show([
                "logs", "--follow", "--selector", selector, "--container", container, "--prefix",
                "--tail=-1", "--max-log-requests=\(min(max(nodes, count) + 5, 500))",
            ])
            if status != 0 { Console.note("kubectl logs ended with exit status \(status)") }
        }
        switch try waitForEnd() {
        case .succeeded: Console.note("\(name) is done")
        case .failed(let reason):
            throw CASError(
                .failedPrecondition, "\(name) failed: \(reason)",
                hint: "kubectl describe \(kind.resource) \(name) says more")
        }
    }

    /// Waits until all pods run or the job ends; how many there are to show, nil for none.
    private func waitForPods() throws -> Int? {
        var shown: Pods?
        while true {
            let pods = Pods(
                try poll(["get", "pods", "--selector", selector, "--output", Self.podsTemplate]))
            if pods != shown {
                Console.note("\(name): \(pods.text)")
                shown = pods
            }
            if pods.phases.count >= nodes, pods.haveStarted { return pods.phases.count }
            if try end() != nil { return pods.phases.isEmpty ? nil : pods.phases.count }
            usleep(Self.pollMicroseconds)
        }
    }

    private func waitForEnd() throws -> End {
        while true {
            if let end = try end() { return end }
            usleep(Self.pollMicroseconds)
        }
    }

    private func end() throws -> End? {
        End(try poll(["get", kind.resource, name, "--output", Self.conditionsTemplate]))
    }

    /// Asks again while the cluster does not answer, for about a minute.
    private func poll(_ arguments: [String]) throws -> String {
        var silent = 0
        while true {
            let result = try kubectl.run(arguments)
            if result.status == 0 { return result.output }
            silent += 1
            let refusal = kubectl.refusal(result, what: "\(name) can not be followed")
            if silent == 1 { Console.note("\(printable(refusal.description)); trying again") }
            guard refusal.code == .unavailable, silent < Self.silentPolls else {
                var error = refusal
                error.hint = "the run itself goes on, if nobody deleted it"
                throw error
            }
            usleep(Self.pollMicroseconds)
        }
    }

    /// The label by which the pods of a job are found.
    private var selector: String {
        switch kind {
        // Trainer makes a JobSet of the job's name.
        case .trainJob, .jobSet: "jobset.sigs.k8s.io/jobset-name=\(name)"
        case .pyTorchJob, .tensorFlowJob, .mpiJob: "training.kubeflow.org/job-name=\(name)"
        case .job: "job-name=\(name)"
        }
    }

    private var container: String { kind.containerName }
}
