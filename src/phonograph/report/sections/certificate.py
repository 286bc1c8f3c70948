"""The certificates of part 3: every tested claim about a set, with its bound and verdict, and pictures of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phonograph.report.markup import Content, Markup, figure, fold, join, paragraph, table, tag
from phonograph.report.material import ReportMaterial
from phonograph.report.svg import Chart, data_range
from phonograph.report.words import number, pair_words, plural
from phonograph.types import Certificate, Check

FIRST_FIGURE = 4
"""Certificates follow the three figures of the part."""
COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
MOST_ROWS = 600
"""Rows of the table per atom; of larger cells those nearest to their bounds are shown."""
PAIRS = "covariance of nearest "
BONDS = "bond-length spread of "


def certificates(material: ReportMaterial) -> Markup:
    """Return the certificate of every set that has one."""
    parts: list[Content] = [tag("h3", "Certificates"), paragraph(_explanation())]
    place = FIRST_FIGURE
    for item in material.certificates:
        if not item.checks:
            continue
        parts.append(_verdict(item))
        parts.append(fold("Claims", claims_table(item), open_=not item.passed or len(item.checks) <= 30))
        picture = _figure(item, material.colours[item.name], place)
        if picture is not None:
            parts.append(picture)
            place += 1
    return join(*parts)


def _explanation() -> str:
    return (
        "Each set is tested against the law that it names, with the temperature, amplitude and atoms that each sample "
        "states. A sound set breaks a bound once in about 16,000 checks. A check over many numbers, such as all "
        "variances, is passed when the one nearest to its bound is."
    )


def _verdict(item: Certificate) -> Markup:
    failed = sum(not check.passed for check in item.checks)
    words = "✓ all hold" if item.passed else f"✗ {failed} fail"
    known = "" if item.law_known else " Its law has no known moments: distances and duplicates only."
    badge = tag("b", words, class_="pass" if item.passed else "fail")
    touched = ""
    if item.touched_share > 0:
        share = f"{100 * item.touched_share:.2g} %"
        touched = f" Soft-mode policy and amplitude guard touched {share} of its displacement variance."
    return paragraph(tag("b", item.name), f": {plural(len(item.checks), 'claim')}, ", badge, ".", known, touched)


def claims_table(item: Certificate) -> Markup:
    """Return every claim with what was found, what was expected, the bound and the verdict."""
    head = ["claim", "found", "expected", "bound", "unit", "verdict"]
    rows: list[list[Content]] = []
    for check in item.checks:
        expected, bound = _demand(check)
        rows.append([check.name, number(check.found, 4), expected, bound, check.unit or "–", verdict(check.passed)])
    return table(head, rows)


def verdict(passed: bool) -> Markup:
    """Return a table cell that says so in words and colour."""
    return tag("td", "✓ holds" if passed else "✗ fails", class_="pass w" if passed else "fail w")


def _demand(check: Check) -> tuple[str, str]:
    if check.kind == "at least":
        return "–", f"≥ {number(check.expected, 3)}"
    if check.kind == "at most":
        return "–", f"≤ {number(check.expected + check.tolerance, 3)}"
    return number(check.expected, 4), f"± {number(check.tolerance, 3)}"


def _figure(item: Certificate, colour: str, place: int) -> Markup | None:
    pairs, bonds = _named(item, PAIRS), _named(item, BONDS)
    pictures = [_variances(item, colour)] if len(item.sites) else []
    if pairs:
        pictures.append(_intervals(pairs, PAIRS, "⟨u·u′⟩/3 (Å²)", "Nearest neighbours", colour))
    if bonds:
        pictures.append(_intervals(bonds, BONDS, "standard deviation (Å)", "Bond-length spread", colour))
    if not pictures:
        return None
    caption = (
        f"Certificate of the set {item.name}. Dots are found in the set; open diamonds are the law's values and bars "
        "the bounds that the dots must not leave."
    )
    return figure(f"3.{place}", caption, *pictures, numbers=_atom_table(item), columns=len(pictures))


def _named(item: Certificate, start: str) -> list[Check]:
    return [check for check in item.checks if check.name.startswith(start)]


def _variances(item: Certificate, colour: str) -> Markup:
    """Draw the found variance of every atom and axis over the law's, with the bounds around the diagonal."""
    claimed, found = item.claimed_covariance_A2[:, :3].ravel(), item.covariance_A2[:, :3].ravel()
    lower, upper = item.lower_covariance_A2[:, :3].ravel(), item.upper_covariance_A2[:, :3].ravel()
    chart = Chart(
        # Where symmetry makes all atoms equal, the law's values differ by rounding errors only.
        x=data_range(0.95 * claimed, 1.05 * claimed),
        y=data_range(found, lower, upper),
        x_label="⟨u²⟩ of the law (Å²)",
        y_label="⟨u²⟩ found (Å²)",
        title="Variance of each atom and axis",
        width=370,
        height=270,
    )
    # Atoms that symmetry makes equal share one bar; it is the widest of theirs.
    for value in np.unique(claimed.round(9)):
        same = np.abs(claimed - value) < 1.0e-8
        low, high = float(lower[same].min()), float(upper[same].max())
        chart.error_bars([value], [(low + high) / 2], [(high - low) / 2], "currentColor", width=1.0)
    ends = np.array([claimed.min(), claimed.max()])
    chart.line(ends, ends, "currentColor", width=1.0, dash="4 3", opacity=0.6)
    chart.dots(claimed, found, colour, radius=2.6, opacity=0.75)
    return chart.render(f"Found against claimed variance of every atom and axis of {item.name}, with bounds")


