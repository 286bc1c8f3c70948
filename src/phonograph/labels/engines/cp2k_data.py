"""CP2K's basis-set and potential files: which entry an element gets, its text, its electrons and its hash."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from phonograph.errors import ConfigurationError, MissingEngineError

INSTALL = "on Debian and Ubuntu, as root: apt-get install cp2k cp2k-data"
_CHARGE = re.compile(r"-q(\d+)$", re.IGNORECASE)
_LARGEST_FILE = 50_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of a data file: element, the full name it is asked for by, and its lines.

    ``electrons`` is the number of valence electrons: for a potential the sum of its electronic configuration, for a
    basis set the number in its name (``-q11``) or 0 where the name has none.
    """

    element: str
    name: str
    text: str
    electrons: int

    @property
    def sha256(self) -> str:
        """SHA-256 of element, name and numbers, whatever the spacing."""
        return hashlib.sha256(" ".join(f"{self.element} {self.name} {self.text}".split()).encode()).hexdigest()


def data_folder(given: str, program: str) -> Path:
    """Return the folder of CP2K's data files.

    It is ``given``, else the variable CP2K_DATA_DIR, else ``share/cp2k`` beside the folder of the program.

    Raises
    ------
    MissingEngineError
        No such folder.
    """
    named = given or os.environ.get("CP2K_DATA_DIR", "")
    if named:
        folder = Path(named).expanduser()
    else:
        found = shutil.which(program)
        if found is None:
            raise MissingEngineError(f"CP2K ({program}) is not installed; {INSTALL}")
        folder = Path(found).resolve().parent.parent / "share" / "cp2k"
    if not folder.is_dir():
        raise MissingEngineError(
            f"CP2K's data files are not in {folder}; install them ({INSTALL}) or set data_folder to where they are"
        )
    return folder


def find_entry(folder: Path, files: Sequence[str], element: str, name: str, *, potential: bool) -> Entry:
    """Return the first entry called ``name`` of ``element`` in ``files``, in their order.

    Raises
    ------
    ConfigurationError
        No such entry; the sentence lists what the files have for the element.
    """
    offered: list[str] = []
    for file in files:
        for names, lines in _entries(folder / file).get(element.upper(), ()):
            if name.upper() in (other.upper() for other in names):
                return _entry(element, names, lines, potential=potential)
            offered.append(names[0])
    kind = "potential" if potential else "basis set"
    some = ", ".join(dict.fromkeys(offered)) or "nothing"
    raise ConfigurationError(
        f"CP2K has no {kind} {name} for {element} in {', '.join(files)}, which offer {some}; "
        f"choose one of these for {element}"
    )


def entries_sha256(
    folder: Path, files: Sequence[str], name: str, exceptions: Mapping[str, str], *, potential: bool
) -> str:
    """Return one SHA-256 of the entries that elements get: ``name``, or what ``exceptions`` names for an element."""
    from ase.data import chemical_symbols

    found = []
    for element in chemical_symbols[1:]:
        try:
            entry = find_entry(folder, files, element, exceptions.get(element, name), potential=potential)
        except ConfigurationError:
            continue
        found.append(entry.sha256)
    return hashlib.sha256(" ".join(found).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a data file.

    Raises
    ------
    MissingEngineError
        The file is not there.
    """
    return hashlib.sha256(_text(path).encode("latin-1")).hexdigest()


def _entry(element: str, names: tuple[str, ...], lines: Sequence[str], *, potential: bool) -> Entry:
    # The longest name says most: DZVP-MOLOPT-SR-GTH-q11 rather than DZVP-MOLOPT-SR-GTH.
    full = max(names, key=len)
    charge = _CHARGE.search(full)
    electrons = int(charge.group(1)) if charge else 0
    if potential:
        try:
            electrons = sum(int(word) for word in lines[0].split())
        except (IndexError, ValueError) as error:
            raise ConfigurationError(
                f"potential {full} of {element} must start with its electronic configuration"
            ) from error
    return Entry(element=element, name=full, text="\n".join(lines), electrons=electrons)


_Found = dict[str, list[tuple[tuple[str, ...], list[str]]]]


@cache
def _entries(path: Path) -> _Found:
    """Return element → (names, lines) of every entry of a data file."""
    found: _Found = {}
    lines: list[str] = []
    for line in _text(path).splitlines():
        words = line.split()
        if not words or words[0].startswith(("#", "!")):
            continue
        if _is_header(words):
            lines = []
            found.setdefault(words[0].upper(), []).append((_names(words[1:]), lines))
        else:
            lines.append(line.rstrip())
    return found


def _names(words: Sequence[str]) -> tuple[str, ...]:
    """Return the names in a header, up to a comment."""
    return tuple(itertools.takewhile(lambda word: not word.startswith(("#", "!")), words))


def _is_header(words: Sequence[str]) -> bool:
    """Return whether a line starts an entry: a chemical symbol and then a name, which no line of numbers has."""
    return len(words) > 1 and words[0].isalpha() and len(words[0]) <= 2 and not _is_number(words[1])


def _is_number(word: str) -> bool:
    try:
        float(word.replace("D", "E").replace("d", "e"))
    except ValueError:
        return False
    return True


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigurationError(f"CP2K data file {path.name} is larger than {_LARGEST_FILE} bytes")
        return path.read_text(encoding="latin-1")
    except OSError as error:
        raise MissingEngineError(
            f"CP2K data file {path} cannot be read ({error.strerror}); {INSTALL}, or set data_folder to where it is"
        ) from error
