"""Makes a module of the notebook cells that a function needs, or says by name what stops it."""

from __future__ import annotations

import ast
import builtins
import io
import symtable
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ._command import CASError

_NOT_PYTHONS = {"display", "get_ipython", "__IPYTHON__", "In", "Out"}
_COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}
_OWN = {"__name__", "__file__", "__doc__", "__package__", "__spec__", "__loader__"}
_LONGEST_SHOWN = 40


@dataclass(frozen=True)
class CellModule:
    """The module file: exact text of the statements that the function needs."""

    mark: ClassVar[bytes] = b"# Written by cas-delivery from cells "
    content: bytes
    cells: tuple[int, ...]


@dataclass
class _Piece:
    """A top-level statement of a cell, with what it binds and what it needs."""

    cell: int
    node: ast.stmt
    text: str
    exact: bool
    eager: set[str] = field(default_factory=set)
    """Names that it needs when it runs."""
    later: set[str] = field(default_factory=set)
    """Names that functions in it need when they are called."""
    stored: set[str] = field(default_factory=set)
    """Names that functions in it bind by `global`."""

    @property
    def where(self) -> str:
        return f"cell {self.cell}"


def _shell() -> Any | None:
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def is_from_cell(func: Callable[..., object]) -> bool:
    """Tell whether a function was defined in a cell of the notebook that runs here."""
    shell = _shell()
    if shell is None or func.__module__ != "__main__":
        return False
    # %run leaves functions of files among those of cells.
    code = getattr(func, "__code__", None)
    name = str(code.co_filename) if code is not None else ""
    compiled = getattr(shell.compile, "_filename_map", {})
    return name in compiled or "ipykernel_" in name or not Path(name).is_file()


def from_cells(func: Callable[..., object]) -> CellModule:
    """Collect what a function of a cell needs, transitively, in an order that can be run."""
    shell = _shell()
    assert shell is not None
    history = _History(shell)
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


def _lines(text: str) -> list[str]:
    """Split as Python's own tokenizer does, keeping the ends."""
    return list(io.StringIO(text, newline=""))


class _History:
    """The statements of all cells that ran, and which of them bound a name last."""

    def __init__(self, shell: Any) -> None:
        self.futures: list[str] = []
        self.last: dict[str, _Piece] = {}
        self.magic_cells: list[tuple[int, str]] = []
        self.changed: list[tuple[str, str, int]] = []
        self.stars: list[_Piece] = []
        raw = shell.history_manager.input_hist_raw
        parsed = shell.history_manager.input_hist_parsed
        for number in range(1, min(len(raw), len(parsed))):
            self._read(number, str(raw[number]), str(parsed[number]))

    def _read(self, number: int, raw: str, parsed: str) -> None:
        if raw.lstrip().startswith("%%"):
            self.magic_cells.append((number, raw))
        text = raw
        try:
            tree = ast.parse(raw)
        except (SyntaxError, ValueError):
            try:
                text, tree = parsed, ast.parse(parsed)
            except (SyntaxError, ValueError):
                return  # It did not run either.
        lines = _lines(text)
        for node in tree.body:
            piece = _Piece(number, node, *_extract(node, tree.body, lines, raw))
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                if piece.text.strip() not in self.futures:
                    self.futures.append(piece.text.strip())
                continue
            if isinstance(node, ast.ImportFrom) and any(each.name == "*" for each in node.names):
                self.stars.append(piece)
            for name in _bound(node):
                self.last[name] = piece
            self.changed += [(*change, number) for change in _attribute_targets(node)]


def _extract(node: ast.stmt, body: list[ast.stmt], lines: list[str], raw: str) -> tuple[str, bool]:
    """Return a statement's text, in whole lines if it can, and whether the cell has just that."""
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    last = node.end_lineno or node.lineno
    shared = any(
        other is not node and other.lineno <= last and (other.end_lineno or other.lineno) >= first
        for other in body
    )
    if shared:
        text = ast.get_source_segment("".join(lines), node) or ""
        return text + "\n", text in raw
    text = "".join(lines[first - 1 : last])
    return text, text.rstrip("\n") in raw


