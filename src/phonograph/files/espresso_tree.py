"""A folder tree of self-consistent calculations of Quantum ESPRESSO's pw.x as a set with labels."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from phonograph.errors import InputFileError
from phonograph.files.calculation_tree import (
    Calculated,
    Tree,
    TreeSample,
    mesh_points,
    read_tree,
    tree_set,
    values_of,
    walk,
    written,
)
from phonograph.files.espresso_folder import (
    EspressoFolder,
    OutputFiles,
    any_structure,
    find_outputs,
    read_espresso_folder,
)
from phonograph.files.espresso_output import RYDBERG_EV, PwOutput, pressure_to_stress_GPa
from phonograph.files.safety import check_name, named_within, sha256_of
from phonograph.types import Configurations, Crystal, Labels

_SAVE = ".save"
_UNITS = {"ecutwfc": " Ry", "ecutrho": " Ry", "degauss": " Ry", "charge": " e"}
_POTENTIAL = "pseudopotential "


def read_espresso_tree(
    folder: str | os.PathLike[str],
    name: str = "espresso",
    *,
    equilibrium: str | os.PathLike[str] | Crystal | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[Configurations, Labels]:
    """Read every self-consistent calculation of pw.x below ``folder``.

    Each folder with outputs is one sample, in natural order of their paths: data-file-schema.xml (in a folder
    ``*.save`` or beside it), its copy ``<prefix>.xml``, and standard outputs ``*.out``, ``*.pwo`` or ``*.log``, each
    plain, ``.gz`` or ``.xz``.  A folder of XML files only, below one with a standard output or an input and no XML
    file, is the ``outdir`` of that one.  Outputs of one folder must tell the same.  A calculation that is unfinished,
    damaged, not converged or not static (``relax``, ``md``, ``nscf``, ``bands``) is a named hole with the structure
    that it started from; an output that is not static, beside one that is, is left aside and told; folders without a
    readable structure are left out and counted.

    With N atoms, E the total energy (with smearing the free energy E − TS, of which forces are the derivatives) and p
    the tensor that pw.x prints with the sign of a pressure: ``energy_eV_per_atom`` = E/N and
    ``hydrostatic_stress_GPa`` = −tr(p)/3, positive = tensile (ASE's sign).  Edges are found by counting electrons, see
    :func:`~phonograph.band_edges.band_edges`; a calculation without empty bands has no gap.

    In the layout of the authors' scripts, ``structures_info.txt`` in ``folder`` or beside it gives temperature,
    amplitude and Br concentration (``fraction``) of ``struc-<number>``.

    Parameters
    ----------
    folder
        Folder above the calculations.
    name
        Name of the set; samples are called ``<name>-<position>``; ``origin.settings["folders"]`` names their folders.
    equilibrium
        Structure at rest, as a file or a crystal, to which displacements refer; None: displacements are unknown.
    groups
        One group per sample; default: exact copies of a structure share one.

    Returns
    -------
    tuple of Configurations and Labels
        Columns ``energy_eV_per_atom``, ``band_gap_eV``, ``direct_gap_eV``, ``vbm_eV``, ``cbm_eV``,
        ``hydrostatic_stress_GPa``, those of them that a calculation gives; each of shape (samples,), NaN in holes.

    Raises
    ------
    InputFileError
        No calculation, two levels of theory in one tree, or an equilibrium structure that does not fit.
    """
    check_name(name, "the name of a set")
    root = Path(folder)
    outputs = _outputs(root)
    tree = read_tree(
        root,
        list(outputs),
        "pw.x",
        lambda place, relative: _sample(place, relative, outputs[place]),
        lacking="no output of pw.x with a readable structure",
    )
    return tree_set(
        name,
        tree,
        equilibrium=equilibrium,
        groups=groups,
        engine=_engine(tree),
        program="Quantum ESPRESSO",
        settings={"energy": "total, with smearing free"},
    )


def _outputs(root: Path) -> dict[Path, OutputFiles]:
    """Return the files of pw.x by the folder whose calculation they are of."""
    found: dict[Path, OutputFiles] = {}
    for place, below, files in walk(root, "pw.x"):
        saves = [one for one in below if one.endswith(_SAVE)]
        below[:] = [one for one in below if not one.endswith(_SAVE)]
        outputs = find_outputs(place, files, saves)
        if outputs.all or outputs.has_input:
            found[place] = outputs
    for place, outputs in list(found.items()):
        inside = [child for child in found if child.parent == place and child != place and _only_xml(found[child])]
        if len(inside) == 1 and not outputs.xmls:
            found[place] = OutputFiles(xmls=found.pop(inside[0]).xmls, texts=outputs.texts)
    return found


def _only_xml(outputs: OutputFiles) -> bool:
    return bool(outputs.xmls) and not outputs.texts and not outputs.has_input


def _sample(place: Path, relative: str, outputs: OutputFiles) -> TreeSample | None:
    try:
        found = read_espresso_folder(outputs)
        values, failure = _values(found)
    except InputFileError as error:
        crystal = any_structure(outputs)
        if crystal is None:
            return None
        reason = named_within(str(error), place)
        return TreeSample(name=relative, crystal=crystal, files=_hashes(place, outputs), failure=reason)
    return TreeSample(
        name=relative,
        crystal=found.crystal,
        files=_hashes(place, outputs),
        calculated=_calculated(found),
        failure=failure,
        values=values,
        left_aside=tuple(path.relative_to(place).as_posix() for path in found.left_aside),
    )


def _hashes(place: Path, outputs: OutputFiles) -> dict[str, str]:
    return {path.relative_to(place).as_posix(): sha256_of(path) for path in outputs.all}


def _values(found: EspressoFolder) -> tuple[dict[str, float], str]:
    output = found.output
    if output.settings.get("noncolin"):
        raise InputFileError(
            f"{output.place} is non-collinear (noncolin): its bands hold one electron each, and no gap is read of "
            "such; run it without"
        )
    return values_of(
        len(found.crystal),
        output.energy_Ry * RYDBERG_EV,
        pressure_to_stress_GPa(output.stress_Ry_per_bohr3) if output.has_stress else None,
        output.bands if output.tells_bands else None,
    )


def _calculated(found: EspressoFolder) -> Calculated:
    output = found.output
    return Calculated(
        theory=found.theory,
        k_points=len(output.bands.k_points) if output.tells_bands else 0,
        mesh=_mesh(output),
        version=output.version,
    )


def _mesh(output: PwOutput) -> int:
    """Return the number of points of the whole mesh; 0 where it is not told."""
    if mesh := math.prod(output.settings.get("k_mesh", (0,))[:3]):
        return int(mesh)
    return mesh_points(output.bands.k_points, output.bands.k_weights) if output.tells_bands else 0


def _engine(tree: Tree) -> str:
    """Return the method that all calculations share: settings of the first, which the others were compared with."""
    runs = [sample.calculated for sample in tree.samples if sample.calculated]
    settings = [
        f"{name} = {written(value)}{_UNITS.get(name, '')}"
        for name, value in runs[0].theory.items()
        if value != "no" and not name.startswith((_POTENTIAL, "MD5 of"))
    ]
    potentials = sorted(
        {str(value) for run in runs for name, value in run.theory.items() if name.startswith(_POTENTIAL)}
    )
    return (
        f"Quantum ESPRESSO pw.x {runs[0].version}; {'; '.join(settings)}; {', '.join(potentials)}; raw eigenvalues; "
        "imported"
    )
