"""Numbers in the report: how they are written, and that they equal a second, plain computation."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from make_material import A, make_explanation, make_metrics, supercell, unit_cell

from phonograph.report import palette, scenes, scores, words
from phonograph.report.distributions import outlines_chart
from phonograph.report.material import ReportMaterial, displacements, rms_displacement
from phonograph.report.scores import Case, best_collection, main_scope, pearson, pooled, score
from phonograph.report.sections.closing import _linked, _toml, engine_limit
from phonograph.report.sections.labels import failure_class
from phonograph.report.sections.sampling import bond_lengths, first_shells
from phonograph.report.sections.structure import density, lattice_parameters, space_group, structure
from phonograph.report.sections.thermal import at_temperature, total_error
from phonograph.report.svg import Chart, Scale, data_range, log_range, px
from phonograph.types import Configurations, Crystal, Evaluation, Metric


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0.0, 3, "0"),
        (1.23456, 3, "1.23"),
        (-0.001234, 3, "−0.00123"),
        (123456.0, 3, "123456"),
        (1.5e-7, 2, "1.5·10⁻⁷"),
        (-2.5e12, 2, "−2.5·10¹²"),
        (float("nan"), 3, "–"),
        (float("inf"), 3, "–"),
    ],
)
def test_number(value, digits, expected):
    assert words.number(value, digits) == expected


@pytest.mark.parametrize(
    ("error", "decimals"),
    [(0.0354, 3), (0.0355, 2), (0.0949, 2), (0.0950, 2), (0.12, 2), (7.6, 0), (1.2, 1), (132.0, 0), (float("nan"), 3)],
)
def test_errors_are_written_by_the_rule_of_the_particle_data_group(error, decimals):
    assert words.decimals_of(error) == decimals


def test_value_and_error_have_the_same_decimals():
    assert words.plus_minus(1.0321, 0.1201) == "1.03 ± 0.12"
    assert words.plus_minus(-0.52489, 0.0097) == "−0.525 ± 0.010"
    assert words.plus_minus(0.5, float("nan")) == "0.500"
    assert words.fixed(-0.0001, 2) == "0.00"


def test_small_words():
    assert words.percent(0.123) == "12 %"
    assert words.percent(0.0123) == "1.2 %"
    assert words.percent(0.0) == "0 %"
    assert words.plural(1, "seed") == "1 seed"
    assert words.plural(12345, "label") == "12\u202f345 labels"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.formula_markup("Ag3SBr") == "Ag<sub>3</sub>SBr"
    assert words.space_group_markup("Pm-3m") == '<i>Pm<span class="over">3</span>m</i>'
    assert words.point_label("$\\Gamma$") == words.point_label("GAMMA") == "Γ"
    assert words.error_unit("eV", [0.02, 0.4]) == (1000.0, "meV")
    assert words.error_unit("eV", [0.02, 0.6]) == (1.0, "eV")
    assert words.error_unit("GPa", [0.02]) == (1.0, "GPa")
    assert words.axis_label("band_gap_eV", "") == "band gap (eV)"
    assert words.axis_label("bulk_modulus", "GPa") == "bulk_modulus (GPa)"


def test_scale_maps_ends_and_decades():
    scale = Scale(1.0, 100.0, 0.0, 200.0, logarithmic=True)
    assert scale([1, 10, 100]) == pytest.approx([0, 100, 200])
    assert Scale(-1.0, 1.0, 10.0, 0.0).at(0.0) == 5.0


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.412, -3.361), (0.93, 1.33), (-150.0, 8123.0), (0.0, 117.0)])
def test_ticks_are_round_inside_and_told_apart(low, high):
    ticks = Scale(low, high, 0, 1).ticks()
    values = np.array([value for value, _ in ticks])
    steps = np.diff(values)
    assert 3 <= len(ticks) <= 9
    assert values.min() >= low - 1e-9 * (high - low)
    assert values.max() <= high + 1e-9 * (high - low)
    assert steps == pytest.approx(steps[0])
    assert len({label for _, label in ticks}) == len(ticks)
    for value, label in ticks:
        assert float(label.replace("−", "-")) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(("low", "high"), [(0.004, 0.07), (0.5, 0.9), (1e-6, 3.0), (2.0, 30.0)])
def test_logarithmic_ticks(low, high):
    ticks = Scale(low, high, 0, 1, logarithmic=True).ticks()
    assert ticks
    assert all(low * 0.99 <= value <= high * 1.01 for value, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


def test_ranges_take_what_is_finite():
    assert data_range([np.nan, 1.0, 3.0], pad=0.5) == (0.0, 4.0)
    assert data_range([np.nan]) == (0.0, 1.0)
    low, high = data_range([2.0, 2.0])
    assert low < 2.0 < high
    assert log_range([0.0, -1.0, 1.0, 10.0]) == pytest.approx((1 / 1.15, 11.5))
    assert log_range([0.0]) == (0.1, 1.0)
    assert px(-0.01) == "0"


def test_lines_break_at_holes():
    chart = Chart(x=(0, 4), y=(0, 1), x_label="", y_label="")
    chart.line([0, 1, 2, 3, 4], [0, 1, np.nan, 1, 0], "#000")
    assert chart.render("").count("M") >= 2
    path = str(chart._marks[0])
    assert path.count("M") == 2
    assert "nan" not in path


def test_colours_stay_with_their_set():
    colours = palette.set_colours(["phonon", "random", "combined", "matched", "phonon"])
    assert list(colours) == ["phonon", "random", "combined", "matched"]
    assert len(set(colours.values())) == 4
    again = palette.set_colours(["eq3", "combined", "random", "phonon"])
    assert {name: again[name] for name in ("phonon", "random", "combined")} == {
        name: colours[name] for name in ("phonon", "random", "combined")
    }
    assert len(set(palette.set_colours("abcdef").values())) == 6
    assert palette.ramp(0.0) == palette.RAMP[0]
    assert palette.ramp(1.0) == palette.ramp(7.0) == palette.RAMP[-1]


def test_ramp_darkens_evenly():
    def lightness(colour: str) -> float:
        linear = [((int(colour[k : k + 2], 16) / 255 + 0.055) / 1.055) ** 2.4 for k in (1, 3, 5)]
        return 116 * (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]) ** (1 / 3) - 16

    steps = -np.diff([lightness(palette.ramp(x)) for x in np.linspace(0, 1, 11)])
    assert (steps > 2.0).all()


def test_facts_of_the_crystal():
    unit = unit_cell()
    assert space_group(unit) == "Pm-3m"
    lengths, angles = lattice_parameters(unit)
    assert lengths == pytest.approx([A] * 3)
    assert angles == pytest.approx([90.0] * 3)
    silver = Crystal(
        cell_A=4.0862 * np.eye(3),
        positions_A=4.0862 * np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]),
        numbers=[47] * 4,
    )
    assert density(silver) == pytest.approx(10.49, abs=0.02)  # CRC Handbook: 10.49 g/cm³ near 298 K
    triclinic = Crystal(cell_A=[[2, 0, 0], [1, math.sqrt(3), 0], [0, 0, 5]], positions_A=[[0, 0, 0]], numbers=[6])
    assert lattice_parameters(triclinic)[1] == pytest.approx([90, 90, 60])


def test_copies_close_the_cell():
    atom, shift = scenes.face_copies(unit_cell())
    # The corner atom has seven copies, each face atom one, the centre none.
    assert [int((atom == k).sum()) for k in range(5)] == [1, 1, 1, 0, 7]
    assert len({(int(a), *map(int, s)) for a, s in zip(atom, shift, strict=True)}) == len(atom)


def test_sticks_are_the_silver_sulphur_bonds():
    large = supercell(unit_cell())
    i, j, _ = scenes.nearest_bonds(large)
    kinds = {tuple(sorted((large.symbols[a], large.symbols[b]))) for a, b in zip(i, j, strict=True)}
    assert kinds == {("Ag", "S")}
    assert len(i) == 48


def test_first_shells_are_those_of_the_antiperovskite():
    shells = first_shells(unit_cell())
    directed = {pair: len(i) for pair, (i, _, _) in shells.items()}
    assert directed == {"Ag-S": 12, "Ag-Ag": 24, "Ag-Br": 24, "Br-S": 16, "S-S": 6, "Br-Br": 6}


def test_bond_lengths_equal_a_plain_loop(material):
    found = bond_lengths(material)["Ag-S"]["random"]
    first = material.sets[1].crystal(0)
    reference = material.phonons.supercell
    plain = []
    for s in np.nonzero(reference.numbers == 16)[0]:
        for a in np.nonzero(reference.numbers == 47)[0]:
            for image in np.ndindex(3, 3, 3):
                shift = (np.array(image) - 1) @ first.cell_A
                if np.linalg.norm(reference.positions_A[a] + shift - reference.positions_A[s]) < 2.6:
                    plain.append(np.linalg.norm(first.positions_A[a] + shift - first.positions_A[s]))
    assert sorted(found[: 2 * len(plain)]) == pytest.approx(sorted(plain * 2))


def test_sets_of_other_atoms_are_not_measured(material):
    other = replace(material.sets[0], numbers=np.where(material.sets[0].numbers == 35, 53, material.sets[0].numbers))
    found = bond_lengths(replace(material, sets=(other, material.sets[1])))
    assert {name for values in found.values() for name in values} == {"random"}


def test_amplitude_of_each_configuration(material):
    item = material.sets[1]
    moves = item.displacements_A.reshape(len(item), -1, 3)
    assert rms_displacement(item) == pytest.approx(np.sqrt((moves**2).mean(axis=(1, 2))))
    unknown = Configurations(
        name="file", sampler="file", offsets=[0, 1, 3], numbers=[1, 1, 1], positions_A=np.eye(3),
        displacements_A=[[0, 0, 1], [np.nan] * 3, [0, 0, 0]],
        cells_A=[np.eye(3)] * 2, temperature_K=[np.nan] * 2, amplitude_A=[np.nan] * 2, fraction=[np.nan] * 2,
        index=[0, 1], group=("a", "b"),
    )  # fmt: skip
    assert rms_displacement(unknown) == pytest.approx([1 / np.sqrt(3), np.nan], nan_ok=True)
    assert len(displacements(unknown)) == 2


def test_first_view_is_a_rotation():
    turn = scenes.rotation()
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    x, y, z, w = scenes.quaternion()
    as_matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    assert as_matrix == pytest.approx(turn, abs=1e-12)


def test_threshold_starts_where_something_is_shown():
    assert scenes.first_threshold(np.array([0.2, 0.9])) == scenes.PAPER_THRESHOLD
    low = np.linspace(0.0, 0.5, 101)
    assert (low >= scenes.first_threshold(low)).sum() in (5, 6, 7)
    assert scenes.first_threshold(np.zeros(0)) == scenes.PAPER_THRESHOLD


def test_colours_of_importance_end_at_a_round_number():
    assert scenes.importance_scale(np.array([0.2, 0.91])) == 1.0
    assert scenes.importance_scale(np.array([0.2, 0.231])) == pytest.approx(0.25)
    assert scenes.importance_scale(np.zeros(3)) == 0.05


def test_edges_that_leave_the_cell_are_drawn_from_both_atoms():
    large = supercell(unit_cell())
    found = make_explanation(large, np.random.default_rng(0))
    scene = scenes.explanation_scene(found, 0.8, 1.0)
    strong = found.importance >= scene["threshold"]
    crossing = (found.image != 0).any(axis=1)
    assert len(scenes._shown_edges(scene)) == strong.sum() + (strong & crossing).sum()


def metric(seed: int, mae: float, model: str = "net", scope: str = "all", **changes: str) -> Metric:
    fields = {"target": "band_gap_eV", "unit": "eV", "trained_on": "a", "tested_on": "a", "split": "test", **changes}
    numbers = {"n": 10 + seed, "mae": mae, "rmse": mae, "r2": 0.5, "pearson_r2": 0.6}
    return Metric(model=model, seed=seed, scope=scope, **numbers, **fields)


def test_scores_are_means_over_seeds_and_skill_is_against_the_mean_predictor():
    rows = [metric(0, 0.1), metric(1, 0.2), metric(0, 0.4, "mean-predictor"), metric(1, 0.5, "mean-predictor")]
    found = score(Evaluation(metrics=tuple(rows), predictions=()), Case("band_gap_eV", "a", "a", "test"))
    assert found is not None
    assert (found.mae, found.mae_sd) == pytest.approx((0.15, np.std([0.1, 0.2], ddof=1)))
    assert found.naive_mae == pytest.approx(0.45)
    assert found.skill == pytest.approx(np.mean([1 - 0.1 / 0.4, 1 - 0.2 / 0.5]))
    assert found.count == "10–11"


def test_skill_without_baseline_rows_comes_from_the_predictions(material):
    case = Case("band_gap_eV", "phonon", "random", "test")
    found = score(material.evaluation, case)
    errors = []
    for item in material.evaluation.predictions:
        if (item.target, item.trained_on, item.tested_on, item.split) == case:
            fit = next(f for f in material.fits if f.name == item.model)
            mean = material.labels.aligned("band_gap_eV", fit.split.train).mean()
            errors.append(1 - np.abs(item.truth - item.prediction).mean() / np.abs(item.truth - mean).mean())
    assert found.skill == pytest.approx(np.mean(errors))


def test_scores_equal_the_metrics_of_the_stored_predictions(material):
    case = Case("vbm_eV", "random", "random", "test")
    truth, predicted = pooled(material.evaluation, case)
    assert len(truth) == sum(
        len(p.truth) for p in material.evaluation.predictions if (p.target, p.trained_on, p.tested_on, p.split) == case
    )
    found = score(material.evaluation, case)
    assert found.mae == pytest.approx(np.abs(truth - predicted).mean())  # seeds have test parts of equal size


def test_paper_filter_shows_what_was_kept():
    rows = (metric(0, 0.1, scope="in_range"), metric(1, 0.3, scope="in_range"))
    evaluation = Evaluation(metrics=rows, predictions=())
    assert main_scope(evaluation) == "in_range"
    assert score(evaluation, Case("band_gap_eV", "a", "a", "test")).mae == pytest.approx(0.2)
    assert main_scope(None) == "all"


def test_best_collection_never_looks_at_the_test_part():
    rows = (
        metric(0, 0.2, split="validation"), metric(0, 0.1),
        metric(0, 0.1, split="validation", trained_on="b", tested_on="b"),
        metric(0, 0.9, trained_on="b", tested_on="b"),
    )  # fmt: skip
    assert best_collection(Evaluation(metrics=rows, predictions=()), "band_gap_eV") == "b"
    naive = (
        metric(0, 2.0, "mean-predictor", split="validation"),
        metric(0, 0.2, "mean-predictor", split="validation", trained_on="b", tested_on="b"),
    )
    assert best_collection(Evaluation(metrics=rows + naive, predictions=()), "band_gap_eV") == "a"
    assert best_collection(None, "band_gap_eV") == ""
    assert scores.tested_collections(Evaluation(metrics=rows, predictions=()), "band_gap_eV") == ("a", "b")


def test_fixture_metrics_are_right(material):
    item = material.evaluation.predictions[0]
    everything = make_metrics(item, (-99.0, 99.0))[0]
    assert everything.rmse == pytest.approx(np.sqrt(((item.truth - item.prediction) ** 2).mean()))


def test_pearson():
    x = np.array([1.0, 2.0, 3.0, np.nan])
    assert pearson(x, -2 * x) == pytest.approx(-1.0)
    assert math.isnan(pearson(x, np.ones(4)))
    assert math.isnan(pearson(x[:2], x[:2]))


def test_main_target_is_the_explained_one(material):
    assert material.main_target == "band_gap_eV"
    assert material.targets == ("band_gap_eV", "vbm_eV")
    assert replace(material, target="vbm_eV").main_target == "vbm_eV"
    assert ReportMaterial(title="").main_target == ""


def test_failures_are_counted_by_kind():
    kinds = {failure_class(f"failed: not converged after {n} steps (1.{n}e-3)") for n in (200, 201)}
    assert kinds == {"failed: not converged after # steps (#e-#)"}


def test_curve_errors(material):
    point = at_temperature(material.curve, "band_gap_eV", 290.0)
    assert point.temperature_K == 300.0
    assert total_error(point) == pytest.approx(math.hypot(point.standard_error, point.model_spread))
    assert total_error(replace(point, model_spread=float("nan"))) == pytest.approx(point.standard_error)
    assert at_temperature(material.curve, "vbm_eV", 300.0) is None


@pytest.mark.parametrize(
    ("engine", "word"),
    [
        ("tblite 0.8.0 GFN1-xTB", "tight-binding"),
        ("chgnet 0.4.2 weights 0.3.0", "machine-learned"),
        ("ase 3.29.0 EMT", "toy"),
        ("CP2K 2023.1 PBEsol", "underestimates"),
        ("my elemental code", ""),
    ],
)
def test_engines_are_told_apart(engine, word):
    found = engine_limit(engine)
    assert word in found
    assert bool(found) == bool(word)


def test_dois_become_links_and_nothing_else_does():
    made = _linked("A. Author, J. 1 (2020), doi:10.1000/abc-1(2)x. See http://evil.example/ too.")
    assert made.count("<a ") == 1
    assert 'href="https://doi.org/10.1000/abc-1(2)x"' in made


def test_toml_is_shown_whole():
    source = '# note\ntitle = "<b>"\n\n[a.b]\nx = 1 # end\n'
    made = _toml(source)
    assert made.count("<span") == 2
    import html
    import re

    assert html.unescape(re.sub(r"</?span[^>]*>", "", made)) == source


@pytest.mark.parametrize("top", [0.009, 0.15, 9.0, 9000.0])
def test_axis_labels_keep_clear_of_the_tick_labels(top):
    """The turned label reaches to about 19 pixels from the left, a digit is at most 6.6 pixels wide."""
    chart = Chart(x=(0.0, 1.0), y=(0.0, top), x_label="", y_label="⟨u²⟩ found (Å²)", width=370)
    longest = max(len(words) for _, words in chart.y.ticks())
    assert chart.x.start - 7 - 6.4 * longest >= 19
    assert f'width="{chart.width}"' in str(chart.render("test"))


def test_a_narrow_law_beside_a_wide_one_has_its_own_resolution():
    random = np.random.default_rng(0)
    values = {"narrow": random.normal(0.0, 0.05, 4000), "wide": random.uniform(-0.8, 0.8, 4000)}
    picture = str(outlines_chart(values, {"narrow": "red", "wide": "blue"}, "u", title="t", unit="Å"))
    corners = max(path.count("L") for path in re.findall(r'<path[^>]* ?d="([^"]*)"', picture))
    assert corners > 2 * 1.6 / (0.6 * 0.05)


def test_sets_without_a_reference_are_drawn_at_their_own_sites():
    crystal = unit_cell()
    moved = np.full(crystal.positions_A.shape, 0.1)
    brought = Configurations.of_crystals("mine", [replace(crystal, positions_A=crystal.positions_A + moved)], ["g"])
    assert "brought without their equilibrium sites" in str(structure(ReportMaterial(title="t", sets=(brought,))).lead)
    known = replace(brought, displacements_A=moved)
    drawn = ReportMaterial(title="t", sets=(known,)).first_sites
    np.testing.assert_allclose(drawn.positions_A, crystal.positions_A, atol=1e-12)
    section = structure(ReportMaterial(title="t", sets=(known,)))
    assert "equilibrium sites of the first configuration" in str(section.lead)
    assert "1 composition." in str(section.lead)
    assert "structure" in section.scenes
