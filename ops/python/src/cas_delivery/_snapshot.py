"""Pushes a directory and says what it became."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from ._command import run, value, values


@dataclass(frozen=True)
class Snapshot:
    """What a push stored: these bytes, by this digest, for ever."""

    ref: str
    """The ref that moved, `team/project:latest`."""
    digest: str
    """The snapshot's digest, `sha256:...`."""
    tree: str
    """The digest of names and contents alone, without modes and times."""
    files: int
    """How many files it has."""
    bytes: int
    """How large they are together."""
    unchanged: bool
    """Whether the ref named just this before."""
    server: str | None
    """The server that has it; None for a store on this machine."""
    store: str | None
    """The store's directory on this machine; None for a server."""

    @property
    def name(self) -> str:
        """The ref without its tag."""
        head, colon, tail = self.ref.rpartition(":")
        return head if colon and "/" not in tail else self.ref

    @property
    def reference(self) -> str:
        """`NAME@sha256:...`, which names these bytes wherever the ref moves."""
        return f"{self.name}@{self.digest}"

    @property
    def place(self) -> list[str]:
        """The flag that names the server or store to cas."""
        return [*value("--server", self.server), *value("--store", self.store)]


def snapshot(
    directory: str | os.PathLike[str] = ".",
    to: str | None = None,
    message: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    *,
    large: bool = False,
    if_match: str | None = None,
    expires: str | None = None,
    server: str | None = None,
    store: str | None = None,
    quiet: bool = False,
) -> Snapshot:
    """Push a directory to a ref, as `cas push` does; only what is new is sent.

    Without `to` the ref is the project file's, else one of the directory's name. `include` and
    `exclude` are patterns as in .gitignore; `expires="7d"` lets the ref end by itself. What cas
    says of the push goes to sys.stderr.
    """
    path = os.fspath(directory)
    answer = run(
        [
            "push",
            f"./{path}" if path.startswith("-") else path,
            "--json",
            *value("--to", to),
            *value("--message", message),
            *values("--include", include),
            *values("--exclude", exclude),
            *(["--large"] if large else []),
            *value("--if-match", if_match),
            *value("--expires", expires),
            *value("--server", server),
            *value("--store", store),
        ],
        quiet,
    )
    local = bool(answer["local"])
    return Snapshot(
        ref=answer["ref"],
        digest=answer["snapshot"],
        tree=answer["tree"],
        files=answer["files"],
        bytes=answer["bytes"],
        unchanged=answer["unchanged"],
        server=None if local else answer["store"],
        store=answer["store"] if local else None,
    )
