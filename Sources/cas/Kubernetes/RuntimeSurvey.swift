import CASCore
import CASKubernetes

/// What the cluster says of a TrainJob's runtime, and what follows for the way in which the code comes.
struct RuntimeSurvey {
    /// The way that is taken, and why.
    enum Way: Equatable {
        case initContainer(String)
        case bootstrap(String)

        /// Why this one.
        var reason: String {
            switch self {
            case .initContainer(let reason), .bootstrap(let reason): reason
            }
        }
    }

    let way: Way
    /// Whether launcher and workers both need the code.
    let isMPI: Bool

    /// Asks the cluster; throws `notFound` where there is no such runtime.
    static func ask(
        _ runtime: RuntimeReference, _ kubectl: Kubectl
    ) throws -> RuntimeSurvey {
        let resource =
            (runtime.kind == "TrainingRuntime" ? "trainingruntimes" : "clustertrainingruntimes")
            + ".trainer.kubeflow.org"
        let result = try kubectl.run(["get", resource, runtime.name, "--output", "json"])
        if result.status == 0 {
            guard let object = try ManifestYAML.parse(result.output).first else {
                throw CASError(.unavailable, "kubectl printed no runtime '\(runtime.name)'")
            }
            return RuntimeSurvey(object, name: runtime.name)
        }
        if Kubectl.isForbidden(result) {
            return RuntimeSurvey(
                way: .bootstrap(
                    "runtimes can not be read with your rights, and this way works in any"),
                isMPI: false)
        }
        var error = kubectl.refusal(result, what: "the runtime '\(runtime.name)' can not be read")
        if Kubectl.isAbsent(result) { error.hint = "kubectl get \(resource) lists what there is" }
        throw error
    }

    init(way: Way, isMPI: Bool) {
        self.way = way
        self.isMPI = isMPI
    }

    /// Reads a runtime.
    init(_ runtime: ManifestValue, name: String) {
        let jobs = runtime.at("spec", "template", "spec", "replicatedJobs")?.items ?? []
        let declares = jobs.contains { job in
            let containers = job.at("template", "spec", "template", "spec", "initContainers")
            return containers?.item(named: ManifestNames.initContainer) != nil
        }
        isMPI = runtime.at("spec", "mlPolicy", "mpi") != nil
        way =
            declares
            ? .initContainer("the runtime '\(name)' declares the init container")
            : .bootstrap(
                "the runtime '\(name)' declares no init container "
                    + "'\(ManifestNames.initContainer)' (cas k8s runtime derives one that does)")
    }
}