def _bound(node: ast.AST) -> Iterator[str]:
    """Name what a statement binds where it stands, not in functions and classes within it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        return
    if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield (alias.asname or alias.name.split(".")[0])
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield node.id
    if isinstance(node, ast.ExceptHandler) and node.name:
        yield node.name
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _attribute_targets(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Give the name and the text of each attribute that a statement sets: `Model.forward = f`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
        targets = [node.target]
    for target in targets:
        base = target
        while isinstance(base, (ast.Attribute, ast.Subscript)):
            base = base.value
        if base is not target and isinstance(base, ast.Name):
            yield base.id, ast.unparse(target)


def _needs(piece: _Piece, futures: list[str]) -> None:
    """Fill in which global names a statement needs, at once and later.

    With `from __future__ import annotations` those in annotations alone are not needed.
    """

    def walk(table: symtable.SymbolTable, late: bool) -> None:
        # A comprehension runs at once, although it has a function's table.
        late = late or (table.get_type() == "function" and table.get_name() not in _COMPREHENSIONS)
        for symbol in table.get_symbols():
            name = symbol.get_name()
            if symbol.is_declared_global() and symbol.is_assigned():
                piece.stored.add(name)
            if symbol.is_referenced() and (symbol.is_global() or table is top):
                (piece.later if late else piece.eager).add(name)
        for child in table.get_children():
            walk(child, late)

    top = symtable.symtable("\n".join([*futures, piece.text]), "<cell>", "exec")
    walk(top, False)


class _Collector:
    """Follows names from a function to all that it needs."""

    def __init__(self, history: _History, namespace: dict[str, Any]) -> None:
        self.history = history
        self.namespace = namespace
        self.taken: dict[str, _Piece] = {}
        self.order: list[_Piece] = []

    def collect(self, name: str) -> list[_Piece]:
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

    def _distinct(self) -> Iterable[_Piece]:
        return {id(piece): piece for piece in self.taken.values()}.values()

    def _is_given(self, name: str) -> bool:
        """Tell whether Python, or a carried function, brings the name by itself."""
        if name in self.history.last or name in _NOT_PYTHONS:
            return False
        stored = {each for piece in self.taken.values() for each in piece.stored}
        return name in _OWN or name in stored or hasattr(builtins, name)

    def _find(self, name: str, user: str) -> _Piece:
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

    def _check(self, name: str, piece: _Piece, user: str) -> None:
        """Refuse what the statement would not bring back as it is now."""
        needs = f"'{user}' needs '{name}'" if user != name else f"'{name}'"
        live = self.namespace.get(name)
        node = piece.node
        if name not in self.namespace:
            raise CASError(f"{needs}, which {piece.where} does not define (any more)")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._check_definition(name, piece, needs, live)
        elif not _is_import(node):
            self._check_constant(name, piece, needs, live, user)
        if not piece.exact:
            raise CASError(
                f"{needs}, whose definition in {piece.where} holds a magic or is indented",
                "leave magics out of it, and begin it at the left",
            )
        _needs(piece, self.history.futures)
        if "get_ipython" in piece.eager | piece.later:
            raise CASError(
                f"{needs}, which runs a magic or shell command in {piece.where}",
                "pods have no IPython; use plain Python",
            )

    def _check_definition(self, name: str, piece: _Piece, needs: str, live: object) -> None:
        for base, target, cell in self.history.changed:
            if base == name and cell >= piece.cell:
                raise CASError(
                    f"{needs}, whose '{target}' is set in cell {cell} beside its definition",
                    "set it within the definition",
                )
        node = piece.node
        plain = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if getattr(node, "decorator_list", None):
            return
        if plain and isinstance(live, types.FunctionType):
            if _same_code(_compiled(piece, name, self.history.futures), live.__code__):
                return
        elif isinstance(live, type) and live.__qualname__ == name and not plain:
            return
        raise CASError(
            f"{needs}, which is not what {piece.where} defines: {_shown(live)}",
            f"run the cell with the definition of '{name}' again",
        )

    def _check_constant(
        self, name: str, piece: _Piece, needs: str, live: object, user: str
    ) -> None:
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
        if not _is_simple(expression):
            raise CASError(f"{needs}, a live object ({kind}) made in {piece.where}", hint)
        scope: dict[str, Any] = {
            "__builtins__": {},
            **{n: self.namespace.get(n) for n in _names(expression)},
        }
        try:
            code = compile(ast.Expression(expression), "<cell>", "eval")
            again = eval(code, scope)  # noqa: S307 # literals and names only
            same = _alike(again, live)
        except Exception:
            same = False
        if not same:
            raise CASError(
                f"{needs}, which is no longer what {piece.where} says: {_shown(live)}",
                "run the cell again, or make it a constant that nothing changes",
            )

    def _emit(self, piece: _Piece, path: list[_Piece]) -> None:
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


def _is_import(node: ast.stmt) -> bool:
    """Tell whether a statement only imports, perhaps with another import where one is missing."""
    if isinstance(node, ast.Try):
        parts = [*node.body, *node.orelse, *(each for h in node.handlers for each in h.body)]
        return not node.finalbody and all(
            _is_import(each) or isinstance(each, ast.Pass) or _is_plain_assignment(each)
            for each in parts
        )
    return isinstance(node, (ast.Import, ast.ImportFrom))


def _is_plain_assignment(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and all(isinstance(target, ast.Name) for target in node.targets)
        and isinstance(node.value, ast.Constant)
    )


def _is_simple(node: ast.expr) -> bool:
    """Tell whether an expression is made of literals, names and arithmetic only."""
    allowed = (
        ast.Constant, ast.Name, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.BinOp, ast.UnaryOp,
        ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context,
    )  # fmt: skip
    return all(isinstance(each, allowed) for each in ast.walk(node))


def _names(node: ast.expr) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _alike(one: object, other: object) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, (bool, int, float, complex, str, bytes, set, type(None))):
        return one == other
    return one is other


def _shown(live: object) -> str:
    text = repr(live)
    return text if len(text) <= _LONGEST_SHOWN else type(live).__name__


def _compiled(piece: _Piece, name: str, futures: list[str]) -> types.CodeType | None:
    text = "\n".join([*futures, piece.text])
    whole = compile(text, "<cell>", "exec", dont_inherit=True)
    codes = [each for each in whole.co_consts if isinstance(each, types.CodeType)]
    return next((each for each in codes if each.co_name == name), None)


def _same_code(one: types.CodeType | None, other: types.CodeType) -> bool:
    """Compare what code does, not where it stood."""
    if one is None or one.co_code != other.co_code or one.co_names != other.co_names:
        return False
    if one.co_varnames != other.co_varnames or len(one.co_consts) != len(other.co_consts):
        return False
    for left, right in zip(one.co_consts, other.co_consts):
        if isinstance(left, types.CodeType) and isinstance(right, types.CodeType):
            if not _same_code(left, right):
                return False
        elif type(left) is not type(right) or left != right:
            return False
    return True
