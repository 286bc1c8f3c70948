"""Make a bundle of the present schema, and what it must predict for ever.

    PYTHONPATH=src python tests/5_training/bundles/make_bundle.py FOLDER

Run once per schema version, with the release that made it (schema 1: commit e26ed58); the files are kept for ever and
never made again.  The predictions are hexadecimal floats; they are of ``structures()`` below, which must not change.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import phonograph as pg


def structures() -> pg.Configurations:
    """Twenty-four cells of five atoms whose coordinates are made by arithmetic alone."""
    cell = 4.9
    sites = cell * np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]])
    crystals = []
    for sample in range(24):
        steps = (np.arange(15) * 37 + sample * 101) % 64  # 0 to 63
        moves = (0.05 + 0.01 * sample) * (steps.reshape(5, 3) / 32 - 1)
        numbers = np.array([47, 47, 47, 16, 35 if sample % 2 else 53])
        crystals.append(pg.Crystal(cell_A=cell * np.eye(3), positions_A=sites + moves, numbers=numbers))
    return pg.Configurations.of_crystals("stored", crystals, [f"stored-{sample}" for sample in range(24)])


def main(folder: Path) -> None:
    """Train small networks with each law of the edges and one of two targets; write bundles and predictions."""
    graphs = pg.build_graphs(structures(), pg.GraphSpec(cutoff_A=5.0))
    owner = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_offsets))
    values = np.bincount(owner, np.cos(graphs.distance_A), len(graphs))
    split = pg.make_split(graphs.sample_ids, graphs.groups, seed=1)
    made = {}
    for name, output, law in (
        ("paper", "sigmoid", "minmax"),
        ("default", "linear", "cosine"),
        ("radial", "linear", "radial"),
    ):
        model = pg.GraphConvNet(convolutions=2, hidden_channels=8, output=output, dropout=0.1)
        settings = pg.TrainingSettings(epochs=4, batch_size=8, edge_law=law)
        made[name] = pg.fit(graphs, values, split, model, settings, target="band_gap_eV", trained_on="stored", seed=3)
    both = np.stack([values, values**2], axis=1)
    targets = ("band_gap_eV", "vbm_eV")
    made["joint"] = pg.fit_joint(graphs, both, split, model, settings, targets=targets, units=("eV", "eV"), seed=3)[1]
    expected = {}
    for name, fitted in made.items():
        pg.save_bundle(fitted, folder / name)
        expected[name] = [value.hex() for value in pg.predict(fitted, graphs).tolist()]
    (folder / "predictions.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
