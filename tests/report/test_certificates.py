"""The certificates on the page: every claim, its verdict in words, and the numbers behind the pictures."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import numpy as np

from phonograph.report.sections.certificate import claims_table
from phonograph.report.sections.sampling import sampling


def words(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", markup))


def test_every_claim_and_verdict_is_on_the_page(material, page):
    text = words(page)
    failed = 0
    for item in material.certificates:
        table = words(claims_table(item))
        for check in item.checks:
            assert check.name in table
            failed += not check.passed
        assert table.count("✓ holds") == sum(check.passed for check in item.checks)
        assert table.count("✗ fails") == sum(not check.passed for check in item.checks)
        assert f"{item.name} : {len(item.checks)} claims" in text
    total = sum(len(item.checks) for item in material.certificates)
    assert failed > 0
    assert f"{failed} of {total} tested claims about them fail" in text


def test_sound_sets_are_said_to_hold(material):
    kept = tuple(item for item in material.certificates if item.passed)
    sets = tuple(item for item in material.sets if item.name in {sound.name for sound in kept})
    section = sampling(replace(material, certificates=kept, sets=sets))
    assert "tested claims about them hold" in words(section.lead)
    assert "✗" not in words(section.body)


def test_a_set_without_a_known_law_says_so(material):
    first = material.certificates[0]
    unknown = replace(
        first,
        law_known=False,
        sites=(),
        checks=first.checks[-2:],
        **{name: np.zeros((0, 6)) for name in vars(first) if name.endswith("covariance_A2")},
    )
    body = words(sampling(replace(material, certificates=(unknown,))).body)
    assert "distances and duplicates only" in body


def test_the_table_of_atoms_holds_what_is_drawn(material):
    item = material.certificates[0]
    body = words(sampling(replace(material, certificates=(item,))).body)
    assert body.count("xx") >= len(item.sites)
    low, high = item.lower_covariance_A2[0, 0], item.upper_covariance_A2[0, 0]
    assert f"{low:.4g}"[:7] in body
    assert f"{high:.4g}"[:7] in body
    smaller = replace(item, lower_covariance_A2=item.claimed_covariance_A2 + 1.0)
    assert "✗ fails" in words(sampling(replace(material, certificates=(smaller,))).body)


def test_axes_stay_readable_where_symmetry_makes_all_atoms_equal(material):
    """Of an element all variances of the law are one number, up to rounding errors."""
    item = material.certificates[0]
    claimed = np.tile([0.004661, 0.004661, 0.004661, 0.0, 0.0, 0.0], (len(item.sites), 1))
    claimed = claimed * (1 + 1e-13 * np.arange(len(item.sites)))[:, None]
    equal = replace(item, claimed_covariance_A2=claimed, lower_covariance_A2=claimed - 0.002)
    equal = replace(equal, upper_covariance_A2=claimed + 0.002, covariance_A2=claimed + 0.001)
    body = str(sampling(replace(material, certificates=(equal,))).body)
    picture = body[body.index("Found against claimed variance") :].split("</svg>")[0]
    labels = re.findall(r"<text[^>]*>([\d.]+)</text>", picture)
    assert len(labels) >= 6
    assert max(map(len, labels)) <= 7
    # Every mark lies inside the picture, the bars of the bounds among them.
    marks = [float(x) for x in re.findall(r"M([-\d.]+) [-\d.]+[Vv]", picture)]
    assert marks
    assert all(50 <= x <= 370 for x in marks)
