"""The report shows the label noise where it was measured, and nothing where it was not."""

from __future__ import annotations

from dataclasses import replace

from make_material import make_material

from phonograph.report.sections.evaluation import evaluation
from phonograph.types import NOISE_CAUSES, NoiseFloor, NoiseRow


def noise(sd: float = 0.01) -> NoiseFloor:
    common = {"set_name": "phonon", "property": "band_gap_eV", "unit": "eV", "engine": "toy 1", "changed": "all"}
    numbers = {"structures": 10, "copies": 2, "holes": 0, "mean": 0.0, "rms": sd, "largest": 2 * sd}
    return NoiseFloor(
        rows=tuple(
            NoiseRow(**common, **numbers, cause=cause, sd=sd * (place + 1), sd_error=sd / 5)
            for place, cause in enumerate(NOISE_CAUSES)
        )
    )


def text(material) -> str:
    return str(evaluation(material).body)


def test_the_floor_is_drawn_and_told():
    material = make_material()
    without, shown = text(material), text(replace(material, noise=noise()))
    assert "label noise" not in without
    assert "Shaded: ± two standard deviations of the label noise." in shown
    assert "standard deviation, tighter settings, 10 structures of phonon" in shown
    assert "Label noise by cause" in shown
    assert shown.count("<path") + shown.count("<polygon") > without.count("<path") + without.count("<polygon")


def test_the_floor_of_another_property_is_not_shown():
    other = NoiseFloor(rows=tuple(replace(row, property="x_eV") for row in noise().rows))
    assert "label noise" not in text(replace(make_material(), noise=other))
