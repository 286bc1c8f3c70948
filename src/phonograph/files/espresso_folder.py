"""The folder of one calculation of pw.x: every output that is there is read, and all must tell the same."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.files.calculation_tree import same_setting
from phonograph.files.espresso_output import (
    NotStaticError,
    PwOutput,
    check_agreement,
    crystal_of,
    differing,
    element_of,
)
from phonograph.files.espresso_text import read_text_output, text_structure
from phonograph.files.espresso_xml import read_xml, xml_structure
from phonograph.files.safety import read_head, sha256_of
from phonograph.files.vasp_folder import SUFFIXES
from phonograph.files.vasp_run import distance_A
from phonograph.types import Crystal
from phonograph.units import BOHR_A

XML_FILE = "data-file-schema.xml"
_TEXTS = (".out", ".pwo", ".log")
_INPUTS = (".in", ".pwi")
_HEAD_BYTES = 64 * 1024
"""The name of the program stands below what a batch system or an MPI library may print first."""

_ADVICE = "keep one of them, or give each calculation a folder of its own"
_FLAGS = (("non-collinear", "noncolin"), ("DFT+U", "dftU"), ("dispersion", "vdW"), ("hybrid", "hybrid"))


@dataclass(frozen=True, kw_only=True)
class OutputFiles:
    """Files of pw.x in one folder: XML files, standard outputs, and whether there is an input."""

    xmls: tuple[Path, ...] = ()
    texts: tuple[Path, ...] = ()
    has_input: bool = False

    @property
    def all(self) -> tuple[Path, ...]:
        """XML files, which have all digits, before standard outputs."""
        return self.xmls + self.texts


@dataclass(frozen=True, kw_only=True, eq=False)
class EspressoFolder:
    """A calculation, its structure and level of theory, and the outputs beside it that are not static."""

    output: PwOutput
    crystal: Crystal
    theory: dict[str, str | float]
    left_aside: tuple[Path, ...] = field(default=())


def find_outputs(folder: Path, names: Sequence[str], saves: Sequence[str]) -> OutputFiles:
    """Return the files of pw.x among ``names`` in ``folder``, and in those of its folders that are called ``*.save``.

    The XML file is known by its name, or by what it starts with; a standard output is called ``*.out``, ``*.pwo`` or
    ``*.log`` and names the program; all may be packed (``.gz``, ``.xz``).
    """
    xmls = [folder / save / (XML_FILE + packed) for save in sorted(saves) for packed in SUFFIXES]
    texts, has_input = [], False
    for name in sorted(names):
        plain = name.removesuffix(".gz").removesuffix(".xz")
        if plain == XML_FILE or (plain.endswith(".xml") and b"<qes:espresso" in read_head(folder / name, _HEAD_BYTES)):
            xmls.append(folder / name)
        elif plain.endswith(_TEXTS) and b"Program PWSCF" in read_head(folder / name, _HEAD_BYTES):
            texts.append(folder / name)
        elif plain.endswith(_INPUTS) and b"&control" in read_head(folder / name, _HEAD_BYTES).lower():
            has_input = True
    return OutputFiles(xmls=tuple(xml for xml in xmls if xml.is_file()), texts=tuple(texts), has_input=has_input)


def read_espresso_folder(files: OutputFiles) -> EspressoFolder:
    """Read all outputs of one self-consistent calculation; numbers are of the XML file, else of the standard output.

    Outputs of relaxations, molecular dynamics and bands are left aside where there is a static one beside them.

    Raises
    ------
    InputFileError
        In one sentence: no output, an unfinished or damaged one, none that is static, not converged, or outputs that
        are not of one calculation.
    """
    found, moving = [], []
    for path in _distinct(files.all):
        try:
            found.append((path, _read(path, path in files.xmls)))
        except NotStaticError as error:
            moving.append((path, error))
    if not found:
        raise moving[0][1] if moving else InputFileError("there is no output of pw.x; run pw.x, or copy its outputs")
    outputs = [output for _, output in found]
    crystal = _one_structure(outputs)
    theory = _one_theory(outputs)
    if not any(output.converged for output in outputs):
        raise InputFileError(f"not converged: {outputs[0].place} tells no self-consistency")
    for other in outputs[1:]:
        check_agreement(outputs[0], other, _ADVICE)
    return EspressoFolder(
        output=outputs[0], crystal=crystal, theory=theory, left_aside=tuple(path for path, _ in moving)
    )


def any_structure(files: OutputFiles) -> Crystal | None:
    """Return the structure that a calculation started from, of the first output that gets as far as telling it."""
    for path in files.all:
        with contextlib.suppress(InputFileError):
            return xml_structure(path) if path in files.xmls else text_structure(path)
    return None


def _distinct(paths: Sequence[Path]) -> list[Path]:
    """Leave out copies: pw.x itself writes its XML file twice."""
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(sha256_of(path), path)
    return list(first.values())


def _read(path: Path, is_xml: bool) -> PwOutput:
    output = (read_xml if is_xml else read_text_output)(path, whole=False)
    kind = output.settings.get("calculation", "scf")
    if kind != "scf":
        raise NotStaticError(f"{output.place} is of calculation = '{kind}'; expected one self-consistent one (scf)")
    return output


def _one_structure(outputs: Sequence[PwOutput]) -> Crystal:
    crystals = [crystal_of(one.place, one.symbols, one.cell_bohr, one.positions_bohr) for one in outputs]
    for output, crystal in zip(outputs[1:], crystals[1:], strict=True):
        # Positions are sums of rounded components along rounded vectors.
        allowed_A = 4.0 * (outputs[0].length_bohr + output.length_bohr) * BOHR_A
        if not distance_A(crystals[0], crystal) <= allowed_A:
            raise differing(outputs[0], output, "structure", _ADVICE)
    return crystals[0]


def _one_theory(outputs: Sequence[PwOutput]) -> dict[str, str | float]:
    theory = theory_of(outputs[0])
    for output in outputs[1:]:
        for name, value in theory_of(output).items():
            known = theory.setdefault(name, value)
            if not same_setting(known, value):
                raise differing(outputs[0], output, name, _ADVICE)
    return theory


def theory_of(output: PwOutput) -> dict[str, str | float]:
    """Return what an output tells of its level of theory, by name; energies in Ry."""
    settings = output.settings
    theory: dict[str, str | float] = {
        **output.details,
        "ecutwfc": float(settings["ecutwfc"]),
        "ecutrho": float(settings["ecutrho"]),
        # The standard output tells neither which kind of tetrahedra nor that occupations were listed (from_input).
        "occupations": str(settings["occupations"]).split("_")[0].replace("from", "fixed"),
        "spins": str(settings["nspin"]),
        **{name: "yes" if settings.get(setting) else "no" for name, setting in _FLAGS},
    }
    if "degauss" in settings:
        theory |= {"smearing": str(settings["smearing"]), "degauss": float(settings["degauss"])}
    if "tot_charge" in settings:
        theory["charge"] = float(settings["tot_charge"])
    potentials = settings["pseudopotentials"]
    return theory | _by_element("pseudopotential", output, potentials) | _by_element("MD5 of", output, output.md5)


def _by_element(what: str, output: PwOutput, values: Sequence[str]) -> dict[str, str | float]:
    """Return one of ``values`` per species by element; species of one element, such as Fe1 and Fe2, are listed."""
    if len(values) != len(output.species):
        return {}
    found: dict[str, set[str]] = {}
    for label, value in zip(output.species, values, strict=True):
        found.setdefault(element_of(label), set()).add(value)
    return {f"{what} {element}": " and ".join(sorted(names)) for element, names in found.items()}
