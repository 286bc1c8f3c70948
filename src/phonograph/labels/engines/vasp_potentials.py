"""Which potential VASP uses for which element: names, titles and hashes; never the potentials themselves.

VASP's potentials are licensed.  They are read from a folder of the user's own and written only into folders in which
VASP runs; a store, a report or a repository holds their titles and SHA-256 at most.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from phonograph.errors import ConfigurationError, InputFileError
from phonograph.files.safety import check_elements, check_name, read_bytes, shown

LIBRARY_VARIABLE = "PHONOGRAPH_VASP_POTENTIALS"
"""Environment variable that names a folder with one folder per potential: ``Ag_pv/POTCAR`` (also ``.gz``)."""

MAX_POTENTIAL_BYTES = 64 * 1024 * 1024

_VARIANTS = (
    "Li_sv Na_pv K_sv Ca_sv Sc_sv Ti_sv V_sv Cr_pv Mn_pv Ga_d Ge_d Rb_sv Sr_sv Y_sv Zr_sv Nb_sv Mo_sv Tc_pv Ru_pv "
    "Rh_pv In_d Sn_d Cs_sv Ba_sv Pr_3 Nd_3 Pm_3 Sm_3 Eu_2 Gd_3 Tb_3 Dy_3 Ho_3 Er_3 Tm_3 Yb_2 Lu_3 Hf_pv Ta_pv W_sv "
    "Tl_d Pb_d Bi_d Po_d Fr_sv Ra_sv"
)
RECOMMENDED: Mapping[str, str] = MappingProxyType({name.split("_")[0]: name for name in _VARIANTS.split()})
"""Element → potential that VASP's manual recommends for PBE, where that is not named like the element."""

_TITLE = re.compile(rb"^[ ]*TITEL[ ]*=(.+)$", re.MULTILINE)
_END = b"End of Dataset"


@dataclass(frozen=True, kw_only=True)
class Potential:
    """One potential of a POTCAR: its title and the SHA-256 of its text."""

    title: str
    sha256: str


def check_potentials(potentials: Mapping[str, str], hashes: Mapping[str, str]) -> None:
    """Raise :class:`ConfigurationError` unless elements, names and hashes can be such."""
    for element, name in (*potentials.items(), *hashes.items()):
        try:
            check_elements([element], "VaspLabeller.potentials")
            check_name(name, f"the potential of {element}")
        except InputFileError as error:
            raise ConfigurationError(str(error)) from error
    for element, digest in hashes.items():
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ConfigurationError(f"VaspLabeller.potential_sha256 of {element} must be 64 hexadecimal digits")


def potential_name(element: str, potentials: Mapping[str, str]) -> str:
    """Return the name of the potential of an element: the user's choice, else the recommended one."""
    return potentials.get(element, RECOMMENDED.get(element, element))


def library(option: str) -> Path | None:
    """Return the folder of potentials: the option, else :data:`LIBRARY_VARIABLE`, else None."""
    named = option or os.environ.get(LIBRARY_VARIABLE, "")
    return Path(named) if named else None


def assemble(folder: Path, names: Sequence[str]) -> bytes:
    """Return a POTCAR for VASP's run folder, put together from a library of the user's own.

    Raises
    ------
    InputFileError
        A potential that is not there, or whose title is not that of its folder.
    """
    parts = []
    for name in names:
        path = _place(folder, name)
        if path is None:
            raise InputFileError(f"{shown(folder / name)} holds no POTCAR; choose another potential or another folder")
        data = read_bytes(path, MAX_POTENTIAL_BYTES)
        titles = [one.title for one in potentials_of(data)]
        if len(titles) != 1 or not title_fits(titles[0], name):
            raise InputFileError(f"{shown(path)} has the title {titles[:1]}; expected one potential, PAW_PBE {name}")
        parts.append(data if data.endswith(b"\n") else data + b"\n")
    return b"".join(parts)


def library_sha256(folder: Path, potentials: Mapping[str, str]) -> dict[str, str]:
    """Return element → SHA-256 of the potential that it gets from a library, for all elements found there."""
    from ase.data import chemical_symbols

    found = {element: _place(folder, potential_name(element, potentials)) for element in chemical_symbols[1:]}
    return {element: _sha256(path) for element, path in found.items() if path is not None}


def _place(folder: Path, name: str) -> Path | None:
    """Return the file of a potential in a library, plain or packed."""
    return next((one for one in (folder / name / "POTCAR", folder / name / "POTCAR.gz") if one.is_file()), None)


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a library's potential as of one in a POTCAR, so that packing does not matter."""
    status = path.stat()
    return _hashed(path, status.st_mtime_ns, status.st_size)


@cache
def _hashed(path: Path, changed: int, size: int) -> str:
    return " ".join(one.sha256 for one in potentials_of(read_bytes(path, MAX_POTENTIAL_BYTES)))


def potentials_of(data: bytes) -> list[Potential]:
    """Return title and SHA-256 of every potential in a POTCAR."""
    parts = [part.lstrip() for part in data.split(_END)]
    return [
        Potential(title=" ".join(found[1].decode("latin-1").split()), sha256=hashlib.sha256(part.rstrip()).hexdigest())
        for part in parts
        if (found := _TITLE.search(part))
    ]


def title_fits(title: str, name: str) -> bool:
    """Return whether a title such as ``PAW_PBE Ag_pv 09Dec2005`` is that of the PBE potential ``name``."""
    words = title.split()
    return words[:2] == ["PAW_PBE", name]
