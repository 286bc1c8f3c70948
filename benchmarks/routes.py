"""Three routes to phonons at temperature, side by side: Ag3SBr and Ag3SI with CHGNet at 200, 300, 400 and 600 K.

python benchmarks/routes.py -o runs/routes                     everything, resumable; prints the table, writes JSON
python benchmarks/routes.py -o runs/routes --stages loop       only the self-consistent loops
python benchmarks/routes.py -o runs/routes --stages table      only the table, of what is there

Stages: harmonic (finite displacements), loop (self-consistent, classical; quantum at 300 K as well), dynamics
(molecular dynamics, 18 ps), table (mode projection and regression of that trajectory, and all of them compared).
A loop takes one to five minutes on an idle core, a trajectory about seven; the stage table takes the trajectories of
benchmarks/data/dynamics where the output has none, so that --stages harmonic loop table needs no new dynamics.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import phonograph as pg
from phonograph.files.phonons import load_phonons, save_phonons
from phonograph.files.trajectories import load_part
from phonograph.lattice import covariance, free_energy, mode_variance, normal_modes
from phonograph.phonons.routes import kinetic_temperature
from phonograph.steps.phonons import continued
from phonograph.testing import cubic_antiperovskite
from phonograph.types import (
    Crystal,
    ForceConstants,
    Phonons,
    Trajectory,
    displacements,
    join_trajectories,
    matched,
)

LATTICES_A = {"Ag3SBr": 4.90, "Ag3SI": 4.98}
TEMPERATURES_K = (200.0, 300.0, 400.0, 600.0)
QUANTUM_AT_K = 300.0
STAGES = ("harmonic", "loop", "dynamics", "table")
RESULTS = Path(__file__).parent / "results" / "routes.json"
SHIPPED = Path(__file__).parent / "data" / "dynamics"
"""The trajectories of the table, in single precision; those that the stage dynamics leaves in the output come first."""


def crystal_of(name: str) -> Crystal:
    made = cubic_antiperovskite(LATTICES_A[name])
    numbers = np.where(made.numbers == 35, 53, made.numbers) if name == "Ag3SI" else made.numbers
    # A new crystal, not a changed one: masses follow the elements.
    return Crystal(cell_A=made.cell_A, positions_A=made.positions_A, numbers=numbers, title=name)


def finished(folder: Path) -> Phonons | None:
    return load_phonons(folder) if (folder / "phonons.json").is_file() else None


def harmonic(output: Path, name: str) -> Phonons:
    folder = output / name / "harmonic"
    found = finished(folder)
    if found is None:
        found = pg.compute_phonons(crystal_of(name), pg.CalculatorForces(), (2, 2, 2))
        save_phonons(found, folder)
    return found


def loop(output: Path, name: str, temperature_K: float, statistics: str) -> Phonons:
    folder = output / f"{name}-{temperature_K:g}K" / f"loop-{statistics}"
    found = finished(folder)
    if found is None:
        start = harmonic(output, name).force_constants
        settings = pg.Renormalisation(temperature_K=temperature_K, statistics=statistics)
        started = time.perf_counter()
        found = pg.compute_phonons(
            crystal_of(name), pg.CalculatorForces(), force_constants=start, renormalisation=settings
        )
        save_phonons(found, folder)
        tell(
            f"{folder}: {len(found.rounds)} rounds, converged {found.converged}, {time.perf_counter() - started:.0f} s"
        )
    return found


def dynamics(output: Path, name: str, temperature_K: float) -> None:
    """Run molecular dynamics part by part; a killed run goes on from the last part."""
    folder = output / f"{name}-{temperature_K:g}K" / "md"
    supercell, seed = harmonic(output, name).supercell, list(LATTICES_A).index(name)
    made = continued(folder, supercell, pg.CalculatorForces(), dynamics_settings(temperature_K), seed=seed)
    tell(f"{folder}: {len(made)} frames")


def dynamics_settings(temperature_K: float) -> pg.MolecularDynamics:
    return pg.MolecularDynamics(
        temperature_K=temperature_K, time_step_fs=3.0, duration_ps=18.0, equilibration_ps=1.5, stride=5
    )


def trajectory_of(output: Path, name: str, temperature_K: float) -> Trajectory | None:
    """Return the trajectory once all of it is there."""
    case = f"{name}-{temperature_K:g}K"
    folder = output / case / "md" if (output / case / "md").is_dir() else SHIPPED / case
    parts = []
    while (found := load_part(folder, len(parts))) is not None:
        parts.append(found[0])
    frames = [part for part in parts if part is not None]
    wanted = dynamics_settings(temperature_K).frames
    return join_trajectories(frames) if sum(map(len, frames)) >= wanted else None


def table(output: Path, cases: list[tuple[str, float]]) -> None:
    """Compare what is there, print it, and write it to ``results/routes.json``."""
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    tell(f"{'case':14} {'route':26} {'lowest (THz)':>14} {'mean':>6} {'Ag rms (Å)':>10} {'F (meV/atom)':>12}  notes")
    for name, temperature in cases:
        case = f"{name}-{temperature:g}K"
        trajectory = trajectory_of(output, name, temperature)
        if trajectory is None:
            tell(f"{case:14} the trajectory is not finished")
            continue
        found[case] = compared(output, name, temperature, trajectory)
        show(case, found[case])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def compared(output: Path, name: str, temperature_K: float, trajectory: Trajectory) -> dict[str, Any]:
    """Return every route's numbers for one crystal and temperature, and the differences between routes."""
    bare = harmonic(output, name).force_constants
    routes = {"loop": loop(output, name, temperature_K, "classical")}
    if temperature_K == QUANTUM_AT_K:
        routes["loop, quantum"] = loop(output, name, temperature_K, "quantum")
    case: dict[str, Any] = {"routes": {}, "differences": {}}
    try:
        routes["regression"] = by_trajectory(bare, pg.ForceRegression(), trajectory)
        routes["projection, harmonic modes"] = by_trajectory(bare, pg.ModeProjection(), trajectory)
        own = dataclasses.replace(bare, values_eV_per_A2=routes["regression"].force_constants.values_eV_per_A2)
        routes["projection, own modes"] = by_trajectory(own, pg.ModeProjection(), trajectory)
        case["trajectory"] = motion(trajectory, bare.supercell)
    except pg.UserError as error:
        case["refused"] = str(error)
    for label, phonons in routes.items():
        case["routes"][label] = numbers(phonons, temperature_K)
    classical = [label for label in routes if "quantum" not in label]
    for one, other in itertools.combinations(classical, 2):
        case["differences"][f"{one} − {other}"] = difference(routes[one], routes[other])
    return case


