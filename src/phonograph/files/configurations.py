"""Sets of displaced crystals on disk: extended XYZ that ASE and OVITO open, with a JSON sidecar, bit for bit."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from phonograph.atomic import replacing
from phonograph.errors import DataError, InputFileError
from phonograph.files.safety import check_readable, reading, sha256_of, shown
from phonograph.files.sidecar import entry, read_sidecar, write_sidecar
from phonograph.types import MAX_ATOMS, Certificate, Check, Configurations, FloatArray, Origin
from phonograph.types.configurations import COVARIANCES

SCHEMA = "phonograph-configurations-1"
CERTIFICATE_SCHEMA = "phonograph-certificate-1"

MAX_BYTES = 2**35
"""Largest set accepted (32 GiB; 10⁶ crystals of 40 atoms take about 5)."""

_PER_SAMPLE = ("temperature_K", "amplitude_A", "fraction")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_.+:-]+")
_LATTICE = re.compile(r'\bLattice="([^"]*)"')


def save_configurations(configurations: Configurations, path: str | os.PathLike[str]) -> None:
    """Write a set as extended XYZ, and what that cannot hold as ``<name>.json`` beside it.

    Every frame has the columns ``species``, ``pos`` (Å, not wrapped) and, where known, ``displacement`` (Å), and
    in its comment line Lattice, set, sampler, sample_id, index, group, seed and, where they are defined, statistics
    (quantum or classical), temperature_K, amplitude_A and fraction.  Numbers carry all their digits, so that reading
    them back gives the same bits.  Both files are written atomically; the sidecar holds the SHA-256 of the other.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    target = Path(path)
    with replacing(target) as temporary:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(_frames(configurations))
        digest = sha256_of(temporary)
    write_sidecar(
        target.with_suffix(".json"),
        SCHEMA,
        configurations.warnings,
        configurations.origin,
        name=configurations.name,
        sampler=configurations.sampler,
        samples=len(configurations),
        sha256=digest,
        index=configurations.index,
        group=configurations.group,
        **{name: getattr(configurations, name) for name in _PER_SAMPLE},
    )


def _frames(configurations: Configurations) -> Iterator[str]:
    from ase.data import chemical_symbols

    for position, sample_id in enumerate(configurations.ids):
        atoms = slice(int(configurations.offsets[position]), int(configurations.offsets[position + 1]))
        displacements = configurations.displacements_A[atoms]
        known = bool(np.isfinite(displacements).all())
        columns = [configurations.positions_A[atoms], displacements] if known else [configurations.positions_A[atoms]]
        rows = np.hstack(columns).tolist()
        symbols = [chemical_symbols[number] for number in configurations.numbers[atoms]]
        yield f"{len(rows)}\n{_comment(configurations, position, sample_id, known)}\n"
        yield "".join(f"{symbol} {' '.join(map(repr, row))}\n" for symbol, row in zip(symbols, rows, strict=True))


def _comment(configurations: Configurations, position: int, sample_id: str, known: bool) -> str:
    lattice = " ".join(map(repr, configurations.cells_A[position].ravel().tolist()))
    properties = "species:S:1:pos:R:3" + (":displacement:R:3" if known else "")
    words: dict[str, Any] = {
        "set": configurations.name,
        "sampler": configurations.sampler,
        "sample_id": sample_id,
        "index": int(configurations.index[position]),
        "group": configurations.group[position],
    }
    if configurations.origin.seed is not None:
        words["seed"] = _seed_word(configurations.origin.seed)
    statistics = _statistics(configurations.origin)
    if statistics:
        words["statistics"] = statistics
    for name in _PER_SAMPLE:
        value = float(getattr(configurations, name)[position])
        if np.isfinite(value):
            words[name] = value
    pairs = " ".join(f"{name}={_word(value)}" for name, value in words.items())
    return f'Lattice="{lattice}" Properties={properties} {pairs} pbc="T T T"'


def _statistics(origin: Origin) -> str:
    """Return ``"quantum"`` or ``"classical"`` for laws at a temperature, nothing for others."""
    sampler = origin.settings.get("sampler")
    return str(sampler.get("statistics", "")) if isinstance(sampler, Mapping) else ""


def _seed_word(seed: int) -> int | str:
    # ASE reads larger whole numbers as floats and loses digits; hexadecimal stays a word.
    return seed if abs(seed) < 2**63 else hex(seed)


def _word(value: Any) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    if _PLAIN_WORD.fullmatch(text):
        return text
    # Names come from plug-ins too: a quote or a line break in one must not end the value or the line.
    return '"' + re.sub(r"[^\x20\x21\x23-\x5b\x5d-\x7e]", "_", text) + '"'


def load_configurations(path: str | os.PathLike[str]) -> Configurations:
    """Read what :func:`save_configurations` wrote, bit for bit, with warnings and origin.

    Sets of displaced structures from elsewhere are read by :mod:`phonograph.files.user_data`.

    Raises
    ------
    InputFileError
        One sentence, where one of the two files is missing, damaged, or does not belong to the other.
    """
    source = Path(path)
    check_readable(source, MAX_BYTES)
    sidecar_path = source.with_suffix(".json")
    sidecar = read_sidecar(sidecar_path, SCHEMA)
    if sha256_of(source) != entry(sidecar, "sha256", str, sidecar_path):
        raise InputFileError(
            f"{shown(source)} is not the file that {sidecar_path.name} describes; it was changed or cut off after it "
            "was written; run the sampling room again"
        )
    with reading(source, "a set of configurations"):
        numbers, positions, displacements, cells = _parsed(source)
    sizes = [len(part) for part in numbers]
    return _checked(
        sidecar_path,
        sidecar,
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        numbers=np.concatenate(numbers),
        positions_A=np.concatenate(positions),
        displacements_A=np.concatenate(displacements),
        cells_A=np.array(cells),
    )


