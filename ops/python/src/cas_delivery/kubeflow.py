"""Ready arguments for `TrainerClient().train(...)` of the Kubeflow SDK (`pip install kubeflow`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ._command import CASError
from ._render import Code, keep, render, unique_name

# The dataclasses of the SDK, from the outside in: which class the value of a key has, if any.
_PATCHES: dict[str, dict[str, str]] = {
    "RuntimePatch": {"trainingRuntimeSpec": "TrainingRuntimeSpecPatch"},
    "TrainingRuntimeSpecPatch": {"template": "JobSetTemplatePatch"},
    "JobSetTemplatePatch": {"spec": "JobSetSpecPatch"},
    "JobSetSpecPatch": {"replicatedJobs": "ReplicatedJobPatch"},
    "ReplicatedJobPatch": {"template": "JobTemplatePatch"},
    "JobTemplatePatch": {"spec": "JobSpecPatch"},
    "JobSpecPatch": {"template": "PodTemplatePatch"},
    "PodTemplatePatch": {"spec": "PodSpecPatch"},
    "PodSpecPatch": {"initContainers": "ContainerPatch", "containers": "ContainerPatch"},
    "ContainerPatch": {},
}


class TrainArguments(TypedDict):
    """The arguments of `TrainerClient().train`."""

    runtime: str
    trainer: Any
    options: list[Any]


def train_arguments(
    code: Code,
    command: Sequence[str] | None = None,
    *,
    name: str,
    runtime: str,
    unique: bool = True,
    keep_code: bool = True,
    mpi: bool = False,
    image: str | None = None,
    client_image: str | None = None,
    mode: str | None = None,
    claim: str | None = None,
    nodes: int | None = None,
    gpus: int | None = None,
    namespace: str | None = None,
    resources: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    ca_configmap: str | None = None,
    server: str | None = None,
) -> TrainArguments:
    """Return `runtime`, `trainer` and `options` for `TrainerClient().train(**...)`.

    The job that the SDK submits is what `cas render trainjob` prints for the same words, with
    two of the SDK's own choices: it names itself the manager of the patches, and leaves the API
    group of the runtime to its default. `unique` puts five random letters behind the name instead
    of eight digits of a digest, so that the same can be submitted again. With `keep_code`
    the submission leaves the ref `run-NAME` as `cas submit` does: it keeps the code, and
    `cas runs` lists it.
    """
    job = render(
        "trainjob",
        code,
        command,
        name=name,
        trainer="2.3",
        runtime=runtime,
        mpi=mpi,
        image=image,
        client_image=client_image,
        mode=mode,
        claim=claim,
        nodes=nodes,
        gpus=gpus,
        namespace=namespace,
        resources=resources,
        env=env,
        labels=labels,
        ca_configmap=ca_configmap,
        server=server,
    )
    if unique:
        job["metadata"]["name"] = unique_name(name)
    arguments = arguments_of(job)
    if keep_code:
        arguments["options"].append(_Kept(code, command, job, server))
    return arguments


def trainer_options(code: Code, command: Sequence[str] | None = None, **words: Any) -> list[Any]:
    """Return only the options, for a trainer of your own: `CustomTrainerContainer(image=...)`.

    The words are those of `train_arguments`. What options can not say (nodes, resources,
    variables, image) is then the trainer's to say, or is asked for with `train_arguments`.
    """
    arguments = train_arguments(code, command, **words)
    trainer = arguments["trainer"]
    said = [
        word
        for word, content in (
            ("nodes", trainer.num_nodes),
            ("gpus or resources", trainer.resources_per_node),
            ("env", trainer.env),
            ("image", trainer.image),
        )
        if content
    ]
    if said:
        raise CASError(
            f"options can not say {', '.join(said)}; in the SDK the trainer does",
            "use train_arguments(...), or say them in CustomTrainerContainer(...) alone",
        )
    return arguments["options"]


def arguments_of(job: Mapping[str, Any]) -> TrainArguments:
    """Return the SDK's arguments that submit this TrainJob; refuse by name what it can not say."""
    try:
        options = importlib.import_module("kubeflow.trainer.options")
        types = importlib.import_module("kubeflow.trainer.types.types")
        models = importlib.import_module("kubeflow_trainer_api.models")
    except ImportError as error:
        raise CASError(
            f"the Kubeflow SDK is not installed ({error})", "pip install 'cas-delivery[kubeflow]'"
        ) from error
    if models.TrainerV1alpha1TrainJob.from_dict(dict(job)).to_dict() != job:
        raise CASError("the models of kubeflow-trainer-api drop a part of this TrainJob")
    spec = job["spec"]
    _only("spec", spec, "runtimeRef", "trainer", "runtimePatches")
    _only("metadata", job["metadata"], "name", "namespace", "labels", "annotations")
    trainer = spec["trainer"]
    _only("trainer", trainer, "image", "command", "args", "numNodes", "resourcesPerNode", "env")
    resources = trainer.get("resourcesPerNode")
    chosen: list[Any] = [options.Name(job["metadata"]["name"])]
    if "namespace" in job["metadata"]:
        chosen.append(_SameNamespace(job["metadata"]["namespace"]))
    for key, option in (("labels", options.Labels), ("annotations", options.Annotations)):
        if key in job["metadata"]:
            chosen.append(option(dict(job["metadata"][key])))
    chosen.append(options.TrainerCommand(list(trainer["command"])))
    if "args" in trainer:
        chosen.append(options.TrainerArgs(list(trainer["args"])))
    for patch in spec.get("runtimePatches", []):
        _only("runtimePatches", patch, "manager", "trainingRuntimeSpec")
        ours = {key: content for key, content in patch.items() if key != "manager"}
        chosen.append(_patch(options, "RuntimePatch", ours, "runtimePatches"))
    return {
        "runtime": spec["runtimeRef"]["name"],
        "trainer": types.CustomTrainerContainer(
            image=trainer.get("image", ""),
            num_nodes=trainer.get("numNodes"),
            resources_per_node=_resources(resources),
            env=_variables(trainer.get("env")),
        ),
        "options": chosen,
    }


