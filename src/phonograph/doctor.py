"""``phonograph doctor``: which engines and versions are here, and what to install for the others."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from phonograph.errors import MissingEngineError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked for: what it is for, whether it was found, its version, and how to get it."""

    name: str
    purpose: str
    required: bool
    found: bool
    version: str
    remedy: str


_PYTHON = (
    ("ase", "structures, EMT, molecular dynamics", True),
    ("phonopy", "force constants and phonon spectra", True),
    ("symfc", "force constants fitted to displaced supercells", True),
    ("chgnet", "forces, energy and stress from an embedded universal potential", True),
    ("tblite", "band gap and band edges by periodic GFN1-xTB", True),
    ("torch", "training, explanation and prediction", True),
    ("safetensors", "model bundles", True),
    ("pebble", "worker processes with timeouts", True),
    ("h5py", "force_constants.hdf5", True),
    ("parsl", "labels on a cluster (phonograph[cluster])", False),
    ("pyarrow", "labels as Parquet (phonograph[parquet])", False),
    ("dscribe", "SOAP beside the networks (phonograph[references])", False),
    ("scikit-learn", "kernel ridge regression on SOAP (phonograph[references])", False),
    ("optuna", "searches beyond a grid (phonograph[study])", False),
    ("tensorboard", "loss curves in TensorBoard (phonograph[tensorboard])", False),
    ("torch-geometric", "graphs as its Data, and back (phonograph[pyg])", False),
)
_PROGRAMS = (
    ("cp2k.psmp", "DFT labels, engine cp2k", "apt-get install cp2k cp2k-data openmpi-bin libopenblas0-serial"),
    ("pw.x", "DFT labels, engine quantum-espresso", "apt-get install quantum-espresso"),
    ("vasp_std", "DFT labels, engine vasp (or its files)", "licensed; ask your computing centre"),
    ("mpirun", "DFT labels on several cores", "apt-get install openmpi-bin"),
    ("sbatch", "labels on a cluster", "run on a login node of the cluster"),
    ("setpriv", "programs that end with the process that started them", "apt-get install util-linux"),
    ("chromium", "the browser tests of the report", "apt-get install chromium"),
)

_DEBIAN_UPF = "/usr/share/espresso/pseudo"


def examine() -> tuple[Finding, ...]:
    """Look for every library and program without importing the heavy ones."""
    findings = [_python_version()]
    findings += [_package(name, purpose, required) for name, purpose, required in _PYTHON]
    findings.append(_chgnet_weights())
    findings += [_program(name, purpose, remedy) for name, purpose, remedy in _PROGRAMS]
    findings += [_cp2k_data(), _pseudopotentials()]
    return tuple(findings)


def _python_version() -> Finding:
    version = platform.python_version()
    return Finding(
        name="Python",
        purpose=f"{os.cpu_count()} cores",
        required=True,
        found=tuple(map(int, version.split(".")[:2])) >= (3, 11),
        version=version,
        remedy="install Python 3.11 or newer",
    )


def _package(name: str, purpose: str, required: bool) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = ""
    remedy = f"pip install -c constraints.txt {name}"
    return Finding(name=name, purpose=purpose, required=required, found=bool(version), version=version, remedy=remedy)


def _chgnet_weights() -> Finding:
    found = importlib.util.find_spec("chgnet")
    folder = Path(found.origin).parent / "pretrained" if found and found.origin else None
    weights = sorted(folder.rglob("*.tar")) if folder and folder.is_dir() else []
    return Finding(
        name="CHGNet weights",
        purpose="shipped inside the chgnet package, so that no download is needed",
        required=True,
        found=bool(weights),
        version=f"{len(weights)} files" if weights else "",
        remedy="pip install --force-reinstall -c constraints.txt chgnet",
    )


def _program(name: str, purpose: str, remedy: str) -> Finding:
    path = shutil.which(name)
    return Finding(
        name=name, purpose=purpose, required=False, found=path is not None, version=path or "", remedy=remedy
    )


def _cp2k_data() -> Finding:
    from phonograph.labels.engines.cp2k_data import data_folder

    try:
        folder = str(data_folder("", "cp2k.psmp"))
    except MissingEngineError:
        folder = ""
    return _data("CP2K data", "basis sets and potentials of engine cp2k", folder, "apt-get install cp2k-data")


def _pseudopotentials() -> Finding:
    named = os.environ.get("ESPRESSO_PSEUDO", "") or _DEBIAN_UPF
    folder = named if Path(named).is_dir() else ""
    remedy = "apt-get install quantum-espresso-data, or set ESPRESSO_PSEUDO to a folder of your own"
    return _data("pseudopotentials", "UPF files of engine quantum-espresso", folder, remedy)


def _data(name: str, purpose: str, folder: str, remedy: str) -> Finding:
    return Finding(name=name, purpose=purpose, required=False, found=bool(folder), version=folder, remedy=remedy)


def as_text(findings: tuple[Finding, ...]) -> str:
    """Return the findings as an aligned table, missing ones with what to do."""
    lines = []
    for finding in findings:
        mark = "ok     " if finding.found else ("MISSING" if finding.required else "absent ")
        tail = finding.version if finding.found else f"→ {finding.remedy}"
        lines.append(f"{mark}  {finding.name:<16} {finding.purpose:<64} {tail}")
    missing = [finding.name for finding in findings if finding.required and not finding.found]
    lines.append(f"missing: {', '.join(missing)}" if missing else "everything that Phonograph needs is here")
    return "\n".join(lines)
