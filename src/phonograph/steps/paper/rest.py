"""Energy of every configuration above that of its atoms at rest, for Figure 3."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from phonograph.errors import UserError
from phonograph.labels import ChgnetLabeller, label, open_store
from phonograph.steps.context import Context
from phonograph.steps.paper.data import PHONON, RANDOM, PaperData
from phonograph.steps.paper.networks import at_rest
from phonograph.steps.paper.shelf import FOLDER
from phonograph.types import Configurations, Crystal, FloatArray, IntArray

ENERGY = "energy_eV_per_atom"
STORE = "at-rest.sqlite"
MOST = 400
"""Different arrangements of atoms that are labelled at rest; with more, energies are taken from the lowest."""


def energies_above_rest(context: Context, data: PaperData) -> tuple[dict[str, FloatArray], str]:
    """Return part → energy above rest, eV/atom, shape (n,), and how the energies at rest were obtained.

    Where CHGNet gave the energies it also labels the atoms at rest, each arrangement once; where another engine did,
    or none is at hand, the lowest energy of the same composition takes their place.
    """
    sets = {role: data.set_of(role) for role in (PHONON, RANDOM)}
    found = {role: data.labels.aligned(ENERGY, item.ids) for role, item in sets.items()}
    engine = data.labels.column(ENERGY).engine.lower()
    if "chgnet" in engine:
        try:
            rest = _labelled(context, sets)
            return {role: found[role] - rest[role] for role in sets}, "atoms at rest labelled by CHGNet as well"
        except UserError as error:
            context.say(f"fig3: energies at rest cannot be labelled ({error}); the lowest energies take their place")
    return _above_lowest(sets, found), "above the lowest energy of the same composition"


def failed_at_rest(context: Context) -> tuple[tuple[str, str], ...]:
    """Return (arrangement, class of failure) of the labels at rest that failed; nothing where none were made."""
    path = context.folder.path / FOLDER / STORE
    if not path.is_file():
        return ()
    with open_store(path) as store:
        return tuple((str(place), one.result.failure) for place, one in enumerate(store.labels()) if one.result.failure)


def _labelled(context: Context, sets: dict[str, Configurations]) -> dict[str, FloatArray]:
    keys: dict[bytes, int] = {}
    crystals: list[Crystal] = []
    places: dict[str, IntArray] = {}
    for role, item in sets.items():
        own = []
        for place in range(len(item)):
            crystal = at_rest(item, place)
            sites = np.round(crystal.positions_A @ np.linalg.inv(crystal.cell_A), 6) + 0.0
            key = crystal.numbers.tobytes() + np.round(crystal.cell_A, 6).tobytes() + sites.tobytes()
            if key not in keys:
                keys[key] = len(crystals)
                crystals.append(replace(crystal, positions_A=sites @ crystal.cell_A))
            own.append(keys[key])
        places[role] = np.array(own)
    if len(crystals) > MOST:
        raise UserError(f"{len(crystals)} arrangements, at most {MOST} are labelled")
    rest = Configurations.of_crystals("at-rest", crystals, [str(place) for place in range(len(crystals))])
    labels = label(
        [rest],
        [ChgnetLabeller()],
        context.folder.path / FOLDER / STORE,
        workers=context.workers,
        retry_failed=context.retry_failed,
        progress=context.progress,
    )
    energies = labels.column(ENERGY).values
    return {role: energies[own] for role, own in places.items()}


def _above_lowest(sets: dict[str, Configurations], energies: dict[str, FloatArray]) -> dict[str, FloatArray]:
    compositions = {
        role: [
            np.sort(item.numbers[item.offsets[place] : item.offsets[place + 1]]).tobytes() for place in range(len(item))
        ]
        for role, item in sets.items()
    }
    lowest: dict[bytes, float] = {}
    for role, names in compositions.items():
        for name, energy in zip(names, energies[role], strict=True):
            if np.isfinite(energy):
                lowest[name] = min(lowest.get(name, np.inf), float(energy))
    return {
        role: energies[role] - np.array([lowest.get(name, np.nan) for name in names])
        for role, names in compositions.items()
    }
