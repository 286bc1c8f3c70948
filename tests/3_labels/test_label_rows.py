"""Labels in memory: what chosen rows say, and the class of zero gaps."""

from __future__ import annotations

import numpy as np
import pytest
from label_toys import copper

from phonograph.labels import EmtLabeller
from phonograph.labels.failures import failure
from phonograph.labels.plan import planned
from phonograph.labels.table import table_of
from phonograph.types import LabelColumn, Labels, join_labels

SENTENCE = "2 of 5 band gaps are zero (≤ 0.001 eV); they are kept as values."
LABELS = Labels(
    sample_ids=("a-0", "a-1", "a-2", "b-0", "b-1"),
    set_names=("a", "a", "a", "b", "b"),
    columns=(LabelColumn(name="band_gap_eV", unit="eV", values=np.array([0.0, 1e-3, 0.5, np.nan, 2e-3]), engine="e"),),
    status=("ok", "ok", "ok", "failed: x", "ok"),
    warnings=(SENTENCE,),
)


def test_zero_gaps_are_those_up_to_a_thousandth_and_no_holes():
    assert LABELS.zero_gap.tolist() == [True, True, False, False, False]
    assert LABELS.of_set("b").zero_gap.tolist() == [False, False]


def test_sentences_of_chosen_rows_say_once_of_how_many_rows_they_speak():
    among = (f"Among all 5 rows, before some were chosen: {SENTENCE}",)
    assert LABELS.first(2).warnings == among
    assert LABELS.of_set("a").first(1).warnings == among
    assert join_labels([LABELS.of_set("a"), LABELS.of_set("b")]).warnings == among
    assert LABELS.first(5).warnings == LABELS.warnings


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("waiting", "engine_missing"), "every run tries them again"),
        (("timeout", "crashed"), "they are tried again only on request (retry_failed)"),
        (("timeout", "waiting"), "every run tries waiting again, the others are tried only on request (retry_failed)"),
    ],
)
def test_holes_say_when_they_are_tried_again(classes, words):
    sets, labellers = [copper(2)], [EmtLabeller()]
    work = planned(sets, labellers)
    for place, kind in enumerate(classes):
        work.keep((place, 0), failure(kind, "why"))
    (told,) = table_of(work, sets, labellers).warnings
    assert told.endswith(f": named holes; {words}.")
