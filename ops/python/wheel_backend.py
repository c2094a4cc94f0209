"""Makes the wheel (PEP 427, PEP 517) with nothing but the standard library, always the same bytes.

The executable that it carries is CAS_EXECUTABLE, else what ops/package made. Its version is the
wheel's, and the C library that it needs decides the wheel's platform tag.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import tomllib

HERE = Path(__file__).resolve().parent
# What PEP 600 lets a manylinux wheel take from outside, as far as a plain program needs it.
ALLOWED = re.compile(
    r"^(libc|libm|libdl|libpthread|librt|libutil)\.so\.\d+$|^ld-linux-[\w-]+\.so\.\d+$"
)
EPOCH = (1980, 1, 1, 0, 0, 0)


def executable() -> Path:
    """Return the executable to carry."""
    named = os.environ.get("CAS_EXECUTABLE")
    path = Path(named) if named else HERE.parents[1] / ".build-package" / "cas"
    if not os.access(path, os.X_OK):
        sys.exit(
            f"error: there is no executable {path}\n"
            "hint: ops/package makes one; CAS_EXECUTABLE names another"
        )
    return path


def needs(path: Path) -> tuple[set[str], tuple[int, int]]:
    """Return the libraries that a 64-bit ELF file needs, and the highest version of glibc."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        sys.exit(f"error: {path} is no 64-bit little-endian ELF file")
    table, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", data, table + size * each) for each in range(count)
    ]

    def text(strings: int, offset: int) -> str:
        start = sections[strings][4] + offset
        return data[start : data.index(b"\0", start)].decode("ascii")

    libraries: set[str] = set()
    glibc = (2, 5)
    for _, kind, _, _, offset, length, link, info, _, _ in sections:
        if kind == 6:  # SHT_DYNAMIC: pairs of tag and value; DT_NEEDED is 1
            for entry in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, entry)
                if tag == 1:
                    libraries.add(text(link, value))
        elif kind == 0x6FFFFFFE:  # SHT_GNU_verneed: a record a library, each with versions
            record = offset
            for _ in range(info):
                _, versions, _, first, following = struct.unpack_from("<HHIII", data, record)
                entry = record + first
                for _ in range(versions):
                    _, _, _, name, next_entry = struct.unpack_from("<IHHII", data, entry)
                    if found := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", text(link, name)):
                        glibc = max(glibc, (int(found[1]), int(found[2])))
                    entry += next_entry
                record += following
    return libraries, glibc


def platform_tag(path: Path) -> str:
    """Return manylinux's tag, or this machine's own where libraries beside glibc are needed."""
    machine = struct.unpack_from("<H", path.open("rb").read(20), 18)[0]
    machine = {62: "x86_64", 183: "aarch64"}.get(machine, platform.machine())
    libraries, glibc = needs(path)
    other = sorted(name for name in libraries if not ALLOWED.match(name))
    if other:
        print(
            f"note: {path} needs {len(other)} libraries beside glibc, {other[0]} among them: "
            "the wheel is for machines like this one; ops/package makes an executable for all",
            file=sys.stderr,
        )
        return f"linux_{machine}"
    return f"manylinux_{glibc[0]}_{glibc[1]}_{machine}"


def metadata(version: str) -> tuple[str, bytes]:
    """Return the distribution's name as it stands in file names, and METADATA."""
    with (HERE / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {version}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
    ]
    for extra, requirements in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {each}; extra == "{extra}"' for each in requirements]
    lines.append("Description-Content-Type: text/markdown")
    text = "\n".join(lines) + "\n\n" + (HERE / "README.md").read_text("utf-8")
    return project["name"].replace("-", "_"), text.encode()


def contents(
    folder: Path, package: str, program: Path, described: bytes, version: str, tag: str
) -> Iterator[tuple[str, bytes, bool]]:
    """Give each member of the wheel: name, bytes, whether it is executable; RECORD last."""
    info, record = f"{package}-{version}.dist-info", []
    members = [(f"{package}-{version}.data/scripts/cas", program.read_bytes(), True)]
    for file in sorted((folder / package).rglob("*")):
        if file.suffix in (".py", ".typed"):
            members.append((file.relative_to(folder).as_posix(), file.read_bytes(), False))
    wheel = f"Wheel-Version: 1.0\nGenerator: cas ops/python\nRoot-Is-Purelib: false\nTag: {tag}\n"
    members += [
        (f"{info}/licenses/LICENSE", (HERE.parents[1] / "LICENSE").read_bytes(), False),
        (f"{info}/METADATA", described, False),
        (f"{info}/WHEEL", wheel.encode(), False),
    ]
    for name, content, mode in members:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(content)}\n")
        yield name, content, mode
    yield f"{info}/RECORD", ("".join(record) + f"{info}/RECORD,,\n").encode(), False


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """Write the wheel and return its file name (the hook of PEP 517)."""
    program = executable()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = said.stdout.split()[-1]
    package, described = metadata(version)
    tag = f"py3-none-{platform_tag(program)}"
    name = f"{package}-{version}-{tag}.whl"
    target = Path(wheel_directory) / name
    unfinished = target.with_suffix(".new")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for member, content, runs in contents(
            HERE / "src", package, program, described, version, tag
        ):
            entry = zipfile.ZipInfo(member, EPOCH)
            entry.create_system = 3
            entry.external_attr = (0o100755 if runs else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content, compresslevel=6)
    unfinished.replace(target)
    return name


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    """Refuse: the executable is not made from here (the other hook of PEP 517)."""
    sys.exit("error: there is no source distribution; see ops/python/build")
