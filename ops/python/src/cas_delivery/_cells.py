"""Makes a module of the notebook cells that a function needs, or says by name what stops it."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ._checks import gives_again, is_import, is_made_by, is_simple, shown
from ._command import CASError
from ._history import History, Piece, find_needs

_NOT_PYTHONS = {"display", "get_ipython", "__IPYTHON__", "In", "Out"}
_OWN = {"__name__", "__file__", "__doc__", "__package__", "__spec__", "__loader__"}


@dataclass(frozen=True)
class CellModule:
    """The module file: exact text of the statements that the function needs."""

    mark: ClassVar[bytes] = b"# Written by cas-delivery from cells "
    content: bytes
    cells: tuple[int, ...]


def _shell() -> Any | None:
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def is_from_cell(func: Callable[..., object]) -> bool:
    """Tell whether a function was defined in a cell of the notebook that runs here."""
    shell = _shell()
    if shell is None or func.__module__ != "__main__":
        return False
    # %run leaves functions of files among those of cells.
    code = getattr(inspect.unwrap(func), "__code__", None)
    name = str(code.co_filename) if code is not None else ""
    compiled = getattr(shell.compile, "_filename_map", {})
    return name in compiled or "ipykernel_" in name or not Path(name).is_file()


def from_cells(func: Callable[..., object]) -> CellModule:
    """Collect what a function of a cell needs, transitively, in an order that can be run."""
    shell = _shell()
    assert shell is not None
    history = History(shell)
    pieces = _Collector(history, shell.user_ns).collect(func.__qualname__.split(".")[0])
    cells = tuple(sorted({piece.cell for piece in pieces}))
    text = CellModule.mark.decode() + ", ".join(map(str, cells)) + " of a notebook.\n"
    for future in history.futures:
        text += future + "\n"
    for piece in pieces:
        text += f"\n\n# In[{piece.cell}]\n{piece.text}"
        text += "" if text.endswith("\n") else "\n"
    try:
        content = text.encode()
        compile(content, f"cas_cells_{func.__name__}.py", "exec", dont_inherit=True)
    except (SyntaxError, UnicodeEncodeError) as error:
        raise CASError(f"the cells of '{func.__name__}' make no module: {error}") from error
    return CellModule(content, cells)


class _Collector:
    """Follows names from a function to all that it needs."""

    def __init__(self, history: History, namespace: dict[str, Any]) -> None:
        self.history = history
        self.namespace = namespace
        self.taken: dict[str, Piece] = {}
        self.order: list[Piece] = []

    def collect(self, name: str) -> list[Piece]:
        queue = [(name, name)]
        while queue:
            wanted, user = queue.pop()
            if wanted in self.taken or self._is_given(wanted):
                continue
            piece = self._find(wanted, user)
            self.taken[wanted] = piece
            self._check(wanted, piece, user)
            queue += [(each, wanted) for each in sorted(piece.eager | piece.later)]
        for piece in sorted(self._distinct(), key=lambda each: (each.cell, each.node.lineno)):
            self._emit(piece, [])
        return self.order

    def _distinct(self) -> Iterable[Piece]:
        return {id(piece): piece for piece in self.taken.values()}.values()

    def _is_given(self, name: str) -> bool:
        """Tell whether Python, or a carried function, brings the name by itself."""
        if name in self.history.last or name in _NOT_PYTHONS:
            return False
        stored = {each for piece in self.taken.values() for each in piece.stored}
        return name in _OWN or name in stored or hasattr(builtins, name)

    def _find(self, name: str, user: str) -> Piece:
        needs = f"'{user}' needs '{name}'" if user != name else f"'{name}'"
        piece = self.history.last.get(name)
        if piece is not None:
            return piece
        for cell, text in self.history.magic_cells:
            if f"def {name}(" in text or f"class {name}" in text:
                magic = text.split()[0]
                raise CASError(
                    f"{needs}, which cell {cell} defines under the magic {magic}",
                    f"define it in a cell without {magic}",
                )
        if name in _NOT_PYTHONS:
            what = "a magic or shell command" if name == "get_ipython" else "IPython's own"
            raise CASError(f"{needs}: {what}, which pods do not have", f"leave it out of '{user}'")
        if self.history.stars and name in self.namespace:
            star = self.history.stars[-1]
            raise CASError(
                f"{needs}, which may come from `{star.text.strip()}` in {star.where}",
                f"import it by name: from ... import {name}",
            )
        if name in self.namespace:
            kind = type(self.namespace[name]).__name__
            raise CASError(
                f"{needs}, a live object ({kind}) that no cell defines",
                f"make it inside '{user}', or pass it as an argument",
            )
        raise CASError(f"{needs}, which no cell defines")

    def _check(self, name: str, piece: Piece, user: str) -> None:
        """Refuse what the statement would not bring back as it is now."""
        needs = f"'{user}' needs '{name}'" if user != name else f"'{name}'"
        live = self.namespace.get(name)
        node = piece.node
        if name not in self.namespace:
            raise CASError(f"{needs}, which {piece.where} does not define (any more)")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._check_definition(node, piece, needs, live)
        elif not is_import(node):
            self._check_constant(name, piece, needs, live, user)
        if not piece.exact:
            raise CASError(
                f"{needs}, whose definition in {piece.where} holds a magic or is indented",
                "leave magics out of it, and begin it at the left",
            )
        find_needs(piece, self.history.futures)
        if "get_ipython" in piece.eager | piece.later:
            raise CASError(
                f"{needs}, which runs a magic or shell command in {piece.where}",
                "pods have no IPython; use plain Python",
            )

    def _check_definition(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef,
        piece: Piece,
        needs: str,
        live: object,
    ) -> None:
        for base, target, cell in self.history.changed:
            if base == node.name and cell >= piece.cell:
                raise CASError(
                    f"{needs}, whose '{target}' is set in cell {cell} beside its definition",
                    "set it within the definition",
                )
        text = "\n".join([*self.history.futures, piece.text])
        if is_made_by(node, text, self.namespace, live):
            return
        raise CASError(
            f"{needs}, which is not what {piece.where} defines: {shown(live)}",
            f"run the cell with the definition of '{node.name}' again",
        )

    def _check_constant(self, name: str, piece: Piece, needs: str, live: object, user: str) -> None:
        node = piece.node
        hint = f"make it inside '{user}', or pass it as an argument"
        kind = type(live).__name__
        if isinstance(live, types.FunctionType) and live.__name__ == "<lambda>":
            raise CASError(f"{needs}, a lambda of {piece.where}", f"write it as def {name}(...)")
        expression = None
        if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
            expression = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            expression = node.value
        if expression is None:
            what = type(node).__name__.lower()
            raise CASError(
                f"{needs}, which {piece.where} binds by a statement that can not be carried "
                f"alone ({what}); it is a {kind} now",
                hint,
            )
        if not is_simple(expression):
            raise CASError(f"{needs}, a live object ({kind}) made in {piece.where}", hint)
        if not gives_again(expression, self.namespace, live):
            raise CASError(
                f"{needs}, which is no longer what {piece.where} says: {shown(live)}",
                "run the cell again, or make it a constant that nothing changes",
            )

    def _emit(self, piece: Piece, path: list[Piece]) -> None:
        """Put a statement after those that it needs when it runs."""
        if piece in self.order:
            return
        if piece in path:
            cells = ", ".join(str(each.cell) for each in path)
            raise CASError(f"definitions in cells {cells} need each other before they can run")
        for name in sorted(piece.eager):
            if name in self.taken and self.taken[name] is not piece:
                self._emit(self.taken[name], [*path, piece])
        self.order.append(piece)
