"""Phonons at further temperatures, made once per run and kept beside room 1's."""

from __future__ import annotations

from pathlib import Path

from phonograph.errors import ConfigurationError
from phonograph.files.phonons import load_phonons, save_phonons
from phonograph.files.structures import read_structure
from phonograph.sampling.soft_modes import HarmonicOptions, renormalised_at
from phonograph.steps.context import Context
from phonograph.steps.phonons import phonons_at
from phonograph.types import Phonons, Sampler


def phonons_at_temperature(context: Context, phonons: Phonons, temperature_K: float) -> Phonons:
    """Return room 1's phonons if they are of ``temperature_K``, else those of ``RUN/1_phonons/at_<T>K/``.

    A temperature is renormalised when it is first asked for and saved when it is done; it is made again when the
    structure, the settings or the code of room 1 change.

    Raises
    ------
    ConfigurationError
        Where the force constants come from a trajectory file, which is of one temperature.
    """
    if renormalised_at(phonons, temperature_K):
        return phonons
    route = context.config.phonons.route
    if context.config.phonons.trajectory is not None and route not in ("", "self-consistent"):
        raise ConfigurationError(
            f"phonons at {temperature_K:g} K need a trajectory of that temperature, which the file of "
            f"[phonons.trajectory] does not hold; use [phonons.molecular_dynamics], or set temperature_K to its own"
        )

    def make(folder: Path) -> Phonons:
        made = phonons_at(context, read_structure(context.config.path(context.config.crystal.file)), temperature_K)
        save_phonons(made, folder)
        return made

    return context.folder.part("phonons", f"at_{temperature_K:.10g}K", make=make, load=load_phonons)


def phonons_of_law(context: Context, phonons: Phonons, sampler: Sampler) -> Phonons:
    """Return the phonons that a law samples: its own temperature's under the soft-mode policy ``"renormalise"``."""
    if isinstance(sampler, HarmonicOptions) and sampler.soft_modes == "renormalise":
        return phonons_at_temperature(context, phonons, sampler.temperature_K)
    return phonons
