"""data-file-schema.xml of pw.x, which is also called ``<prefix>.xml``: all digits of a calculation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.errors import DataError, InputFileError
from phonograph.files.espresso_output import (
    LARGEST_BYTES,
    PwOutput,
    crystal_of,
    element_of,
    functional_named,
    smearing_name,
)
from phonograph.files.harmless_xml import HarmlessXml
from phonograph.files.safety import read_bytes, shown
from phonograph.types import Bands, Crystal, FloatArray
from phonograph.units import HARTREE_EV

DEEPEST = 20
"""Deepest nesting of elements."""

_HARTREE_RY = 2.0
_SPECIES = "output/atomic_species/species"
_EXCHANGE = "output/dft/hybrid/exx_fraction"
_BRANCHES = {
    # What is computed, such as occupations and the grid of q points after its defaults, is no setting.
    "exchange": ("input/dft/hybrid", ()),
    "dispersion": ("input/dft/vdW", ()),
    "Hubbard": ("input/dft/dftU", ("Hubbard_ns", "starting_ns")),
    "boundary": ("input/boundary_conditions", ()),
}


class _Collector(HarmlessXml):
    """Collects texts and attributes of the elements by their path."""

    def __init__(self, place: str) -> None:
        super().__init__(place, "pw.x", DEEPEST)
        self.found: dict[str, list[tuple[Mapping[str, str], str]]] = {}
        self._stack: list[tuple[str, Mapping[str, str], list[str]]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._stack.append((name, attributes, []))

    def text(self, text: str) -> None:
        if self._stack:
            self._stack[-1][2].append(text)

    def end(self, name: str) -> None:
        path = "/".join(name for name, _, _ in self._stack[1:])
        _, attributes, texts = self._stack.pop()
        # Symmetry operations are most of the file, and nothing here depends on them.
        if "symmetries/" not in path:
            self.found.setdefault(path, []).append((attributes, "".join(texts).strip()))


@dataclass(frozen=True)
class _Tree:
    """Elements of the file by their path; every question is answered or refused in one sentence."""

    place: str
    found: Mapping[str, list[tuple[Mapping[str, str], str]]]

    def one(self, path: str, *others: str) -> tuple[Mapping[str, str], str]:
        """Return attributes and text of an element that must stand exactly once, under one of the paths."""
        for name in (path, *others):
            if len(self.found.get(name, ())) == 1:
                return self.found[name][0]
        count = len(self.found.get(path, ()))
        raise InputFileError(f"{self.place} holds {path} {count} times; expected it once, as pw.x writes it")

    def text(self, path: str, *others: str) -> str:
        return self.one(path, *others)[1]

    def number(self, path: str) -> float:
        return float(self.numbers(path, (1,))[0])

    def numbers(self, path: str, shape: tuple[int, ...]) -> FloatArray:
        return _array(self.text(path), shape, path, self.place)

    def flag(self, path: str) -> bool:
        text = self.text(path)
        if text not in ("true", "false"):
            raise InputFileError(f"{self.place}: {path} must be true or false; got {text[:40]!r}")
        return text == "true"


def _array(text: str, shape: tuple[int, ...], what: str, place: str) -> FloatArray:
    words = text.split()
    try:
        values = np.array([float(word) for word in words])
    except ValueError:
        values = np.array([np.nan])
    if len(values) != np.prod(shape) or not np.isfinite(values).all():
        raise InputFileError(f"{place}: {what} must hold {np.prod(shape)} finite numbers; got {text[:60]!r}")
    return values.reshape(shape)


def read_xml(path: Path, *, whole: bool = True) -> PwOutput:
    """Read ``data-file-schema.xml`` (which is also called ``<prefix>.xml``).

    Parameters
    ----------
    whole
        Refuse a file without forces and stress, which pw.x computes where ``tprnfor`` and ``tstress`` ask for them.

    Raises
    ------
    InputFileError
        In one sentence: cut off, not of pw.x, with entities, unfinished, or incomplete.
    """
    collector = _Collector(shown(path))
    collector.read(read_bytes(path, LARGEST_BYTES))
    tree = _Tree(collector.place, collector.found)
    creators = [attributes for attributes, _ in tree.found.get("general_info/creator", [])]
    if [creator.get("NAME") for creator in creators] != ["PWSCF"]:
        raise InputFileError(f"{tree.place} was not written by pw.x; run pw.x again, or copy the whole file")
    if tree.text("status", "exit_status") != "0" or "closed" not in tree.found:
        raise InputFileError(f"{tree.place} is of a calculation that did not end properly; run it again")
    symbols, cell, positions = _xml_structure(tree, "output")
    count = len(symbols)
    converged = tree.flag("output/convergence_info/scf_conv/convergence_achieved")
    return PwOutput(
        place=tree.place,
        version=creators[0].get("VERSION", ""),
        converged=converged,
        symbols=symbols,
        cell_bohr=cell,
        positions_bohr=positions,
        length_bohr=1e-7,
        settings=_xml_settings(tree),
        energy_Ry=tree.number("output/total_energy/etot") * _HARTREE_RY,
        # Without self-consistency there are no derivatives, and the energy is of no use.
        forces_Ry_per_bohr=_derivative(tree, "output/forces", (count, 3), converged, whole),
        stress_Ry_per_bohr3=_derivative(tree, "output/stress", (3, 3), converged, whole),
        bands=_xml_bands(tree, cell),
        fermi_eV=_xml_fermi(tree),
        species=tuple(attributes.get("name", "") for attributes, _ in tree.found.get(_SPECIES, [])),
        details=_xml_details(tree),
    )


def xml_structure(path: Path) -> Crystal:
    """Return the structure that a calculation started from, also of a file that is cut behind it.

    Raises
    ------
    InputFileError
        Where the file does not get as far as its structure.
    """
    collector = _Collector(shown(path))
    data = read_bytes(path, LARGEST_BYTES)
    # Why the file ends early was told when it was read; here only what stands before that counts.
    with contextlib.suppress(InputFileError):
        collector.read(data)
    tree = _Tree(collector.place, collector.found)
    try:
        found = _xml_structure(tree, "input")
    except InputFileError:
        # The input may give its atoms by their Wyckoff positions.
        found = _xml_structure(tree, "output")
    return crystal_of(tree.place, *found)


def _xml_structure(tree: _Tree, part: str) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
    """Return labels, lattice vectors and positions, bohr, of the structure before or after the calculation."""
    top = f"{part}/atomic_structure"
    cell = np.stack([tree.numbers(f"{top}/cell/{name}", (3,)) for name in ("a1", "a2", "a3")])
    atoms = tree.found.get(f"{top}/atomic_positions/atom", [])
    if not atoms:
        raise InputFileError(f"{tree.place} holds no atoms")
    positions = [_array(text, (3,), "the position of an atom", tree.place) for _, text in atoms]
    return tuple(attributes.get("name", "") for attributes, _ in atoms), cell, np.stack(positions)


def _derivative(tree: _Tree, path: str, shape: tuple[int, ...], converged: bool, whole: bool) -> FloatArray:
    if not converged or (not whole and path not in tree.found):
        return np.full(shape, np.nan)
    return tree.numbers(path, shape) * _HARTREE_RY


def _xml_settings(tree: _Tree) -> dict[str, Any]:
    bands = "input/bands"
    kind = tree.text(f"{bands}/occupations")
    settings: dict[str, Any] = {
        "calculation": tree.text("input/control_variables/calculation"),
        "ecutwfc": tree.number("input/basis/ecutwfc") * _HARTREE_RY,
        "ecutrho": tree.number("input/basis/ecutrho") * _HARTREE_RY,
        # The input has it only where somebody gave it.
        "nbnd": _xml_band_count(tree) if f"{bands}/nbnd" not in tree.found else tree.number(f"{bands}/nbnd"),
        "tot_charge": tree.number(f"{bands}/tot_charge"),
        "occupations": kind,
        "conv_thr": tree.number("input/electron_control/conv_thr") * _HARTREE_RY,
        "nspin": 2 if tree.flag("output/band_structure/lsda") else 1,
        "noncolin": tree.flag("output/band_structure/noncolin"),
        "nosym": tree.flag("input/symmetry_flags/nosym"),
        "noinv": tree.flag("input/symmetry_flags/noinv"),
        "input_dft": tree.text("output/dft/functional").lower(),
        "pseudopotentials": tuple(text for _, text in tree.found.get(f"{_SPECIES}/pseudo_file", [])),
        "k_mesh": _xml_mesh(tree),
        "tot_magnetization": -1.0,
    }
    if kind == "smearing":
        attributes, name = tree.one(f"{bands}/smearing")
        settings["smearing"] = smearing_name(name)
        width = _array(attributes.get("degauss", ""), (1,), "degauss", tree.place)
        settings["degauss"] = float(width[0]) * _HARTREE_RY
    if settings["nspin"] == 2:
        starts = tree.found.get("input/atomic_species/species/starting_magnetization", [])
        settings["starting_magnetization"] = tuple(float(_array(t, (1,), "a start", tree.place)[0]) for _, t in starts)
    if f"{bands}/tot_magnetization" in tree.found:
        settings["tot_magnetization"] = tree.number(f"{bands}/tot_magnetization")
    for name in ("dftU", "vdW", "hybrid"):
        if any(path.startswith(f"output/dft/{name}") for path in tree.found):
            settings[name] = True
    return settings


def _xml_mesh(tree: _Tree) -> tuple[int, ...]:
    """Return mesh and shift; six zeros where the points were listed, as for Γ alone."""
    place = "input/k_points_IBZ/monkhorst_pack"
    if place not in tree.found:
        return (0,) * 6
    attributes, _ = tree.one(place)
    words = " ".join(attributes.get(name, "") for name in ("nk1", "nk2", "nk3", "k1", "k2", "k3"))
    return tuple(int(number) for number in _array(words, (6,), "monkhorst_pack", tree.place))


def _xml_details(tree: _Tree) -> dict[str, str | float]:
    """Return what else the input asks of the functional; Hubbard terms by species, which differ between samples."""
    details: dict[str, str | float] = {**functional_named(tree.text("output/dft/functional"))}
    if _EXCHANGE in tree.found:
        details["share of exact exchange"] = tree.number(_EXCHANGE)
    for name, (top, skipped) in _BRANCHES.items():
        for path, elements in tree.found.items():
            if path.startswith(f"{top}/") and not path.removeprefix(f"{top}/").startswith(skipped):
                for attributes, text in elements:
                    words = " ".join([*(value for key, value in attributes.items() if key != "specie"), text]).strip()
                    species = element_of(attributes["specie"]) if "specie" in attributes else ""
                    details[f"{name} {path.removeprefix(f'{top}/')} {species}".strip()] = words
    return details


def _xml_band_count(tree: _Tree) -> float:
    top = "output/band_structure"
    return tree.number(f"{top}/nbnd_up" if tree.flag(f"{top}/lsda") else f"{top}/nbnd")


def _xml_bands(tree: _Tree, cell_bohr: FloatArray) -> Bands:
    top = "output/band_structure"
    points = tree.found.get(f"{top}/ks_energies/k_point", [])
    rows = tree.found.get(f"{top}/ks_energies/eigenvalues", [])
    if not points or len(points) != len(rows) or tree.number(f"{top}/nks") != len(points):
        raise InputFileError(f"{tree.place} holds {len(rows)} sets of eigenvalues at {len(points)} k points")
    spins = 2 if tree.flag(f"{top}/lsda") else 1
    count = round(_xml_band_count(tree))
    if spins == 2 and tree.number(f"{top}/nbnd_dw") != count:
        raise InputFileError(f"{tree.place} holds different numbers of bands for the two spins")
    energies = np.stack([_array(text, (spins, count), "eigenvalues", tree.place) for _, text in rows], axis=1)
    # Coordinates are Cartesian in units of 2π/alat, and alat is an attribute of the structure.
    alat = _array(tree.one("output/atomic_structure")[0].get("alat", ""), (1,), "alat", tree.place)
    cartesian = np.stack([_array(text, (3,), "a k point", tree.place) for _, text in points])
    weights = [_array(attributes.get("weight", ""), (1,), "weight", tree.place)[0] for attributes, _ in points]
    try:
        return Bands(
            k_points=cartesian @ cell_bohr.T / alat[0],
            k_weights=np.array(weights),
            eigenvalues_eV=energies * HARTREE_EV,
            electrons=tree.number(f"{top}/nelec"),
            magnetisation=tree.number("output/magnetization/total") if spins == 2 else 0.0,
        )
    except DataError as error:
        raise InputFileError(f"{tree.place}: {error}") from error


def _xml_fermi(tree: _Tree) -> float:
    place = "output/band_structure/fermi_energy"
    return tree.number(place) * HARTREE_EV if place in tree.found else float("nan")
