"""What every reader does first: is the file there, is it small enough, can it do harm.

Files come from other people.  Reading one never runs code, never constructs an object other than plain
values, and never takes memory out of proportion to the file.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from phonograph.errors import InputFileError, UserError

MEBIBYTE = 1024 * 1024
MAX_STRUCTURE_BYTES = 32 * MEBIBYTE
"""Largest file holding one structure; 10⁵ atoms take about 10 MiB."""

MAX_SET_BYTES = 1024 * MEBIBYTE
"""Largest file holding many structures or force constants."""

MAX_YAML_BYTES = 256 * MEBIBYTE
"""Largest YAML file, counted after decompression."""

MAX_YAML_DEPTH = 32
"""Deepest nesting of a YAML file; phonopy's files need 6."""

_COMPRESSED: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def shown(path: str | os.PathLike[str]) -> str:
    """Return ``path`` as it can be printed: control characters, such as a line break, are escaped."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def named_within(text: str, folder: str | os.PathLike[str]) -> str:
    """Return a message with the files of ``folder`` named as they are called there, wherever that is."""
    return text.replace(shown(folder) + os.sep, "").replace(shown(folder), "the folder")


def listed(names: Iterable[str]) -> str:
    """Return up to a dozen names as they can be printed, or ``none``."""
    texts = [shown(name)[:40] for name in names]
    return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "") or "none"


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it is safe as a part of a file name and of a table's header.

    Raises
    ------
    InputFileError
        Unless it consists of 1–80 letters, digits, ``.``, ``_`` and ``-`` and starts with a letter or digit.
    """
    if not _NAME.fullmatch(name):
        raise InputFileError(
            f"{what} must be 1–80 letters, digits, '.', '_' or '-', starting with a letter or digit; got {name[:80]!r}"
        )
    return name


def check_elements(symbols: Iterable[str], place: str) -> None:
    """Raise :class:`InputFileError` naming ``place`` unless every symbol is a chemical element's (case matters)."""
    from ase.data import chemical_symbols

    for symbol in dict.fromkeys(symbols):
        if symbol not in chemical_symbols[1:]:
            raise InputFileError(f"{place} names the unknown element {symbol[:20]!r}; use symbols such as Ag")


