"""Ready jobs for `TrainingClient().create_job(job=...)` of kubeflow-training 1.9."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ._command import CASError
from ._render import Code, keep, render, unique_name

_MODELS = {
    "PyTorchJob": "KubeflowOrgV1PyTorchJob",
    "TFJob": "KubeflowOrgV1TFJob",
    "MPIJob": "KubeflowOrgV1MPIJob",
}


def job(
    kind: str,
    code: Code,
    command: Sequence[str] | None = None,
    *,
    name: str,
    unique: bool = True,
    keep_code: bool = True,
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
) -> Any:
    """Return a job object of the kind `pytorchjob`, `tfjob` or `mpijob`.

    It is what `cas render KIND` prints for the same words; with `unique` its name ends in five
    random letters instead of eight digits of a digest, so that it can be submitted again. With
    `keep_code` the ref `run-NAME` names the code at once: it keeps it, and `cas runs` lists it.
    """
    manifest = render(
        kind,
        code,
        command,
        name=name,
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
        manifest["metadata"]["name"] = unique_name(name)
    made = job_of(manifest)
    if keep_code:
        keep(code, command, manifest, server)
    return made


def pytorch_job(code: Code, command: Sequence[str] | None = None, **words: Any) -> Any:
    """Return a KubeflowOrgV1PyTorchJob; the words are those of `job`."""
    return job("pytorchjob", code, command, **words)


class _Answer:
    """What the models' own decoder takes: an answer of a server."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.data = json.dumps(manifest)


def job_of(manifest: Mapping[str, Any]) -> Any:
    """Return the model of a manifest, and refuse one that the models would not send whole."""
    try:
        api = importlib.import_module("kubeflow.training.api_client")
    except ImportError as error:
        raise CASError(
            f"kubeflow-training is not installed ({error})", "pip install 'cas-delivery[training]'"
        ) from error
    model = _MODELS.get(str(manifest.get("kind")))
    if model is None:
        raise CASError(
            f"kubeflow-training has no {manifest.get('kind')}", f"it has {', '.join(_MODELS)}"
        )
    client = api.ApiClient()
    made = client.deserialize(_Answer(manifest), model)
    if client.sanitize_for_serialization(made) != manifest:
        raise CASError(f"the models of kubeflow-training drop a part of this {manifest['kind']}")
    return made