def by_trajectory(start: ForceConstants, route: Any, trajectory: Trajectory) -> Phonons:
    return pg.compute_phonons(start.unitcell, force_constants=start, renormalisation=route, trajectory=trajectory)


def numbers(phonons: Phonons, temperature_K: float) -> dict[str, Any]:
    """Return lowest and mean frequency, rms displacement of Ag, free energy and width of one route."""
    statistics = "quantum" if phonons.origin.settings["measured"]["statistics"] == "quantum" else "classical"
    atoms = len(phonons.supercell)
    positive = bool(phonons.frequencies_THz[0] > 0)
    energy = free_energy(phonons.frequencies_THz, temperature_K, statistics) / atoms if positive else None
    if phonons.rounds:
        energy = phonons.rounds[-1].free_energy_eV_per_atom
    widths, errors = phonons.line_widths_THz, phonons.line_width_errors_THz
    measured = widths is not None and np.isfinite(errors)
    return {
        "lowest_THz": float(phonons.frequencies_THz[0]),
        "lowest_error_THz": float(phonons.frequency_error_THz[0]),
        "mean_THz": float(phonons.frequencies_THz.mean()),
        "rms_error_THz": float(np.sqrt(np.mean(phonons.frequency_error_THz**2))),
        "mean_width_THz": float(widths[measured].mean()) if widths is not None else None,
        "silver_rms_A": silver_of(phonons, temperature_K, statistics) if positive else None,
        "free_energy_eV_per_atom": energy,
        "free_energy_error_eV_per_atom": phonons.rounds[-1].free_energy_error_eV_per_atom if phonons.rounds else None,
        "converged": phonons.converged,
        "rounds": len(phonons.rounds),
        "measured": dict(phonons.origin.settings["measured"]),
        "warnings": [text for text in phonons.warnings if "mesh" not in text],
    }