def reason(error: BaseException) -> str:
    """Return what a library's exception says, in at most one line of 160 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"{text} is unknown or missing"
    return text.rstrip(".")[:160]


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn whatever a third-party parser raises on a malformed file into one sentence.

    Put it around the parser's call only: an exception of our own code is a bug and must keep its traceback.

    Parameters
    ----------
    path
        The file that is being read.
    what
        What it should be, for example ``"a POSCAR file"``.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise InputFileError(
            f"{shown(path)} cannot be read as {what}: {reason(error)}; check that the file is complete"
        ) from error


def check_readable(path: str | os.PathLike[str], max_bytes: int = MAX_STRUCTURE_BYTES) -> Path:
    """Check that ``path`` is a readable, non-empty, regular file of at most ``max_bytes``.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    InputFileError
        Missing, a folder, not a regular file, not permitted, empty, or too large.
    """
    name = shown(path)
    try:
        target = Path(path)
        if target.is_dir():
            raise InputFileError(f"{name} is a folder; expected a file")
        if not target.exists():
            raise InputFileError(f"{name} does not exist; check the path (the current folder is {shown(Path.cwd())})")
        if not target.is_file():
            raise InputFileError(f"{name} is not a regular file; copy its content into one")
        size = target.stat().st_size
    except (OSError, ValueError) as error:
        raise InputFileError(f"{name} cannot be read: {reason(error)}; check the path and its permissions") from error
    if size == 0:
        raise InputFileError(f"{name} is empty; write or copy it again")
    if size > max_bytes:
        raise InputFileError(
            f"{name} holds {size / MEBIBYTE:.0f} MiB; at most {max_bytes / MEBIBYTE:.0f} MiB are accepted; split it"
        )
    return target


def read_bytes(path: str | os.PathLike[str], max_bytes: int = MAX_STRUCTURE_BYTES) -> bytes:
    """Return the content of ``path``, unpacked if its name ends in ``.xz``, ``.gz`` or ``.bz2``, at most ``max_bytes``.

    Raises
    ------
    InputFileError
        As :func:`check_readable`; or where unpacking fails or yields more than ``max_bytes``.
    """
    target = check_readable(path, max_bytes)
    opener = _COMPRESSED.get(target.suffix.lower())
    try:
        data = target.read_bytes()
        if opener is not None:
            # Unpacking is stopped at the limit, so a small file cannot fill the memory.
            with opener(io.BytesIO(data)) as stream:
                data = stream.read(max_bytes + 1)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputFileError(f"{shown(path)} cannot be read: {reason(error)}; write or copy it again") from error
    if len(data) > max_bytes:
        raise InputFileError(
            f"{shown(path)} unpacks to more than {max_bytes / MEBIBYTE:.0f} MiB, the most that is accepted; split it"
        )
    return data


def read_head(path: str | os.PathLike[str], size: int) -> bytes:
    """Return the first ``size`` bytes of a file, unpacked as by :func:`read_bytes`; nothing where it cannot be read.

    To ask what a file is before it is read; a file that is damaged further on shows its head all the same.
    """
    target = Path(path)
    data = b""
    with contextlib.suppress(OSError, EOFError, lzma.LZMAError, zlib.error):
        if target.is_file():
            with _COMPRESSED.get(target.suffix.lower(), open)(target, "rb") as stream:
                data = stream.read(size)
    return data


def read_text(path: str | os.PathLike[str], max_bytes: int = MAX_STRUCTURE_BYTES) -> str:
    """Return the text of ``path`` (UTF-8, else Latin-1), unpacked as by :func:`read_bytes`.

    Raises
    ------
    InputFileError
        As :func:`read_bytes`; or where the content is binary or blank.
    """
    data = read_bytes(path, max_bytes)
    if b"\0" in data:
        raise InputFileError(f"{shown(path)} is a binary file; expected text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Old POSCAR and CIF files carry Latin-1 names in their comments; nothing else is read from those bytes.
        text = data.decode("latin-1")
    if not text.strip():
        raise InputFileError(f"{shown(path)} is empty; write or copy it again")
    return text


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_hostile_yaml(text: str, name: str) -> None:
    """Refuse YAML that asks for more than plain values, before any library sees it.

    Refused are explicit tags (they can construct objects), anchors and aliases (they can multiply a few bytes
    into gigabytes), tag directives, and nesting deeper than :data:`MAX_YAML_DEPTH`.  Only the parser's events
    are looked at; nothing is constructed.

    Parameters
    ----------
    text
        The YAML text.
    name
        The file's name, for the message.

    Raises
    ------
    InputFileError
        Naming the line, or where the text is not YAML at all.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_SAFE_LOADER):
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
            found = _hostile_part(event, depth)
            if found:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise InputFileError(
                    f"{shown(name)} line {line} holds {found}; only plain values are accepted; "
                    "do not trust this file, or write it again with phonopy"
                )
    except yaml.YAMLError as error:
        raise InputFileError(f"{shown(name)} is not complete YAML: {reason(error)}; write or copy it again") from error


def _hostile_part(event: Any, depth: int) -> str:
    if getattr(event, "tag", None) is not None:
        return "a YAML tag"
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        return "a YAML anchor or alias"
    if getattr(event, "tags", None):
        return "a YAML tag directive"
    return f"nesting deeper than {MAX_YAML_DEPTH} levels" if depth > MAX_YAML_DEPTH else ""


def safe_yaml(path: str | os.PathLike[str], max_bytes: int = MAX_YAML_BYTES) -> dict[str, Any]:
    """Read a YAML file (``.xz`` and ``.gz`` too) into plain dictionaries, lists, strings and numbers.

    Raises
    ------
    InputFileError
        As :func:`read_bytes` and :func:`refuse_hostile_yaml`; or where the content is not a mapping.
    """
    data = read_bytes(path, max_bytes)
    try:
        # Decoding here fixes the encoding: the guard and the parser must read the same characters.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputFileError(f"{shown(path)} is not UTF-8 text: {reason(error)}; write or copy it again") from error
    refuse_hostile_yaml(text, shown(path))
    try:
        value = yaml.load(text, Loader=_SAFE_LOADER)  # noqa: S506 - a safe loader, chosen above
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputFileError(f"{shown(path)} is not complete YAML: {reason(error)}; write or copy it again") from error
    if not isinstance(value, dict):
        raise InputFileError(f"{shown(path)} must hold named values (a YAML mapping); got {type(value).__name__}")
    return value
