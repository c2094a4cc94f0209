"""Runs the executable: words in, one JSON document out, its errors as exceptions."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DISTRIBUTION = "cas-delivery"
_TOKEN = re.compile(r"cas_[0-9a-f]{32}_[0-9a-f]{64}")
_PASSWORD = re.compile(r"(?:^|=)[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]+@", re.IGNORECASE)


class CASError(Exception):
    """What went wrong and, where there is one, what to do about it."""

    def __init__(self, message: str, hint: str | None = None, status: int | None = None) -> None:
        """Keep the message, the hint, and the exit status where cas itself failed."""
        super().__init__(message, hint, status)
        self.message = message
        self.hint = hint
        self.status = status

    def __str__(self) -> str:
        """Show the message and, on a line of its own, the hint."""
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


def executable() -> str:
    """Return the path of cas: CAS_EXECUTABLE, else what came with this package, else PATH's."""
    named = os.environ.get("CAS_EXECUTABLE")
    if named:
        return named
    for candidate in (*_installed_with_us(), Path(sysconfig.get_path("scripts")) / "cas"):
        if os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which("cas")
    if found is None:
        raise CASError(
            "cas is not installed", f"pip install {DISTRIBUTION}, or name it in CAS_EXECUTABLE"
        )
    return found


def _installed_with_us() -> Iterable[Path]:
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(os.fspath(file.locate())) for file in files if file.parts[-2:] == ("bin", "cas")]


def value(flag: str, content: object | None) -> list[str]:
    """Return `--flag=content` as one word, or nothing where there is no content."""
    return [] if content is None else [f"{flag}={content}"]


def values(flag: str, contents: Iterable[str]) -> list[str]:
    """Return the flag once for each of the contents."""
    if isinstance(contents, str):
        raise TypeError(f"{flag}: give a list of strings, not the string {contents!r}")
    return [f"{flag}={content}" for content in contents]


def run(arguments: list[str], quiet: bool = False) -> Any:
    """Run cas and return its JSON document; what it says to people goes to sys.stderr."""
    for word in arguments:
        # Every user of a machine can read the words of a command.
        if _TOKEN.search(word) or _PASSWORD.search(word):
            raise CASError(
                "a token or password does not belong into an argument",
                "keep it with `cas login`, or name its file in CAS_TOKEN_FILE",
            )
    program = executable()
    try:
        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise CASError(f"{program} does not start: {error.strerror}") from error
    said: list[str] = []
    assert process.stdout is not None and process.stderr is not None
    listener = threading.Thread(target=_listen, args=(process.stderr, said, quiet), daemon=True)
    with process:
        listener.start()
        try:
            output = process.stdout.read()
            listener.join()
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise _failure(said, process.returncode)
    try:
        return json.loads(output)
    except ValueError as error:
        raise CASError(f"cas {arguments[0]} did not answer with JSON") from error


def _listen(stream: Iterable[bytes], said: list[str], quiet: bool) -> None:
    """Pass lines on as they come; from `error:` on they go into the exception instead."""
    failed = False
    for line in stream:
        text = line.decode("utf-8", "backslashreplace")
        failed = failed or text.startswith("error: ")
        if failed:
            said.append(text.rstrip("\n"))
        elif not quiet:
            sys.stderr.write(text)
    if not quiet:
        sys.stderr.flush()


def _failure(said: list[str], status: int) -> CASError:
    hints = [line[len("hint: ") :] for line in said if line.startswith("hint: ")]
    lines = [line for line in said if not line.startswith("hint: ")]
    message = "\n".join(lines)[len("error: ") :] if lines else f"cas ended with status {status}"
    return CASError(message, hints[0] if hints else None, status)