def silver_of(phonons: Phonons, temperature_K: float, statistics: str) -> float:
    """Return the rms displacement of Ag along an axis that these force constants give, Å."""
    modes = normal_modes(phonons.force_constants.values_eV_per_A2, phonons.supercell.masses_amu)
    variances = np.diag(covariance(modes, mode_variance(modes.frequencies_THz, temperature_K, statistics)))
    return float(np.sqrt(variances.reshape(-1, 3)[phonons.supercell.numbers == 47].mean()))


def motion(trajectory: Trajectory, supercell: Crystal) -> dict[str, float]:
    """Return what the atoms did: rms displacements, kinetic temperature, and Ag atoms that left their sites."""
    own = matched(trajectory, supercell)
    moved = displacements(own, supercell)
    silver = moved[:, supercell.numbers == 47]
    blocks = np.array([np.sqrt((block**2).mean()) for block in np.array_split(silver, 5)])
    # Ag sits half an edge of the cubic cell (a quarter of the supercell's) from its two nearest S.
    half = 0.125 * float(np.linalg.norm(supercell.cell_A[0]))
    return {
        "silver_rms_A": float(np.sqrt((silver**2).mean())),
        "silver_rms_error_A": float(blocks.std(ddof=1) / np.sqrt(len(blocks))),
        "silver_beyond_half_bond": int((np.linalg.norm(silver, axis=2) > half).any(axis=0).sum()),
        "silver_gone_at_end": int((np.linalg.norm(silver[-100:].mean(axis=0), axis=1) > 2 * half).sum()),
        "temperature_K": float(kinetic_temperature(own) or float("nan")),
    }


def difference(one: Phonons, other: Phonons) -> dict[str, float]:
    """Return mean and rms difference of all frequencies, and the rms in units of the combined error."""
    apart = one.frequencies_THz - other.frequencies_THz
    error = np.hypot(one.frequency_error_THz, other.frequency_error_THz)
    return {
        "mean_THz": float(apart.mean()),
        "rms_THz": float(np.sqrt(np.mean(apart**2))),
        "rms_in_errors": float(np.sqrt(np.mean((apart / error) ** 2))),
        "median_in_errors": float(np.median(np.abs(apart / error))),
    }


def show(case: str, found: dict[str, Any]) -> None:
    for label, row in found["routes"].items():
        silver = f"{row['silver_rms_A']:.3f}" if row["silver_rms_A"] is not None else "-"
        energy = row["free_energy_eV_per_atom"]
        shown = f"{1000 * energy:.1f}" if energy is not None else "-"
        notes = f"converged {row['converged']} in {row['rounds']} rounds" if row["rounds"] else ""
        notes += f"mean width {row['mean_width_THz']:.2f} THz" if row["mean_width_THz"] is not None else ""
        notes += f"anharmonicity {row['measured']['fitted_anharmonicity']:.2f}" if label == "regression" else ""
        lowest = f"{row['lowest_THz']:.2f} ± {row['lowest_error_THz']:.2f}"
        tell(f"{case:14} {label:26} {lowest:>14} {row['mean_THz']:6.2f} {silver:>10} {shown:>12}  {notes}")
    for label, row in found["differences"].items():
        tell(f"{'':14} {label}: rms {row['rms_THz']:.2f} THz, {row['rms_in_errors']:.1f} errors")
    tell(f"{'':14} {found.get('refused') or found['trajectory']}")


def tell(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/routes"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--names", nargs="+", choices=tuple(LATTICES_A), default=tuple(LATTICES_A))
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES_K)
    options = parser.parse_args()
    cases = [(name, temperature) for temperature in options.temperatures for name in options.names]
    if "harmonic" in options.stages:
        for name in options.names:
            harmonic(options.output, name)
    if "loop" in options.stages:
        for name, temperature in cases:
            for statistics in ("classical", "quantum")[: 1 + (temperature == QUANTUM_AT_K)]:
                loop(options.output, name, temperature, statistics)
    if "dynamics" in options.stages:
        for name, temperature in cases:
            dynamics(options.output, name, temperature)
    if "table" in options.stages:
        table(options.output, cases)


if __name__ == "__main__":
    main()
