"""From a statement and an interval to a verdict: by rule, never by eye.

========================  ==========================================================================================
verdict                   when
========================  ==========================================================================================
agrees                    a number: our 95 % interval meets the printed one (± half a unit of its last digit);
                          a claim: the whole interval is on the claim's side of a stated bound
disagrees                 a number: they do not meet; a claim: the whole interval is on the other side
undecided                 a claim: the interval holds the bound
cannot be compared        no interval, or a quantity that another engine or a missing number leaves without a scale
========================  ==========================================================================================
"""

from __future__ import annotations

import math

from phonograph.report.words import fixed, number
from phonograph.steps.paper.published import STATEMENTS
from phonograph.types.curves import Interval
from phonograph.types.paper import AGREES, DISAGREES, NOT_COMPARABLE, UNDECIDED, Comparison

NO_INTERVAL = "ours has no 95 % interval; more seeds or samples give one"


def with_number(key: str, ours: Interval, *, n: int, n_of: str, headline: bool = False) -> Comparison:
    """Compare with a published number: it agrees where our interval meets the printed one."""
    said = STATEMENTS[key]
    rule = f"our 95 % interval meets {number(said.value)} ± {number(said.half_width, 1)} {said.unit}".rstrip()
    if not ours.known:
        verdict, reason = NOT_COMPARABLE, NO_INTERVAL
    elif ours.low <= said.value + said.half_width and ours.high >= said.value - said.half_width:
        verdict, reason = AGREES, ""
    else:
        away = ours.value - said.value
        share = f" ({fixed(100 * away / said.value, 0)} %)" if said.value else ""
        words = "higher" if away > 0 else "lower"
        verdict, reason = DISAGREES, f"ours is {words} by {number(abs(away), 2)} {said.unit}".rstrip() + share
    return _comparison(key, ours, said.unit, n, n_of, (verdict, reason, rule), headline)


def with_bound(
    key: str,
    ours: Interval,
    *,
    n: int,
    n_of: str,
    at_least: float | None = None,
    at_most: float | None = None,
    unit: str = "",
    otherwise: str = "",
    headline: bool = False,
) -> Comparison:
    """Compare with a claim: on which side of a bound the whole interval lies decides.

    ``otherwise`` follows "disagrees": what was found instead.
    """
    if (at_least is None) == (at_most is None):
        raise ValueError("a claim has one bound")
    bound = at_least if at_least is not None else at_most
    assert bound is not None
    side = "at least" if at_least is not None else "at most"
    rule = f"the 95 % interval is {side} {number(bound)} {unit}".rstrip()
    low, high = (ours.low, ours.high) if at_least is not None else (-ours.high, -ours.low)
    limit = bound if at_least is not None else -bound
    if not ours.known:
        verdict, reason = NOT_COMPARABLE, NO_INTERVAL
    elif low >= limit:
        verdict, reason = AGREES, ""
    elif high < limit:
        verdict, reason = DISAGREES, otherwise or f"it is {number(ours.value)} {unit}".rstrip()
    else:
        verdict, reason = UNDECIDED, f"the interval holds {number(bound)} {unit}".rstrip()
    return _comparison(key, ours, unit, n, n_of, (verdict, reason, rule), headline)


def without(
    key: str,
    reason: str,
    *,
    ours: Interval | None = None,
    n: int = 0,
    n_of: str = "",
    unit: str = "",
    headline: bool = False,
) -> Comparison:
    """Return a comparison that cannot be made, with the reason; ``ours`` is shown where there is one."""
    nothing = Interval(value=math.nan, low=math.nan, high=math.nan)
    told = (NOT_COMPARABLE, reason, "none")
    return _comparison(key, ours or nothing, unit, n, n_of, told, headline)


def exactly(value: float) -> Interval:
    """Return the interval of a number that has no uncertainty."""
    return Interval(value=value, low=value, high=value)


def _comparison(
    key: str, ours: Interval, unit: str, n: int, n_of: str, told: tuple[str, str, str], headline: bool
) -> Comparison:
    said = STATEMENTS[key]
    verdict, reason, rule = told
    return Comparison(
        key=key,
        what=said.what,
        published=said.words,
        where=said.where,
        value=ours.value,
        low=ours.low,
        high=ours.high,
        unit=unit,
        n=n,
        n_of=n_of,
        verdict=verdict,
        reason=reason,
        rule=rule,
        headline=headline,
    )