class _SameNamespace:
    """An option that changes nothing: it stops a client whose namespace is not the manifest's."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, job_spec: object, trainer: object, backend: object) -> None:
        used = getattr(backend, "namespace", None)
        if used != self.namespace:
            raise ValueError(
                f"the job is for the namespace {self.namespace}, the client for {used}: "
                "TrainerClient(KubernetesBackendConfig(namespace=...))"
            )


class _Kept:
    """An option that changes nothing: it keeps the job's code just before the job is submitted."""

    def __init__(
        self,
        code: Code,
        command: Sequence[str] | None,
        job: Mapping[str, Any],
        server: str | None,
    ) -> None:
        self.words = (code, command, job, server)

    def __call__(self, job_spec: object, trainer: object, backend: object) -> None:
        keep(*self.words)


def _only(place: str, found: Mapping[str, Any], *known: str) -> None:
    other = sorted(set(found) - set(known))
    if other:
        raise CASError(f"the Kubeflow SDK can not say {place}.{other[0]}", "use cas submit")


def _patch(options: Any, kind: str, content: Mapping[str, Any], place: str) -> Any:
    """Build one of the SDK's nested dataclasses; they are called by Python's names of the keys."""
    made = getattr(options, kind)
    words: dict[str, Any] = {}
    for key, part in content.items():
        inner = _PATCHES[kind].get(key)
        word = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
        if word not in made.__dataclass_fields__:
            raise CASError(f"the Kubeflow SDK can not say {place}.{key}", "use cas submit")
        if inner is None:
            words[word] = part
        elif isinstance(part, list):
            words[word] = [_patch(options, inner, each, f"{place}.{key}") for each in part]
        else:
            words[word] = _patch(options, inner, part, f"{place}.{key}")
    return made(**words)


def _resources(content: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the one dictionary that the SDK takes for requests and limits both."""
    if content is None:
        return None
    limits = content.get("limits", {})
    if content.get("requests", limits) != limits:
        raise CASError("the Kubeflow SDK can not say requests that differ from limits")
    return dict(limits)


def _variables(content: Sequence[Mapping[str, Any]] | None) -> dict[str, str] | None:
    if content is None:
        return None
    for variable in content:
        if set(variable) != {"name", "value"}:
            raise CASError(f"the Kubeflow SDK can not say the variable {variable.get('name')}")
    return {variable["name"]: variable["value"] for variable in content}
