"""From a statement and an interval to a verdict: by rule, never by eye.

========================  ==========================================================================================
verdict                   when
========================  ==========================================================================================
agrees                    a number: our 95 % interval meets the printed one (± half a unit of its last digit) and is
                          not too wide to tell; a claim: the whole interval is on the claim's side of a stated bound
disagrees                 a number: they do not meet; a claim: the whole interval is on the other side
undecided                 a number: they meet, but ours is too wide; a claim: the interval holds the bound
cannot be compared        no interval, or a quantity that another engine or a missing number leaves without a scale
========================  ==========================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from phonograph.report.words import fixed, listed, number
from phonograph.steps.paper.published import STATEMENTS
from phonograph.types.curves import LEVEL, Interval
from phonograph.types.paper import AGREES, DISAGREES, NOT_COMPARABLE, UNDECIDED, Comparison

WIDE = 0.25
"""An interval of more than this share of the published number to either side is too wide to agree with it."""

NO_INTERVAL = "ours has no 95 % interval; more seeds or samples give one"


def with_number(key: str, ours: Interval, *, n: int, n_of: str, headline: bool = False) -> Comparison:
    """Compare with a published number: it agrees where our interval meets the printed one and is not too wide.

    Too wide is what reaches further to one side than :data:`WIDE` of the number and than the printed one does: such an
    interval would meet almost any number.
    """
    said = STATEMENTS[key]
    meets = f"our 95 % interval meets {number(said.value)} ± {number(said.half_width, 1)} {said.unit}".rstrip()
    most = max(WIDE * abs(said.value), said.half_width)
    rule = f"{meets} and reaches at most {number(most, 2)} {said.unit}".rstrip() + " to either side"
    reach = max(ours.high - ours.value, ours.value - ours.low)
    if not ours.known:
        verdict, reason = NOT_COMPARABLE, NO_INTERVAL
    elif ours.low <= said.value + said.half_width and ours.high >= said.value - said.half_width:
        share = f" ({fixed(100 * reach / abs(said.value), 0)} % of the number)" if said.value else ""
        wide = f"our interval is too wide, {number(reach, 2)} {said.unit}".rstrip() + f" to one side{share}"
        verdict, reason = (UNDECIDED, wide) if reach > most else (AGREES, "")
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
    bound, sign = _bound(at_least, at_most)
    rule = f"the 95 % interval is at {'least' if sign > 0 else 'most'} {number(bound)} {unit}".rstrip()
    low, high = _towards(ours, bound, sign)
    if not ours.known:
        verdict, reason = NOT_COMPARABLE, NO_INTERVAL
    elif low >= 0:
        verdict, reason = AGREES, ""
    elif high < 0:
        verdict, reason = DISAGREES, otherwise or f"it is {number(ours.value)} {unit}".rstrip()
    else:
        verdict, reason = UNDECIDED, f"the interval holds {number(bound)} {unit}".rstrip()
    return _comparison(key, ours, unit, n, n_of, (verdict, reason, rule), headline)


def with_every(
    key: str,
    cases: Callable[[float], Mapping[str, Interval]],
    *,
    n: int,
    n_of: str,
    at_least: float | None = None,
    at_most: float | None = None,
    otherwise: Callable[[str, Interval], str],
    headline: bool = False,
) -> Comparison:
    """Compare with a claim about every one of m cases; the case that is worst by its value is shown.

    It agrees where all m intervals lie on the claim's side of the bound: chance seldom does that to a false claim.  One
    that lies wholly on the other side contradicts it, at the level 1 − 0.05/m (Bonferroni): of m intervals of a true
    claim one misses by chance up to m times as often.

    Parameters
    ----------
    key
        The statement.
    cases
        Level → case in words → interval of that level; the same cases for every level.
    n, n_of, headline
        As in :class:`~phonograph.types.paper.Comparison`.
    at_least, at_most
        The bound; one of them.
    otherwise
        From the contradicting case and its interval, what was found instead.
    """
    bound, sign = _bound(at_least, at_most)
    found = cases(LEVEL)
    level = 1.0 - (1.0 - LEVEL) / len(found)
    strict = cases(level)
    # A case without a value, such as r² of a constant prediction, is the worst there can be.
    worst = min(found, key=lambda name: (math.isfinite(found[name].value), sign * found[name].value))
    against = [name for name in strict if strict[name].known and _towards(strict[name], bound, sign)[1] < 0]
    open_ = [name for name in found if not _towards(found[name], bound, sign)[0] > 0]
    if against:
        first = min(against, key=lambda name: sign * strict[name].value)
        verdict, reason = DISAGREES, otherwise(first, strict[first])
    elif not all(ours.known for ours in found.values()):
        verdict, reason = NOT_COMPARABLE, NO_INTERVAL
    elif open_:
        verdict, reason = UNDECIDED, f"the intervals do not tell for {listed(open_)}"
    else:
        verdict, reason = AGREES, ""
    side, other = ("above", "below") if sign > 0 else ("below", "above")
    rule = (
        f"{len(found)} of {len(found)} 95 % intervals are {side} {number(bound)}; one that is {other} it at "
        f"{number(100 * level)} % contradicts"
    )
    return _comparison(key, found[worst], "", n, n_of, (verdict, reason, rule), headline)


def _bound(at_least: float | None, at_most: float | None) -> tuple[float, float]:
    """Return the bound of a claim, and 1 where it holds above it, −1 where below."""
    if at_least is not None and at_most is None:
        return at_least, 1.0
    if at_most is not None and at_least is None:
        return at_most, -1.0
    raise ValueError("a claim has one bound")


def _towards(ours: Interval, bound: float, sign: float) -> tuple[float, float]:
    """Return how far the worse and the better end of an interval lie on the claim's side of its bound."""
    ends = sign * (ours.low - bound), sign * (ours.high - bound)
    return min(ends), max(ends)


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