def _intervals(checks: Sequence[Check], start: str, label: str, title: str, colour: str) -> Markup:
    """Draw one row per pair of species: found, expected and its bounds."""
    names = [pair_words(check.name.removeprefix(start)) for check in checks]
    found = np.array([check.found for check in checks])
    expected = np.array([check.expected for check in checks])
    half = np.array([check.tolerance for check in checks])
    rows = np.arange(len(checks), dtype=float)[::-1]
    chart = Chart(
        x=data_range(found, expected - half, expected + half),
        y=(-0.6, len(checks) - 0.4),
        x_label=label,
        y_label="",
        title=title,
        width=370,
        height=270,
        y_ticks=list(zip(rows.tolist(), names, strict=True)),
    )
    chart.spans(expected - half, expected + half, rows, "currentColor", width=1.2)
    chart.diamonds(expected, rows, "currentColor", radius=4.0)
    chart.dots(found, rows, colour, radius=3.4)
    return chart.render(f"{title}: found, expected and bounds per pair of species")


def _atom_table(item: Certificate) -> Markup | None:
    """Return ⟨u_α u_β⟩ of every atom; the numbers of the other panels are in the table of claims."""
    if not len(item.sites):
        return claims_table(item)
    found, claimed = item.covariance_A2, item.claimed_covariance_A2
    lower, upper = item.lower_covariance_A2, item.upper_covariance_A2
    span = np.where(found >= claimed, upper - claimed, claimed - lower)
    share = np.abs(found - claimed) / np.where(span > 0, span, 1.0)
    chosen = np.argsort(-share.ravel(), kind="stable")[:MOST_ROWS] if share.size > MOST_ROWS else range(share.size)
    rows: list[list[Content]] = []
    for place in chosen:
        atom, component = divmod(int(place), 6)
        values = (table_[atom, component] for table_ in (found, claimed, lower, upper))
        holds = verdict(bool(lower[atom, component] <= found[atom, component] <= upper[atom, component]))
        words = [str(atom + 1), item.sites[atom], COMPONENTS[component]]
        rows.append([*words, *(number(value, 4) for value in values), holds])
    head = ["atom", "element", "⟨u_α u_β⟩ (Å²)", "found", "law", "lower bound", "upper bound", "verdict"]
    cut = None
    if share.size > MOST_ROWS:
        cut = paragraph(f"The {MOST_ROWS} of {share.size} numbers nearest to their bounds; the JSON file holds all.")
    return join(cut, table(head, rows, words=3))
