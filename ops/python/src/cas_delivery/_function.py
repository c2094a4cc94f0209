"""Delivers a function: its file and that file's neighbours, and a command to call it."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import os
import sys
import sysconfig
import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._cells import CellModule, from_cells, is_from_cell
from ._command import CASError, run
from ._loader import LOADER
from ._snapshot import Snapshot, snapshot

_LONGEST_WORD = 128 * 1024 - 1
"""What Linux takes as one word of a command (MAX_ARG_STRLEN)."""


@dataclass(frozen=True)
class Delivery:
    """A function on its way: the snapshot with its code, and the command that calls it there."""

    snapshot: Snapshot
    command: tuple[str, ...]
    path: str
    """The function's file in the snapshot."""
    name: str
    """The function's name in that file."""


@dataclass(frozen=True)
class _Place:
    """Where a function stands: the directory that imports start from, and how to get to it."""

    root: Path
    file: Path
    """Relative to root."""
    module: str
    by_file: bool


def function(
    func: Callable[..., object],
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    to: str | None = None,
    root: str | os.PathLike[str] | None = None,
    neighbours: bool = True,
    python: str = "python3",
    launcher: Sequence[str] = (),
    message: str | None = None,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    server: str | None = None,
    store: str | None = None,
    quiet: bool = False,
) -> Delivery:
    """Push the code of a function and return it with the command that calls it in a pod.

    The files go as they are. `root` is the directory to push: without it the one that imports of
    the function's module start from, or a notebook's working directory. `neighbours=False` sends a
    notebook's cells alone. Arguments go as JSON. `launcher` stands before Python: for torchrun
    `("torchrun", "--no-python")`. A function that can not be carried is refused by name.
    """
    name = _plain_name(func)
    words = _argument_words(func, name, args, kwargs or {})
    include = [include] if isinstance(include, str) else list(include)
    cells: CellModule | None = None
    if is_from_cell(func):
        cells = from_cells(func)
        place = _Place(Path.cwd(), Path(f"cas_cells_{name}.py"), f"cas_cells_{name}", False)
        if not neighbours:
            place = _Place(Path(), place.file, place.module, False)
    else:
        if not neighbours:
            raise CASError("neighbours=False is for functions of notebook cells")
        place = _locate(func, name)
    with _laid_out(place, cells, root, neighbours) as (directory, path):
        _guard(directory, explicit=root is not None)
        if cells is not None:
            include.append(f"/{path.as_posix()}")
        stored = snapshot(
            directory, to, message, include, exclude, server=server, store=store, quiet=quiet
        )
        _confirm(stored, path, (directory / path).read_bytes())
    what: dict[str, object] = {"call": func.__qualname__, "module": place.module}
    what["path"] = list(path.parts[: len(path.parts) - len(place.file.parts)])
    if place.by_file:
        what["file"] = place.file.as_posix()
    command = (*launcher, python, "-c", LOADER, _word(what, "what to call"), *words)
    return Delivery(stored, command, path.as_posix(), func.__qualname__)


def _plain_name(func: Callable[..., object]) -> str:
    """Return the name of a function that can be found again by name, or refuse it."""
    if isinstance(func, functools.partial):
        raise CASError(
            f"{func!r} holds arguments of its own", "give the function itself, and args or kwargs"
        )
    owner = getattr(func, "__self__", None)
    qualified = getattr(func, "__qualname__", None)
    named = f"'{qualified or type(func).__name__}'"
    if isinstance(func, (types.BuiltinFunctionType, types.BuiltinMethodType)):
        raise CASError(f"{named} is no Python function; it has no source")
    if isinstance(func, types.MethodType) and not inspect.isclass(owner):
        raise CASError(
            f"{named} is bound to a live object, a {type(owner).__name__}",
            "give a function that makes the object itself",
        )
    inner = inspect.unwrap(func)
    if not isinstance(inner, (types.FunctionType, types.MethodType)) or qualified is None:
        kind = "a class" if inspect.isclass(func) else "a live object"
        raise CASError(f"{named} is {kind}, not a function")
    if "<lambda>" in qualified:
        raise CASError(
            f"a lambda ({_spot(func)}) has no name to find it by", "write it as a def of a module"
        )
    if "<locals>" in qualified:
        outer = qualified.split(".<locals>")[0]
        code = getattr(func, "__code__", None)
        held = ", ".join(f"'{free}'" for free in getattr(code, "co_freevars", ()))
        more = f" and holds its {held}" if held else ""
        raise CASError(
            f"{named} is made inside '{outer}'{more}", "define it at the top level of a module"
        )
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise CASError(f"{named} is a generator; calling it would run nothing")
    module = sys.modules.get(func.__module__)
    found: Any = module
    for part in qualified.split("."):
        found = getattr(found, part, None)
    if found != func:
        raise CASError(
            f"{named} is not what {func.__module__}.{qualified} names now",
            "give the function that the module has under this name",
        )
    return str(func.__name__)


def _spot(func: Callable[..., object]) -> str:
    code = getattr(func, "__code__", None)
    return f"line {code.co_firstlineno} of {code.co_filename}" if code else "from nowhere"


def _word(content: object, name: str) -> str:
    """Return JSON that nothing on the way changes: ASCII, and no `$` for Kubernetes to expand."""
    try:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        same = _identical(json.loads(text), content)
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise CASError(
            f"{name} ({type(content).__name__}) can not travel as JSON unchanged",
            "pass None, bool, int, float, str, and lists and dicts of them, or a file's name",
        )
    text = text.replace("$", "\\u0024")
    if len(text) > _LONGEST_WORD - 256:
        raise CASError(f"{name} is too long for a command", "write it to a file beside the code")
    return text


