"""Tables of phonons for everybody: CSV with a header that names quantity and unit, and the audit as JSON.

* ``frequencies.csv``: the 3n − 3 commensurate modes, ascending, with standard error, harmonic frequency, line width
  and curvature of the free energy;
* ``bands.csv``: frequencies along the standard path;
* ``dos.csv``: density of states per primitive cell, total and by species;
* ``thermodynamics.csv``: quantum-harmonic free energy, entropy, heat capacity per (mole of) primitive cells;
* ``thermal_displacements.csv``: ⟨u_α u_β⟩ of each atom of the primitive cell, Cartesian, and √⟨u_α²⟩;
* ``audit.json``: what was asked of the force constants, what was found, one sentence each.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from phonograph.audit_checks import audit_checks, check_sentence, mode_words
from phonograph.files.sidecar import plain
from phonograph.types import FloatArray, PhononAudit, PhononProperties, Phonons
from phonograph.units import J_PER_MOL_PER_EV

AUDIT_SCHEMA = "phonograph-audit-1"


def phonon_tables(phonons: Phonons) -> dict[str, str]:
    """Return file name → text of every table that these phonons have."""
    tables = {"frequencies.csv": _frequencies_text(phonons), "bands.csv": _bands_text(phonons)}
    if phonons.audit is not None:
        tables["audit.json"] = _audit_text(phonons.audit)
    if phonons.properties is not None:
        tables["dos.csv"] = _dos_text(phonons.properties)
        tables["thermodynamics.csv"] = _thermodynamics_text(phonons.properties)
        tables["thermal_displacements.csv"] = _displacements_text(phonons.properties)
    return tables


def _frequencies_text(phonons: Phonons) -> str:
    header = ["mode", "frequency_THz", "error_THz", "harmonic_THz"]
    columns = [phonons.frequencies_THz, phonons.frequency_error_THz, phonons.harmonic_frequencies_THz]
    for name, values in (
        ("line_width_THz", phonons.line_widths_THz),
        ("line_width_error_THz", phonons.line_width_errors_THz),
        ("curvature_THz", phonons.curvature_frequencies_THz),
        ("curvature_error_THz", phonons.curvature_errors_THz),
    ):
        if values is not None:
            header.append(name)
            columns.append(values)
    rows = [[str(mode), *row] for mode, row in enumerate(_numbers(np.column_stack(columns)), 1)]
    return _table(header, rows)


def _bands_text(phonons: Phonons) -> str:
    branches = phonons.spectrum.frequencies_THz.shape[1]
    header = ["kind", "distance_per_A", "q1", "q2", "q3", *(f"band_{branch + 1}_THz" for branch in range(branches))]
    kinds = [("harmonic", phonons.harmonic_spectrum)]
    if phonons.harmonic is not None:
        kinds.insert(0, ("renormalised", phonons.spectrum))
    rows = []
    for kind, item in kinds:
        values = np.column_stack([item.distance, item.q, item.frequencies_THz])
        rows += [[kind, *(f"{value:.8g}" for value in row)] for row in values]
    return _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def _audit_text(audit: PhononAudit) -> str:
    document = {
        "schema": AUDIT_SCHEMA,
        "summary": [check_sentence(check) for check in audit_checks(audit)],
        "imaginary_modes": [mode_words(mode) for mode in audit.imaginary],
        "checks": [asdict(check) for check in audit_checks(audit)],
        "measured": asdict(audit),
    }
    return json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _dos_text(properties: PhononProperties) -> str:
    header = ["frequency_THz", "total_per_THz", *(f"{symbol}_per_THz" for symbol in properties.species)]
    columns = np.column_stack([properties.dos_THz, properties.dos_per_THz, properties.species_dos_per_THz.T])
    return _table(header, _numbers(columns))


def _thermodynamics_text(properties: PhononProperties) -> str:
    header = ["temperature_K"]
    columns = [properties.temperatures_K]
    for name, values, unit, molar, factor in (
        ("free_energy", properties.free_energy_eV, "eV", "kJ_per_mol", 1.0e-3),
        ("entropy", properties.entropy_eV_per_K, "eV_per_K", "J_per_mol_K", 1.0),
        ("heat_capacity", properties.heat_capacity_eV_per_K, "eV_per_K", "J_per_mol_K", 1.0),
    ):
        header += [f"{name}_{unit}", f"{name}_{molar}"]
        columns += [values, values * J_PER_MOL_PER_EV * factor]
    header.append("atoms_per_cell")
    columns.append(np.full(len(properties.temperatures_K), float(properties.atoms)))
    return _table(header, _numbers(np.column_stack(columns)))


def _displacements_text(properties: PhononProperties) -> str:
    header = ["temperature_K", "atom", "symbol"]
    pairs = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    header += [f"U{a + 1}{b + 1}_A2" for a, b in pairs] + [f"rms_{axis}_A" for axis in "xyz"]
    rows = []
    for temperature, atoms in zip(properties.temperatures_K, properties.displacement_A2, strict=True):
        for atom, (symbol, matrix) in enumerate(zip(properties.displacement_symbols, atoms, strict=True), 1):
            numbers = [matrix[pair] for pair in pairs] + np.sqrt(np.diag(matrix)).tolist()
            rows.append([repr(float(temperature)), atom, symbol, *(repr(float(number)) for number in numbers)])
    return _table(header, rows)


def _numbers(columns: FloatArray) -> list[list[str]]:
    """Return rows of numbers that read back bit for bit; undefined ones are empty."""
    return [["" if value != value else repr(value) for value in row] for row in columns.tolist()]