def _checked(path: Path, sidecar: Mapping[str, Any], **arrays: Any) -> Configurations:
    samples = len(arrays["cells_A"])
    columns = {name: entry(sidecar, name, list, path) for name in (*_PER_SAMPLE, "index", "group")}
    if any(len(column) != samples for column in columns.values()):
        raise InputFileError(f"{shown(path)} must describe {samples} samples; write the set again")
    with reading(path, "the description of a set"):
        per_sample: dict[str, Any] = {
            name: np.array([np.nan if value is None else value for value in columns[name]], dtype=np.float64)
            for name in _PER_SAMPLE
        }
        try:
            return Configurations(
                name=entry(sidecar, "name", str, path),
                sampler=entry(sidecar, "sampler", str, path),
                index=columns["index"],
                group=tuple(columns["group"]),
                warnings=sidecar["warnings"],
                origin=sidecar["origin"],
                **per_sample,
                **arrays,
            )
        except DataError as error:
            raise InputFileError(f"{shown(path)} is not a set of configurations: {error}; write it again") from error


def _parsed(source: Path) -> tuple[list[Any], list[FloatArray], list[FloatArray], list[FloatArray]]:
    """Return numbers, positions, displacements and cell of every frame; raises on anything we do not write."""
    from ase.data import atomic_numbers

    numbers: list[Any] = []
    positions: list[FloatArray] = []
    displacements: list[FloatArray] = []
    cells: list[FloatArray] = []
    with source.open(encoding="utf-8") as stream:
        while head := stream.readline():
            count = int(head)
            if not 1 <= count <= MAX_ATOMS:
                raise InputFileError(f"{shown(source)} frame {len(cells)} claims {count} atoms; write the set again")
            lattice = _LATTICE.search(stream.readline())
            rows = [line.split() for line in islice(stream, count)]
            if lattice is None or len(rows) < count:
                missing = 'has no Lattice="…" entry' if lattice is None else f"has {len(rows)} of {count} atoms"
                raise InputFileError(f"{shown(source)} frame {len(cells)} {missing}; write the set again")
            values = np.array([row[1:] for row in rows], dtype=np.float64)
            numbers.append([atomic_numbers[row[0]] for row in rows])
            positions.append(values[:, :3])
            displacements.append(values[:, 3:6] if values.shape[1] == 6 else np.full((count, 3), np.nan))
            cells.append(np.array(lattice[1].split(), dtype=np.float64).reshape(3, 3))
    return numbers, positions, displacements, cells


def save_certificate(certificate: Certificate, path: str | os.PathLike[str]) -> None:
    """Write the certificate of a set as JSON, atomically; undefined numbers become null.

    Raises
    ------
    InputFileError
        When the folder cannot be written.
    """
    write_sidecar(
        path,
        CERTIFICATE_SCHEMA,
        (),
        Origin(room="sampling"),
        name=certificate.name,
        n=certificate.n,
        passed=certificate.passed,
        law_known=certificate.law_known,
        touched_share=certificate.touched_share,
        species_rms_A=certificate.species_rms_A,
        minimum_distance_A=certificate.minimum_distance_A,
        nearest_bonds=certificate.nearest_bonds,
        harmonic_energy_eV_per_atom=certificate.harmonic_energy_eV_per_atom,
        checks=[dataclasses.asdict(check) for check in certificate.checks],
        sites=certificate.sites,
        components=("xx", "yy", "zz", "yz", "xz", "xy"),
        **{name: getattr(certificate, name) for name in COVARIANCES},
    )


def load_certificate(path: str | os.PathLike[str]) -> Certificate:
    """Read what :func:`save_certificate` wrote.

    Raises
    ------
    InputFileError
        One sentence, where the file is missing, damaged or of another kind.
    """
    source = Path(path)
    document = read_sidecar(source, CERTIFICATE_SCHEMA)
    energy, touched = document.get("harmonic_energy_eV_per_atom"), document.get("touched_share")
    rms = entry(document, "species_rms_A", list, source)
    bonds = entry(document, "nearest_bonds", list, source)
    checks = entry(document, "checks", list, source)
    sites = entry(document, "sites", list, source)
    tables = {name: entry(document, name, list, source) for name in COVARIANCES}
    with reading(source, "the certificate of a set"):
        return Certificate(
            name=entry(document, "name", str, source),
            n=entry(document, "n", int, source),
            species_rms_A=tuple((str(symbol), float(value)) for symbol, value in rms),
            minimum_distance_A=float(entry(document, "minimum_distance_A", (int, float), source)),
            nearest_bonds=tuple((str(pair), float(mean), float(spread)) for pair, mean, spread in bonds),
            harmonic_energy_eV_per_atom=float("nan") if energy is None else float(energy),
            checks=tuple(_check(check) for check in checks),
            law_known=document.get("law_known") is True,
            touched_share=float("nan") if touched is None else float(touched),
            sites=tuple(str(site) for site in sites),
            **{name: np.array(rows, dtype=np.float64).reshape(-1, 6) for name, rows in tables.items()},
        )


def _check(document: Mapping[str, Any]) -> Check:
    return Check(
        name=str(document["name"]),
        found=_number(document["found"]),
        expected=_number(document["expected"]),
        tolerance=_number(document["tolerance"]),
        passed=document["passed"] is True,
        unit=str(document["unit"]),
        kind=str(document["kind"]),
    )


def _number(value: Any) -> float:
    # JSON has no infinity: the largest deviation of what should not move at all is one.
    return float("inf") if value is None else float(value)