def _identical(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_identical, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_identical(one[key], other[key]) for key in one)
    return one == other


def _argument_words(
    func: Callable[..., object], name: str, args: Sequence[object], kwargs: Mapping[str, object]
) -> list[str]:
    if isinstance(args, (str, bytes)) or isinstance(args, Mapping):
        raise CASError("args is a list of arguments", "arguments by name go into kwargs")
    try:
        inspect.signature(func).bind(*args, **kwargs)
    except TypeError as error:
        raise CASError(f"'{name}' can not be called so: {error}") from error
    words = [_word(each, f"argument {place} of '{name}'") for place, each in enumerate(args, 1)]
    for key, each in kwargs.items():
        if not key.isidentifier():
            raise CASError(f"'{key}' of '{name}' is no name for an argument")
        words.append(f"{key}={_word(each, f'argument {key!r} of {name!r}')}")
    return words


def _locate(func: Callable[..., object], name: str) -> _Place:
    """Find the file of a function and the directory that imports of its module start from."""
    module = sys.modules[func.__module__]
    known = func.__module__
    source = getattr(module, "__file__", None)
    if known in ("__main__", "__mp_main__"):
        spec = getattr(module, "__spec__", None)
        code = getattr(inspect.unwrap(func), "__code__", None)
        ran = Path(code.co_filename) if code else Path()
        if source is None and ran.is_absolute() and ran.is_file():
            source = str(ran)  # %run in a notebook
        if source is None:
            raise CASError(
                f"'{name}' was typed at a prompt; there is no file to deliver",
                "save it in a file and import it",
            )
        if spec is None or not spec.name or spec.name in ("__main__", "__mp_main__"):
            file = Path(source).resolve()
            _check_source(file, name)
            stem = file.stem if file.stem.isidentifier() else "script"
            return _Place(file.parent, Path(file.name), stem, True)
        known = spec.name  # python -m
    if source is None or not str(source).endswith(".py"):
        raise CASError(f"the module {known} of '{name}' has no Python file")
    file = Path(source).resolve()
    _check_source(file, name)
    expected = Path(*known.split("."))
    for tail in (expected.with_name(expected.name + ".py"), expected / "__init__.py"):
        if file.parts[-len(tail.parts) :] == tail.parts:
            return _Place(file.parents[len(tail.parts) - 1], tail, known, False)
    raise CASError(f"{file} is not where the module {known} of '{name}' belongs")


def _check_source(file: Path, name: str) -> None:
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib")}
    if installed & set(file.parents) or {"site-packages", "dist-packages"} & set(file.parts):
        raise CASError(
            f"'{name}' belongs to an installed package ({file})",
            "install the package in the image, and give a function of your own",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(file.read_bytes(), str(file))
    except SyntaxError as error:
        raise CASError(
            f"{file}, line {error.lineno}: {error.msg}; the pod could not read it"
        ) from error
    except OSError as error:
        raise CASError(f"{file} of '{name}' can not be read: {error.strerror}") from error


@contextmanager
def _laid_out(
    place: _Place,
    cells: CellModule | None,
    root: str | os.PathLike[str] | None,
    neighbours: bool,
) -> Iterator[tuple[Path, Path]]:
    """Give the directory to push and the function's file in it; a notebook's is there meanwhile."""
    if cells is not None and not neighbours:
        with tempfile.TemporaryDirectory(prefix="cas-cells-") as folder:
            (Path(folder) / place.file).write_bytes(cells.content)
            yield Path(folder), place.file
        return
    directory = Path(root).resolve() if root is not None else place.root
    whole = place.root / place.file
    try:
        path = whole.relative_to(directory)
    except ValueError:
        raise CASError(f"{whole} is not below root, {directory}") from None
    if cells is None:
        yield directory, path
        return
    if whole.exists() and not whole.read_bytes().startswith(CellModule.mark):
        raise CASError(f"{whole} is in the way; it is not ours", "rename it, or the function")
    try:
        whole.write_bytes(cells.content)
        yield directory, path
    except OSError as error:
        raise CASError(
            f"{whole} can not be written: {error.strerror}",
            "neighbours=False sends the cells alone",
        ) from error
    finally:
        whole.unlink(missing_ok=True)


def _guard(directory: Path, explicit: bool) -> None:
    """Refuse to push a home or a whole disk that nobody named."""
    wide = {Path("/"), Path(tempfile.gettempdir()).resolve()}
    with suppress(RuntimeError):  # nobody's home: a user without an entry
        wide.add(Path.home().resolve())
    if not explicit and directory in wide:
        raise CASError(
            f"the code lies in {directory} itself, and all of that would be pushed",
            "move it into a directory of its own, name one with root=..., "
            "or send a notebook's cells alone with neighbours=False",
        )


def _confirm(stored: Snapshot, path: Path, content: bytes) -> None:
    """See that the snapshot has the function's file, with just these bytes."""
    wanted = path.as_posix()
    try:
        listing = run(["ls", "--json", *stored.place, "--", stored.reference, wanted], quiet=True)
    except CASError as error:
        if "there is no" not in error.message:
            raise
        raise CASError(
            f"'{wanted}' with the function was left out by an ignore rule",
            f"include=['/{wanted}'], or change the rule that cas push names",
        ) from error
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    if [entry.get("digest") for entry in listing["entries"]] != [digest]:
        raise CASError(f"'{wanted}' changed while it was pushed", "call again")
