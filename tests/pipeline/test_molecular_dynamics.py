"""Molecular dynamics inside a run: goes on after a kill, is kept while its settings stay, and is never mixed up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phonograph.errors import UserError
from phonograph.files.phonons import load_phonons
from phonograph.pipeline import run

CONFIG = """
seed = 3
workers = 1
[crystal]
file = "POSCAR"
supercell = [2, 2, 2]
[phonons.forces]
engine = "emt"
check_displacement = false
[phonons.renormalisation]
route = "regression"
[phonons.molecular_dynamics]
temperature_K = 300.0
duration_ps = 0.5
equilibration_ps = 0.1
stride = 1
time_step_fs = 2.0
"""


def parts_of(folder: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path for path in sorted(folder.glob("1_phonons/molecular_dynamics/*/part-*"))
    }


@pytest.mark.slow
def test_a_killed_run_goes_on_and_settings_decide_what_is_reused(project: Path) -> None:
    config = project / "md.toml"
    config.write_text(CONFIG)
    run(config, project / "whole", upto="phonons")

    def dies(what: str, done: int, total: int) -> None:
        if "molecular dynamics" in what and done > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, project / "stopped", upto="phonons", progress=dies)
    assert len(parts_of(project / "stopped")) == 2  # the equilibration and the first hundred frames
    before = {name: path.stat().st_mtime_ns for name, path in parts_of(project / "stopped").items()}
    run(config, project / "stopped", upto="phonons")
    whole, again = parts_of(project / "whole"), parts_of(project / "stopped")
    assert list(whole) == list(again)
    assert all(again[name].stat().st_mtime_ns == time for name, time in before.items())
    for name, path in whole.items():
        with np.load(path) as one, np.load(again[name]) as other:
            assert set(one.files) == set(other.files)
            for key in one.files:
                np.testing.assert_array_equal(one[key], other[key])
    phonons = load_phonons(project / "stopped" / "1_phonons")
    assert phonons.method == "regression"
    assert phonons.temperature_K == 300.0

    # A longer run adds parts; another temperature starts its own folder; the old parts stay.
    longer = {name: path.stat().st_mtime_ns for name, path in again.items()}
    run(config, project / "stopped", upto="phonons", overrides=["phonons.molecular_dynamics.duration_ps=0.7"])
    grown = parts_of(project / "stopped")
    assert len(grown) == len(longer) + 1
    assert all(grown[name].stat().st_mtime_ns == time for name, time in longer.items())
    run(config, project / "stopped", upto="phonons", overrides=["phonons.molecular_dynamics.temperature_K=200"])
    assert len({Path(name).parent for name in parts_of(project / "stopped")}) == 2
    assert load_phonons(project / "stopped" / "1_phonons").temperature_K == 200.0


def test_a_trajectory_file_is_read_with_what_the_configuration_says(project: Path) -> None:
    (project / "md.toml").write_text(CONFIG)
    run(project / "md.toml", project / "run", upto="phonons")
    folder = next(iter((project / "run" / "1_phonons" / "molecular_dynamics").iterdir()))
    table = f'[phonons.trajectory]\nfile = "{folder}"\n'
    (project / "file.toml").write_text(CONFIG.split("[phonons.molecular_dynamics]")[0] + table)
    run(project / "file.toml", project / "file", upto="phonons")
    one, other = (load_phonons(project / name / "1_phonons") for name in ("run", "file"))
    np.testing.assert_array_equal(one.frequencies_THz, other.frequencies_THz)
    overrides = ["phonons.renormalisation.route=mode-projection"]
    with pytest.raises(UserError, match="too short for the line fit"):
        run(project / "file.toml", project / "short", upto="phonons", overrides=overrides)
