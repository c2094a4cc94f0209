"""`python -m cas_delivery ...` is `cas ...`, also where the scripts' directory is not on PATH."""

import os
import sys

from ._command import CASError, executable


def main() -> None:
    """Let cas take this process's place."""
    try:
        program = executable()
    except CASError as error:
        sys.exit(f"error: {error}")
    os.execv(program, [program, *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
