"""The verb: a planted answer is found, controls collapse, counts and warnings are right, files come back."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from phonograph.errors import DataError, InputFileError
from phonograph.explanation import GNNExplainerSettings, explain
from phonograph.explanation.masks import with_random_weights
from phonograph.files.results import load_explanation, save_explanation
from phonograph.graphs import build_graphs
from phonograph.streams import stream
from phonograph.testing import displaced
from phonograph.types import Explanation, Fitted, FloatArray, GraphSet, GraphSpec

FAST = GNNExplainerSettings()


@pytest.fixture(scope="module")
def explained(planted) -> dict[str, Explanation]:
    return {
        name: explain(fitted, planted.test, planted.reference, FAST, range(5)) for name, fitted in planted.fits.items()
    }


def line(explanation: Explanation, subject: str, share: float):
    return next(f for f in explanation.fidelity if (f.subject, f.kept_share) == (subject, share))


@pytest.mark.parametrize("name", ["Ag-S", "Ag-Br", "Ag-Ag"])
def test_the_planted_bonds_rank_first(explained, name: str) -> None:
    first, *others = explained[name].bonds
    assert (first.species_pair, first.shell) == (name, 0)
    runner_up = next(b for b in others if b.species_pair != name)
    assert first.importance > 2 * runner_up.importance
    assert first.share > 2 * first.count / len(explained[name].i)


@pytest.mark.parametrize("name", ["Ag-S", "Ag-Br", "Ag-Ag"])
def test_the_explanation_beats_random_masks_and_random_weights(explained, name: str) -> None:
    explanation = explained[name]
    for share in (0.25, 0.5):
        own, chance, untrained = (line(explanation, s, share) for s in ("explanation", "random_mask", "random_weights"))
        assert own.sufficiency < 0.7 * chance.sufficiency
        assert own.sufficiency < 0.7 * untrained.sufficiency
        assert own.necessity > 1.2 * max(chance.necessity, untrained.necessity)
        assert (own.n, chance.n, untrained.n) == (30, 600, 30)
    assert not [w for w in explanation.warnings if "random weights" in w or "at keeping only 25%" in w]
    assert explanation.stability > 0.8
    assert not [w for w in explanation.warnings if "unstable" in w]


def test_random_weights_explain_nothing_and_it_is_said(planted) -> None:
    fitted = planted.fits["Ag-S"]
    untrained = with_random_weights(fitted, 17)
    # The explanation of an untrained network, judged as if it were one of the trained network.
    control = explain(fitted, planted.test, planted.reference, Fixed(untrained), range(2), n_configurations=2)
    told = [w for w in control.warnings if "does not beat random masks" in w]
    assert len(told) >= 3
    assert "% of the random masks do as well" in told[0]
    first = control.bonds[0]
    planted_bond = next(b for b in control.bonds if (b.species_pair, b.shell) == ("Ag-S", 0))
    assert planted_bond.importance < 1.5 * first.importance


@dataclass(frozen=True)
class Fixed:
    """An explainer of one's own: it explains another network than it is asked about."""

    other: Fitted

    def importance(self, fitted: Fitted, graph: GraphSet, seed: int) -> FloatArray:
        return replace(FAST, removal="delete", epochs=50).importance(self.other, graph, seed)


@dataclass(frozen=True)
class Noise:
    """An explainer that draws lots, differently for the two directions."""

    def importance(self, fitted: Fitted, graph: GraphSet, seed: int) -> FloatArray:
        return stream(seed, graph.sample_ids[0]).random(len(graph.source))


def test_noise_is_called_unstable_and_no_better_than_chance(planted) -> None:
    explanation = explain(planted.fits["Ag-S"], planted.test, planted.reference, Noise(), range(4))
    assert abs(explanation.stability) < 0.1
    assert any("unstable: the median rank correlation between seeds is" in w for w in explanation.warnings)
    assert any("rests on 4 seeds" in w for w in explanation.warnings)
    assert sum("does not beat random masks" in w for w in explanation.warnings) >= 3


def test_consensus_is_mean_and_spread_of_symmetrised_runs(planted) -> None:
    graphs = planted.test
    explanation = explain(planted.fits["Ag-S"], graphs, planted.reference, Noise(), (1, 2), n_configurations=3)
    chosen = [graphs.select([k]) for k in (0, 20, 39)]  # evenly spread over 40
    runs: list[dict[tuple[int, ...], float]] = []
    for seed, graph in itertools.product((1, 2), chosen):
        values = Noise().importance(planted.fits["Ag-S"], graph, seed)
        edges = zip(graph.target.tolist(), graph.source.tolist(), graph.image.tolist(), values.tolist(), strict=True)
        runs.append({(t, s, *image): value for t, s, image, value in edges})
    order = {k: stream(1).permutation(len(explanation.i))[k] for k in range(20)}
    for edge in order.values():
        i, j, image = int(explanation.i[edge]), int(explanation.j[edge]), explanation.image[edge].tolist()
        both = [(run[i, j, *image] + run[j, i, *(-step for step in image)]) / 2 for run in runs]
        assert explanation.importance[edge] == pytest.approx(np.mean(both))
        assert explanation.importance_sd[edge] == pytest.approx(np.std(both, ddof=1))
    pairs = [[one_run(runs[a], explanation), one_run(runs[b], explanation)] for a, b in ((0, 3), (1, 4), (2, 5))]
    assert explanation.stability == pytest.approx(np.median([spearmanr(a, b)[0] for a, b in pairs]))


