"""Asks cas for the manifest of a job."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Union

from ._command import CASError, run, value, values
from ._function import Delivery
from ._snapshot import Snapshot

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, so no words

Code = Union[Snapshot, Delivery, str]
"""What a job runs: a snapshot, a function's delivery, or a reference such as `name@sha256:...`."""


KEPT_FOR = "30d"
"""How long code is kept after the last pod fetched it, as `cas submit` keeps it."""


def unique_name(prefix: str) -> str:
    """Return a name that no other submission has, as `cas submit` makes them."""
    return f"{prefix}-" + "".join(secrets.choice(_LETTERS) for _ in range(5))


def keep(
    code: Code, command: Sequence[str] | None, job: Mapping[str, Any], server: str | None
) -> None:
    """Let the ref `run-NAME` name the code, so that `cas runs` lists it and it stays while used."""
    run_name, namespace = job["metadata"]["name"], job["metadata"].get("namespace")
    words = " ".join(command or ())
    if isinstance(code, Delivery) and command is None:
        words = f"{code.name} of {code.path}"
    message = f"{job['kind']}{f' in {namespace}' if namespace else ''}: {words}"[:1000]
    stored = code.snapshot if isinstance(code, Delivery) else code
    reference = stored.reference if isinstance(stored, Snapshot) else stored
    place = value("--server", server)
    if isinstance(stored, Snapshot):
        place = place or stored.place
    name, at, _ = reference.partition("@")
    if not at:
        head, colon, tail = reference.rpartition(":")
        name = head if colon and "/" not in tail else reference
    if name in ("", "sha256"):
        raise CASError(
            f"{reference} has no name for the run to stand beside",
            "give NAME@sha256:..., or keep_code=False to leave the code to whoever keeps it",
        )
    run(
        [
            "tag", "--json", f"--expires={KEPT_FOR}", f"--message={message}", *place,
            "--", reference, f"{name}:run-{run_name}",
        ]
    )  # fmt: skip


def _pairs(pairs: Mapping[str, object] | None) -> list[str]:
    return [f"{key}={content}" for key, content in (pairs or {}).items()]


def render(
    kind: str,
    code: Code,
    command: Sequence[str] | None = None,
    *,
    name: str,
    trainer: str | None = None,
    runtime: str | None = None,
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
    store: str | None = None,
) -> dict[str, Any]:
    """Return the object that `cas render KIND` prints for the same words.

    The arguments are the flags of `cas render`, with its meanings and defaults.
    """
    if isinstance(code, Delivery):
        command = code.command if command is None else command
        code = code.snapshot
    if command is None or isinstance(command, str) or not command:
        raise CASError(
            "a job needs a command, as a list of words", 'for example ["python", "train.py"]'
        )
    place = [*value("--server", server), *value("--store", store)]
    if isinstance(code, Snapshot):
        place = place or code.place
        code = code.reference
    document: dict[str, Any] = run(
        [
            "render",
            kind,
            "--json",
            f"--ref={code}",
            f"--name={name}",
            *value("--trainer", trainer),
            *value("--runtime", runtime),
            *(["--mpi"] if mpi else []),
            *value("--image", image),
            *value("--client-image", client_image),
            *value("--mode", mode),
            *value("--claim", claim),
            *value("--nodes", nodes),
            *value("--gpus", gpus),
            *value("--namespace", namespace),
            *values("--resources", _pairs(resources)),
            *values("--env", _pairs(env)),
            *values("--label", _pairs(labels)),
            *value("--ca-configmap", ca_configmap),
            *place,
            "--",
            *command,
        ]
    )
    return document
