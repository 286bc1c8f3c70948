"""The study in the report: what is drawn is what the tables say."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from phonograph.errors import InputFileError
from phonograph.evaluation.effects import main_effects, variance_shares
from phonograph.files.study import load_study_tables, save_study_tables
from phonograph.report import ReportMaterial
from phonograph.report.page import render_report
from phonograph.report.sections.study import study_lead, study_parts
from phonograph.report.svg import Chart
from phonograph.report.violins import HALF_WIDTH, add_violins
from phonograph.types import (
    HyperparameterStudy,
    StudyCell,
    StudyCheck,
    StudyFinal,
    StudyTrial,
    StudyVerdict,
)

AXES = {"architecture": ("1", "5"), "learning_rate": ("0.01", "0.001", "1e-05")}
MAE = {"0.01": 0.05, "0.001": 0.03, "1e-05": 0.09}


def trial(target: str, values: tuple[str, str], seed: int, r2: float = 0.5) -> StudyTrial:
    mae = MAE[values[1]] * (1.1 if values[0] == "1" else 1.0) * (1 + 0.01 * seed)
    return StudyTrial(
        target=target,
        values=values,
        seed=seed,
        rung=0,
        epochs=20,
        mae=mae,
        rmse=1.2 * mae,
        r2=r2,
        pearson_r2=0.6,
        best_epoch=3,
        parameters=3041,
        core_seconds=2.0,
    )


def cell(target: str, rank: int, values: tuple[str, str], mae: float) -> StudyCell:
    numbers = {"rmse": 1.2 * mae, "mse": 1.5 * mae**2, "r2": 0.5, "pearson_r2": 0.6}
    return StudyCell(
        rank=rank,
        target=target,
        unit="eV",
        values=values,
        seeds=3,
        failed=0,
        rung=0,
        epochs=20,
        mae=mae,
        mae_sd=0.001,
        parameters=3041,
        core_seconds=6.0,
        **numbers,
        **{f"{name}_sd": 0.01 for name in numbers},
    )


def final(model: str, seed: int, mae: float) -> StudyFinal:
    return StudyFinal(
        target="band_gap_eV",
        unit="eV",
        model=model,
        seed=seed,
        scope="all",
        n=40,
        mae=mae,
        rmse=mae,
        r2=0.4,
        pearson_r2=0.5,
        skill=1 - mae / 0.07,
    )


WORDS = "On the test part the winner errs by 35.0 meV (2 seeds) and beats the mean of the training labels."


def verdict() -> StudyVerdict:
    numbers = {name: 0.5 for name in ("skill", "skill_low", "skill_high")}
    numbers |= {name: math.nan for name in ("difference", "difference_low", "difference_high")}
    return StudyVerdict(
        target="band_gap_eV",
        unit="eV",
        reference="mean-predictor",
        seeds=2,
        groups=40,
        mae=0.035,
        reference_mae=0.07,
        words=WORDS,
        **numbers,
    )


@pytest.fixture(scope="module")
def study() -> HyperparameterStudy:
    points = [(a, rate) for a in AXES["architecture"] for rate in AXES["learning_rate"]]
    targets = ("band_gap_eV", "vbm_eV")
    trials = [trial(target, point, seed) for target in targets for point in points for seed in range(3)]
    trials[5] = replace(trials[5], r2=-3.0)
    cells = []
    for target in targets:
        order = sorted(points, key=lambda point: trial(target, point, 0).mae)
        cells += [cell(target, k, point, trial(target, point, 0).mae) for k, point in enumerate(order, start=1)]
    y = np.log10([[trial("band_gap_eV", point, seed).mae for point in points] for seed in range(3)]).reshape(3, 2, 3)
    return HyperparameterStudy(
        axes=AXES,
        units=dict.fromkeys(targets, "eV"),
        strategy="halving",
        collection="combined",
        trials=tuple(trials),
        cells=tuple(cells),
        effects=tuple(e for target in targets for e in main_effects(target, AXES, y)),
        shares=tuple(s for target in targets for s in variance_shares(target, AXES, y)),
        finals=tuple(
            final(*row)
            for row in [
                ("winner", 0, 0.03),
                ("winner", 1, 0.04),
                ("mean-predictor", 0, 0.07),
                ("mean-predictor", 1, 0.07),
            ]
        ),
        verdicts=(verdict(),),
        checks=(StudyCheck(target="band_gap_eV", points=16, spearman=0.83, regret=0.02, better=1),),
        wall_seconds=60.0,
        core_seconds=7200.0,
    )


def test_the_lead_names_the_winner_and_what_matters(study):
    words = study_lead(study)
    assert (
        "the band gap the lowest validation error is that with architecture 5 and learning rate 0.001: MAE 30.0 meV"
        in words
    )
    assert f". {WORDS} " in words
    assert "best" not in words, "the lowest error of a grid may be a poor one"
    assert "the learning rate explains 99 % of the variance after 20 epochs, the first rung." in words


def test_every_level_of_every_axis_has_its_violin(study):
    parts = "".join(str(part) for part in study_parts(study))
    for name in ("architecture", "learning rate"):
        for column in ("R²", "MAE", "MSE"):
            assert parts.count(f'aria-label="{column} for each {name}"') == 2, "one per target"
    assert "17 networks of the band gap after 20 epochs, the first rung" in parts
    assert "1 with R² &lt; −1" in parts
    assert "rank correlation of the first rung with the end 0.83, regret 2.0 %, 1 of them better" in parts
    assert "2.00 core-hours" in parts
    identifiers = re.findall(r'id="([^"]+)"', parts)
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", one) for one in identifiers)


def test_the_test_of_the_winner_shows_its_skill(study):
    parts = "".join(str(part) for part in study_parts(study))
    row = re.search(r"<tr><td class=\"w\">Winner</td>.*?</tr>", parts)
    assert row is not None
    assert "0.500" in row.group(), "1 − 35/70"
    assert "35 ± 7" in row.group()


def test_words_about_the_test_are_those_of_its_table(study):
    def words(finals):
        return "".join(str(part) for part in study_parts(replace(study, finals=finals)))

    both = words((*study.finals, final("configured", 0, 0.05), final("configured", 1, 0.05)))
    assert "of the networks the winner and the network as configured alone were tested" in both
    assert "The winner and the configured network, trained again with 2 seeds" in both
    assert "standard deviation over seeds; skill" in both
    one = words((final("winner", 0, 0.03), final("mean-predictor", 0, 0.07)))
    assert "of the networks the winner alone was tested" in one
    assert "The winner, trained again with 1 seed and judged on the outer test part" in one
    assert "seen, beside models that know nothing of where atoms went; skill" in one
    assert "nothing was tested, as there are no final seeds" in words(())


def test_tables_are_read_back_also_those_before_verdicts(study, tmp_path):
    save_study_tables(study, tmp_path)
    found = load_study_tables(tmp_path)
    assert repr(found.finals) == repr(study.finals)
    assert repr(found.verdicts) == repr(study.verdicts)
    plain = json.loads((tmp_path / "study.json").read_text())
    assert plain["verdicts"][0]["words"] == WORDS
    plain["verdicts"][0]["seeds"] = "two"
    (tmp_path / "study.json").write_text(json.dumps(plain))
    with pytest.raises(InputFileError, match=r"study.json: a verdict is damaged .*; run phonograph study again"):
        load_study_tables(tmp_path)
    del plain["verdicts"]
    (tmp_path / "study.json").write_text(json.dumps({**plain, "schema": "phonograph.hyperparameters/1"}))
    rows = [line.split(",") for line in (tmp_path / "final.csv").read_text().splitlines()]
    (tmp_path / "final.csv").write_text("".join(",".join(row[:-1]) + "\n" for row in rows))
    old = load_study_tables(tmp_path)
    assert old.verdicts == ()
    assert repr([replace(row, skill=math.nan) for row in study.finals]) == repr(list(old.finals))


def test_the_page_holds_the_study_and_escapes_it(study):
    hostile = replace(study, axes={"<b>": AXES["architecture"], "learning_rate": AXES["learning_rate"]})
    page = render_report(ReportMaterial(title="t", hyperparameters=hostile))
    assert "<b></th>" not in page
    assert "&lt;b&gt;" in page
    assert page == render_report(ReportMaterial(title="t", hyperparameters=hostile))


def outline_of(values) -> np.ndarray:
    chart = Chart(x=(0.0, 1.0), y=(0.0, 10.0), x_label="", y_label="")
    add_violins(chart, [np.asarray(values, dtype=float)], "#000000")
    path = re.search(r'd="M([^"]+)Z"', chart.render("x"))
    assert path is not None
    return np.array([[float(number) for number in pair.split()] for pair in path.group(1).split("L")])


def test_a_violin_is_symmetric_and_widest_where_the_data_are():
    values = np.concatenate([np.full(50, 7.0), np.linspace(1.0, 9.0, 20)])
    chart = Chart(x=(0.0, 1.0), y=(0.0, 10.0), x_label="", y_label="")
    outline = outline_of(values)
    half = len(outline) // 2
    right, left = outline[:half], outline[half:][::-1]
    assert right[:, 0] + left[:, 0] == pytest.approx(np.full(half, 2 * chart.x.at(0.5)), abs=0.11)
    widest = right[right[:, 0].argmax()]
    assert widest[1] == pytest.approx(chart.y.at(7.0), abs=8)
    assert widest[0] == pytest.approx(chart.x.at(0.5 + HALF_WIDTH), abs=0.11)


def test_few_values_are_dots():
    chart = Chart(x=(0.0, 2.0), y=(0.0, 10.0), x_label="", y_label="")
    add_violins(chart, [np.array([1.0, 2.0]), np.array([])], "#000000")
    assert "Z" not in re.sub(r"<text.*?</text>", "", str(chart.render("few")))