def one_run(run: dict[tuple[int, ...], float], explanation: Explanation) -> list[float]:
    keys = zip(explanation.i.tolist(), explanation.j.tolist(), explanation.image.tolist(), strict=True)
    return [(run[i, j, *image] + run[j, i, *(-step for step in image)]) / 2 for i, j, image in keys]


def test_the_table_is_complete_and_adds_up(explained, planted) -> None:
    explanation = explained["Ag-S"]
    assert len(explanation.i) == 424  # 848 directed edges within 5.2 Å
    assert (explanation.i <= explanation.j).all()
    assert sum(b.count for b in explanation.bonds) == 424
    assert sum(b.share for b in explanation.bonds) == pytest.approx(1.0)
    assert ((explanation.importance >= 0) & (explanation.importance <= 1)).all()
    for bond in explanation.bonds:
        names = np.array(explanation.species_pair)
        members = (names == bond.species_pair) & (explanation.shell == bond.shell)
        assert members.sum() == bond.count
        assert explanation.importance[members].mean() == pytest.approx(bond.importance)
        assert explanation.distance_A[members].mean() == pytest.approx(bond.distance_A)


@pytest.fixture(scope="module")
def thermal_case(planted, reference):
    """Really displaced supercells, in which bonds come and go across the cutoff."""
    graphs = build_graphs(displaced(reference, 12, 0.15, seed=3), GraphSpec(cutoff_A=5.5))
    fitted = planted.fits["Ag-S"]
    return replace(fitted, graph=graphs.spec, inputs=replace(fitted.inputs, distance_max_A=5.5)), graphs


def test_bonds_that_come_and_go_are_counted(thermal_case, reference) -> None:
    fitted, graphs = thermal_case
    explanation = explain(fitted, graphs, reference, GNNExplainerSettings(epochs=5), (1, 2), n_configurations=4)
    places = (0, 4, 7, 11)
    ideal = build_graphs(displaced(reference, 1, 0.0), graphs.spec)
    seen = [bonds(graphs.select([k])) for k in places]
    table = bonds(ideal)
    never = len([b for b in table if not any(b in s for s in seen)])
    sometimes = len([b for b in table if any(b in s for s in seen) and not all(b in s for s in seen)])
    extra = sum(len(s - table) for s in seen)
    assert never + sometimes > 50
    assert f"of 616 bonds of the reference, {sometimes} are missing from some" in " ".join(explanation.warnings)
    assert f"and {never} from all (left out)" in " ".join(explanation.warnings)
    assert f"{extra / 4:.1f} bonds per configuration are longer than the cutoff" in " ".join(explanation.warnings)
    assert len(explanation.i) == 616 - never
    found = zip(explanation.i.tolist(), explanation.j.tolist(), explanation.image.tolist(), strict=True)
    assert {(i, j, *image) for i, j, image in found} == {b for b in table if any(b in s for s in seen)}


def bonds(graph: GraphSet) -> set[tuple[int, ...]]:
    rows = zip(graph.target.tolist(), graph.source.tolist(), graph.image.tolist(), strict=True)
    found = set()
    for i, j, image in rows:
        back = tuple(-step for step in image)
        found.add((i, j, *image) if i < j or (i == j and tuple(image) > back) else (j, i, *back))
    return found


def test_a_rigid_shift_of_everything_changes_nothing(thermal_case, reference) -> None:
    fitted, graphs = thermal_case
    settings = GNNExplainerSettings(epochs=5)
    moved = replace(reference, positions_A=reference.positions_A + np.array([1.3, -0.4, 2.2]))
    first = explain(fitted, graphs, reference, settings, (1, 2))
    second = explain(fitted, graphs, moved, settings, (1, 2))
    assert np.allclose(first.importance, second.importance, atol=1e-6)
    assert [b.species_pair for b in first.bonds] == [b.species_pair for b in second.bonds]


def test_graphs_of_another_crystal_are_refused(thermal_case, reference, planted) -> None:
    fitted, graphs = thermal_case
    swapped = np.arange(len(reference))
    swapped[[0, 7]] = swapped[[7, 0]]
    same_species = replace(reference, positions_A=reference.positions_A[np.argsort(reference.numbers, kind="stable")])
    with pytest.raises(DataError, match="must keep the order of the atoms and must not be wrapped"):
        explain(fitted, graphs, replace(reference, positions_A=same_species.positions_A), FAST, (1, 2))
    with pytest.raises(DataError, match="none of the 12 graphs has the atoms of the reference crystal"):
        explain(fitted, graphs, replace(reference, numbers=np.full(40, 47)), FAST, (1, 2))
    with pytest.raises(DataError, match=r"trained on graphs with cutoff 5\.2"):
        explain(planted.fits["Ag-S"], graphs, reference, FAST, (1, 2))


