"""Phonons at the temperatures of sets and curve: made once, kept beside room 1's, made again when room 1 changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from phonograph.config_files import read_config
from phonograph.errors import ConfigurationError
from phonograph.files.phonons import load_phonons
from phonograph.phonons import CalculatorForces, compute_phonons
from phonograph.pipeline import run
from phonograph.steps import phonons, renormalised
from phonograph.testing import fcc

CONFIG = """
seed = 3
workers = 1
[crystal]
file = "POSCAR"
supercell = [2, 2, 2]
[phonons.forces]
engine = "emt"
[phonons.renormalisation]
temperature_K = 200.0
pairs_per_round = 6
max_rounds = 3
[[sampling.sets]]
name = "own"
n = 8
sampler = "thermal"
temperature_K = 200.0
soft_modes = "renormalise"
[[sampling.sets]]
name = "hot"
n = 8
sampler = "signs"
temperature_K = 400.0
soft_modes = "renormalise"
[[sampling.sets]]
name = "hot-sobol"
n = 8
sampler = "sobol"
temperature_K = 400.0
soft_modes = "renormalise"
"""


@pytest.fixture
def made(project: Path, monkeypatch, request) -> list[float]:
    """The project with sets at two temperatures; the temperatures that were renormalised for them, in order.

    Where not asked for the genuine ones, phonons are harmonic ones that name the temperature asked for.
    """
    (project / "sets.toml").write_text(CONFIG)
    asked: list[float] = []
    genuine = renormalised.phonons_at

    def counted(context, crystal, temperature_K=None):
        asked.append(temperature_K)
        if getattr(request, "param", "") == "genuine":
            return genuine(context, crystal, temperature_K)
        return replace(harmonic(), temperature_K=temperature_K)

    monkeypatch.setattr(renormalised, "phonons_at", counted)
    if getattr(request, "param", "") != "genuine":
        monkeypatch.setattr(phonons, "phonons_at", lambda *_: replace(harmonic(), temperature_K=200.0))
    return asked


@cache
def harmonic():
    """Aluminium of the project's structure file, harmonic."""
    return compute_phonons(fcc("Al", 4.05), CalculatorForces(engine="emt"), (2, 2, 2), workers=1)


@pytest.mark.parametrize("made", ["genuine"], indirect=True)
def test_each_temperature_is_renormalised_once_and_its_own_law_is_certified(project, made):
    result = run(project / "sets.toml", project / "run", upto="sampling")
    assert made == [400.0], "two sets of 400 K need one renormalisation, the set of room 1's temperature none"
    kept = load_phonons(project / "run" / "1_phonons" / "at_400K")
    assert kept.temperature_K == 400.0
    assert (project / "run" / "1_phonons" / "at_400K" / "phonopy.yaml").is_file()
    for statistics in result.certificates:
        assert any(check.name.startswith("harmonic") for check in statistics.checks)
        assert all(check.passed for check in statistics.checks)
    # Another set list makes room 2 again, but no phonons, and room 1 still counts as finished.
    (project / "sets.toml").write_text(CONFIG.replace("n = 8", "n = 4"))
    said: list[str] = []
    run(project / "sets.toml", project / "run", upto="sampling", say=said.append)
    assert made == [400.0]
    assert "phonons: unchanged" in said


def test_a_change_of_room_1_or_a_damaged_file_makes_them_again(project, made):
    run(project / "sets.toml", project / "run", upto="sampling")
    (project / "sets.toml").write_text(CONFIG.replace("pairs_per_round = 6", "pairs_per_round = 7"))
    run(project / "sets.toml", project / "run", upto="sampling")
    assert made == [400.0, 400.0]
    (project / "run" / "1_phonons" / "at_400K" / "frequencies.csv").unlink()
    (project / "sets.toml").write_text(
        CONFIG.replace("pairs_per_round = 6", "pairs_per_round = 7").replace("n = 8", "n = 2")
    )
    run(project / "sets.toml", project / "run", upto="sampling")
    assert made == [400.0, 400.0, 400.0]


def test_temperatures_that_were_done_survive_a_run_that_dies(project, made, monkeypatch):
    text = CONFIG.replace('name = "hot-sobol"\nn = 8\nsampler = "sobol"\ntemperature_K = 400.0', "X")
    text = text.replace("X", 'name = "hotter"\nn = 8\nsampler = "sobol"\ntemperature_K = 500.0')
    (project / "sets.toml").write_text(text)
    counted = renormalised.phonons_at

    def dies(context, crystal, temperature_K=None):
        if temperature_K == 500.0:
            raise KeyboardInterrupt
        return counted(context, crystal, temperature_K)

    monkeypatch.setattr(renormalised, "phonons_at", dies)
    with pytest.raises(KeyboardInterrupt):
        run(project / "sets.toml", project / "run", upto="sampling")
    monkeypatch.setattr(renormalised, "phonons_at", counted)
    run(project / "sets.toml", project / "run", upto="sampling")
    assert made == [400.0, 500.0]


def test_the_policy_without_a_way_to_renormalise_is_one_sentence(project):
    start, stop = CONFIG.index("[phonons.renormalisation]"), CONFIG.index("[[sampling.sets]]")
    (project / "sets.toml").write_text(CONFIG[:start] + CONFIG[stop:])
    with pytest.raises(ConfigurationError, match=r"'own' has soft_modes = \"renormalise\", which needs a \[phonons"):
        read_config(project / "sets.toml")
