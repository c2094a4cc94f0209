"""Training code to pods by content: a typed face of `cas`, which the wheel carries."""

from ._command import CASError, executable
from ._function import Delivery, function
from ._render import render
from ._snapshot import Snapshot, snapshot

__all__ = ["CASError", "Delivery", "Snapshot", "executable", "function", "render", "snapshot"]