def test_wrapped_positions_are_refused(thermal_case, reference) -> None:
    fitted, graphs = thermal_case
    configurations = displaced(reference, 1, 0.15, seed=3)
    cell = configurations.cells_A[0]
    wrapped = (configurations.positions_A @ np.linalg.inv(cell) % 1.0) @ cell
    again = build_graphs(replace(configurations, positions_A=wrapped), graphs.spec)
    with pytest.raises(DataError, match="must not be wrapped"):
        explain(fitted, again, reference, FAST, (1, 2))


def test_other_compositions_are_left_out_and_counted(thermal_case, reference) -> None:
    fitted, graphs = thermal_case
    numbers = np.array(graphs.numbers)
    numbers[: 2 * 40][numbers[: 2 * 40] == 35] = 53
    mixed = replace(graphs, numbers=numbers)
    explanation = explain(fitted, mixed, reference, GNNExplainerSettings(epochs=2), (1, 2))
    assert "2 graphs have other atoms than the reference crystal and are not explained" in explanation.warnings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": (1,)}, "at least two different seeds"),
        ({"seeds": (1, 1)}, "at least two different seeds"),
        ({"n_configurations": 0}, "must be at least 1; got 0 and 20"),
        ({"kept_shares": (0.0,)}, "kept_shares must lie between 0 and 1"),
    ],
)
def test_wrong_arguments_are_one_sentence(planted, changes, words: str) -> None:
    arguments = {"seeds": (1, 2), **changes}
    with pytest.raises(DataError, match=words):
        explain(planted.fits["Ag-S"], planted.test, planted.reference, FAST, **arguments)


@dataclass(frozen=True)
class Wrong:
    """An explainer that breaks its contract."""

    values: tuple[float, ...]

    def importance(self, fitted: Fitted, graph: GraphSet, seed: int) -> FloatArray:
        return np.resize(np.array(self.values), len(graph.source) - (len(self.values) == 2))


@pytest.mark.parametrize("values", [(1.5,), (float("nan"),), (-0.1,), (0.5, 0.5)])
def test_an_explainer_outside_its_contract_is_named(planted, values) -> None:
    with pytest.raises(DataError, match="must return 848 numbers in"):
        explain(planted.fits["Ag-S"], planted.test, planted.reference, Wrong(values), (1, 2))


def test_files_come_back(explained, tmp_path: Path) -> None:
    explanation = explained["Ag-Br"]
    save_explanation(explanation, tmp_path)
    header, first = (tmp_path / "edges.csv").read_text().splitlines()[:2]
    assert header == "i,j,image,distance_A,species_pair,shell,importance,importance_sd"
    assert first.split(",")[2] == " ".join(str(step) for step in explanation.image[0])
    again = load_explanation(tmp_path)
    for name in ("i", "j", "image", "distance_A", "shell", "importance", "importance_sd"):
        assert np.array_equal(getattr(again, name), getattr(explanation, name)), name
    assert repr(again.bonds) == repr(explanation.bonds)
    assert repr(again.fidelity) == repr(explanation.fidelity)
    assert (again.species_pair, again.stability) == (explanation.species_pair, explanation.stability)
    assert (again.model, again.target, again.warnings) == (explanation.model, explanation.target, explanation.warnings)
    assert np.array_equal(again.crystal.positions_A, explanation.crystal.positions_A)
    assert again.origin.settings["name"] == "GNNExplainerSettings"


def test_an_undefined_stability_survives(explained, tmp_path: Path) -> None:
    save_explanation(replace(explained["Ag-S"], stability=float("nan")), tmp_path)
    assert np.isnan(load_explanation(tmp_path).stability)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("edges.csv", ",Ag-S,", ",Ag-S", "edges.csv line"),
        ("edges.csv", "\n0,", "\n99,", "i and j must be atoms 0–39; got 99"),
        ("edges.csv", "0 0 0", "0 0", "image must be three whole numbers; got '0 0'"),
        ("edges.csv", "0 0 0", "0 x 0", "image must be three whole numbers"),
        ("explanation.json", '"stability":', '"stability": "high", "x":', "stability must be of type int or float"),
        ("explanation.json", '"numbers": [', '"numbers": [0,', "atomic numbers|numbers must have shape"),
        ("explanation.json", '"cell_A"', '"cell"', "cell_A must be of type list"),
        ("bonds.csv", "species_pair", "pair", "the header must be"),
    ],
)
def test_broken_files_are_one_sentence(explained, tmp_path: Path, name: str, old: str, new: str, words: str) -> None:
    save_explanation(explained["Ag-S"], tmp_path)
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputFileError, match=words):
        load_explanation(tmp_path)
