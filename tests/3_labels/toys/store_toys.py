"""Labels for the tests of the store: arrays, failures, remedies, two engines; made without any engine."""

from __future__ import annotations

import json

import numpy as np
from label_toys import copper

from phonograph.labels.attempts import Attempt
from phonograph.labels.failures import failure
from phonograph.labels.task import Calculation, calculation_key, canonical_json, structure_bytes
from phonograph.types import Configurations, LabelResult

ENERGY, GAP, POLARISABILITY = "energy_eV_per_atom", "band_gap_eV", "polarisability_A3"


def calculation_of(engine: str, provides: tuple[str, ...], arrays: tuple[str, ...] = (), cores: int = 1) -> Calculation:
    settings = canonical_json({"cutoff_eV": 250.0})
    return Calculation(
        task=json.dumps({"class": "toys:Engine", "settings": {"cutoff_eV": 250.0}}),
        engine=engine,
        settings=settings,
        provides=provides,
        key=calculation_key("Engine", engine, settings, provides, arrays),
        arrays=arrays,
        cores=cores,
    )


FORCES = calculation_of(
    "toy 1.0 DFT", (ENERGY, GAP), ("forces_eV_per_A", "stress_GPa", "charges_e", "eigenvalues_eV"), cores=4
)
PLAIN = calculation_of("toy 2.0 cheap", (ENERGY, POLARISABILITY))
"""Two engines for the same energy; one with arrays, one with a property of its own."""


def success(seed: int, c: Calculation, atoms: int = 4, message: str = "") -> LabelResult:
    rng = np.random.default_rng(seed)
    shapes = {"forces_eV_per_A": (atoms, 3), "stress_GPa": (3, 3), "charges_e": (atoms,), "eigenvalues_eV": (1, 2, 5)}
    values = {name: float(rng.normal()) for name in c.provides}
    if GAP in values:
        values[GAP] = 0.0 if seed == 1 else abs(values[GAP])
    return LabelResult(
        values=values,
        arrays={name: rng.normal(size=shapes[name]) for name in c.arrays},
        message=message,
        seconds=0.5 + seed,
    )


def attempt(structure, c: Calculation, result: LabelResult, **more) -> Attempt:
    return Attempt(structure=structure, calculation=c, result=result, cores=c.cores, **{"host": "node-7", **more})


def story(sets: Configurations) -> list[Attempt]:
    """Attempts at every structure: sound ones, one after a remedy, a failure of each kind, and passing ones."""
    structures = [structure_bytes(crystal) for crystal in sets.crystals()]
    made = []
    for seed, s in enumerate(structures):
        atoms = len(s.numbers) // 4
        if seed == 2:
            made.append(attempt(s, FORCES, failure("not_converged", "after 50 steps"), final=False, log="step 50\nno"))
            made.append(attempt(s, FORCES, success(seed, FORCES, atoms, "attempt 2, mixing 0.1")))
        elif seed == 3:
            made.append(attempt(s, FORCES, failure("crashed", "exit code 139"), log="a\nb\nPoints: Å"))
        elif seed == 4:
            made.append(attempt(s, FORCES, failure("waiting", "files are written"), final=True))
        else:
            made.append(attempt(s, FORCES, success(seed, FORCES, atoms)))
        made.append(attempt(s, PLAIN, success(100 + seed, PLAIN, atoms)))
    return made


def six(name: str = "toy") -> Configurations:
    return copper(6, name)
