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
