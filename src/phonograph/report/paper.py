"""The page of the remade paper: what is published beside what we find, with a verdict by rule."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence

from phonograph.atomic import write_text
from phonograph.report.markup import Content, Markup, bullets, fold, join, paragraph, table, tag
from phonograph.report.outline import Section
from phonograph.report.page import html_document
from phonograph.report.paper_figures import paper_figure
from phonograph.report.words import listed, number, percent, plural, sentence_case
from phonograph.types.paper import (
    AGREES,
    DISAGREES,
    NOT_COMPARABLE,
    UNDECIDED,
    VERDICTS,
    Comparison,
    PaperItem,
    PaperRun,
    PaperTable,
)

NAMES = {
    "table1": "Table 1",
    "fig2": "Figure 2",
    "fig3": "Figure 3",
    "fig4": "Figure 4",
    "fig5": "Figure 5",
    **{f"s{place}": f"Figure S{place}" for place in (2, 3, 5, 6, 7, 8, 9, 10, 11)},
    "table-s1": "Table S1",
}
"""Items in the order of the page, by the paper's names."""

NOT_REMADE = (
    "Figures 1, S1 and S4 are drawings of the method: the crystal, a graph, the six architectures.",
    "Figure 5b–d (edges above a threshold in the cell) and g–i (density of states, orbital picture): the first is the "
    "report's explanation panel, the second needs the wave functions of DFT.",
)
CITATION = (
    "P. Benítez, C. López, E. Saucedo, T. Mizoguchi and C. Cazorla, Why Physics Still Matters, Advanced Intelligent "
    "Discovery (2026), arXiv:2511.15222."
)
_CLASSES = {AGREES: "pass", DISAGREES: "fail", UNDECIDED: "quiet", NOT_COMPARABLE: "quiet"}


def write_paper_page(run: PaperRun, path: str | os.PathLike[str]) -> None:
    """Write the page as one self-contained HTML file, atomically; raises :class:`InputFileError` where it cannot."""
    write_text(path, render_paper(run))


def render_paper(run: PaperRun) -> Markup:
    """Return the page; the same items always give the same bytes."""
    items = sorted(run.items, key=lambda item: list(NAMES).index(item.key))
    sections = [_summary(run, items), *(_item(run, item) for item in items)]
    closing = [_missing(run), _how(run, items), _data(run)]
    entries = [
        _entry(section, NAMES.get(section.key, "").replace("Figure ", "").replace("Table ", "T"))
        for section in sections
    ]
    entries += [tag("li", class_="gap"), *(_entry(section, "") for section in closing)]
    navigation = tag(
        "nav", tag("a", "Phonograph", href="#top", class_="mark"), tag("ol", entries), aria_label="Parts of the page"
    )
    main = tag("main", _header(run), *(section.render("") for section in (*sections, *closing)), class_="paper")
    return html_document(run.title, navigation, main)


def _entry(section: Section, words: str) -> Markup:
    return tag("li", tag("a", tag("span", words) if words else None, _short(section.title), href=f"#{section.key}"))


def _short(title: str) -> str:
    return title.partition(": ")[2] or title


def _header(run: PaperRun) -> Markup:
    lines = [line for item in run.items for line in item.comparisons]
    found = Counter(line.verdict for line in lines)
    notes = {
        AGREES: "our 95 % interval meets the number, or lies on the claim's side",
        DISAGREES: "it does not; what was found instead is said",
        UNDECIDED: "the interval is too wide, or lies on both sides of the bound",
        NOT_COMPARABLE: "no published number, or no common scale",
    }
    tiles = [
        tag(
            "div",
            tag("div", sentence_case(verdict), class_="what"),
            tag("div", str(found[verdict]), tag("small", f" of {len(lines)}"), class_="value"),
            tag("div", notes[verdict], class_="note"),
            class_="tile",
        )
        for verdict in VERDICTS
    ]
    return tag(
        "header",
        tag("h1", run.title),
        tag("p", f"Data: {run.data}.", class_="subtitle"),
        tag("div", tiles, class_="tiles four"),
        paragraph(CITATION, class_="quiet cite"),
        id="top",
    )


def _summary(run: PaperRun, items: Sequence[PaperItem]) -> Section:
    rows: list[list[Content]] = []
    for item in items:
        shown = [line for line in item.comparisons if line.headline] or list(item.comparisons)
        for place, line in enumerate(shown):
            link = tag("a", NAMES[item.key], href=f"#{item.key}") if place == 0 else None
            rows.append([tag("td", link, class_="w keep"), *_cells(line)])
    lead = f"{plural(len(items), 'figure or table', 'figures and tables')} remade; the main statements of each."
    return Section(
        key="summary",
        title="Summary",
        lead=lead,
        body=join(
            tag("div", table(["item", *_HEAD], rows, words=6), class_="verdicts"),
            paragraph(
                "Intervals are 95 %. The published numbers have none and belong to PBEsol labels; ours belong to the "
                "labels of this dataset. Which rule decided stands with each item.",
                class_="quiet",
            ),
        ),
    )


_HEAD = ("statement", "published", "ours [95\u00a0%]", "n", "verdict")


def _cells(line: Comparison, *, full: bool = False) -> list[Content]:
    """Return the cells of one statement; ``full`` adds where it stands and the rule."""
    said = line.published, tag("span", line.where, class_="aside") if full else None
    verdict = join(
        tag("b", line.verdict, class_=_CLASSES.get(line.verdict, "quiet")),
        f": {line.reason}" if line.reason else None,
        tag("span", f"rule: {line.rule}", class_="aside") if full and line.rule != "none" else None,
    )
    count = f"{line.n:,}".replace(",", "\u202f")
    return [
        tag("td", sentence_case(line.what), class_="w wrap"),
        tag("td", *said, class_="w wrap"),
        tag("td", _ours(line), class_="w keep"),
        tag("td", f"{count} {line.n_of}" if line.n else "–", class_="w few"),
        tag("td", verdict, class_="w wrap more"),
    ]


def _ours(line: Comparison) -> Markup:
    """Return our number and, below it, its interval."""
    shown = percent if line.unit == "" and "share of" in line.what else number
    if not math.isfinite(line.value):
        return join("–")
    bounds = None
    if math.isfinite(line.low) and line.high > line.low:
        bounds = tag("span", f"[{shown(line.low)}, {shown(line.high)}]", class_="aside")
    return join(f"{shown(line.value)} {line.unit}".rstrip(), bounds)


def _item(run: PaperRun, item: PaperItem) -> Section:
    name = NAMES[item.key]
    figure_ = paper_figure(item, name.removeprefix("Figure "))
    rules = table(_HEAD, [_cells(line, full=True) for line in item.comparisons], words=5)
    seeds = f"{plural(len(item.seeds), 'seed')}: {', '.join(map(str, item.seeds))}" if item.seeds else "no seed"
    took = run.seconds.get(item.key)
    made = f"Remade by {_command(run, item.key)} ({seeds}" + (f"; {took:.0f} s)." if took is not None else ").")
    return Section(
        key=item.key,
        title=f"{name}: {item.title}",
        lead=_lead(item),
        body=join(
            figure_,
            tag("div", rules, class_="verdicts"),
            [paragraph(sentence) for sentence in item.sentences],
            [_table(found) for found in item.tables],
            fold(plural(len(item.warnings), "warning"), bullets(item.warnings)) if item.warnings else None,
            paragraph(made, class_="quiet"),
        ),
    )


def _command(run: PaperRun, key: str) -> str:
    if run.command.startswith("pg."):
        return f'{run.command.removesuffix(")")}, items=["{key}"])'
    return f"{run.command} --items {key}"


_WORDS = {
    AGREES: ("agrees", "agree"),
    DISAGREES: ("disagrees", "disagree"),
    UNDECIDED: ("is undecided", "are undecided"),
    NOT_COMPARABLE: ("cannot be compared", "cannot be compared"),
}


def _lead(item: PaperItem) -> str:
    found = Counter(line.verdict for line in item.comparisons)
    if not found:
        return "The paper states nothing about it that could be compared."
    words = listed(f"{count} {_WORDS[verdict][count > 1]}" for verdict in VERDICTS if (count := found[verdict]))
    told = f"Of {plural(len(item.comparisons), 'statement')}, {words}."
    against = [line for line in item.comparisons if line.verdict == DISAGREES]
    if not against:
        return told
    first = next((line for line in against if line.headline), against[0])
    return f"{told} {sentence_case(first.what)}: {first.reason}."


def _table(found: PaperTable) -> Markup:
    rows = [[cell if isinstance(cell, str) else _cell(cell) for cell in row] for row in found.rows]
    words = max((place + 1 for place, cell in enumerate(found.rows[0]) if _is_word(cell)), default=1) if rows else 1
    return fold(found.title, table(found.head, rows, words=min(words, 2)))


def _is_word(cell: str | float) -> bool:
    return isinstance(cell, str) and not any(character.isdigit() for character in cell)


def _cell(value: float) -> str:
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else number(value)


def _missing(run: PaperRun) -> Section:
    lines = [
        f"{NAMES[key]}: {why}." if not why.endswith(".") else f"{NAMES[key]}: {why}" for key, why in run.missing.items()
    ]
    left = [name for key, name in NAMES.items() if key not in run.missing and all(i.key != key for i in run.items)]
    if left:
        lines.append(f"Not asked for in this run: {', '.join(left)}.")
    return Section(
        key="missing",
        title="What is not here",
        lead="What could not be made, was not asked for, or is no result.",
        body=bullets([*lines, *NOT_REMADE]),
    )


def _how(run: PaperRun, items: Sequence[PaperItem]) -> Section:
    rules = [
        "A number agrees where our 95 % interval meets the printed one (± half a unit of its last digit). It is "
        "undecided where ours meets it but reaches further to one side than a quarter of the number, and than the "
        "printed interval does.",
        "A claim in words has a bound, stated as its rule: it agrees where the whole interval is on its side, "
        "disagrees where the whole interval is on the other, and is undecided where the interval holds the bound.",
        "A claim about all of several cases (targets, pairs of hyperparameters or of bonds) agrees where all intervals "
        "are on its side; one that is wholly on the other, corrected for their number, contradicts it.",
        "Errors in eV or GPa, of one test beside the paper's or of two tests of ours, are compared only where the "
        "labels spread alike within a factor of 1.25; else both are given in units of the spread.",
        "Intervals over seeds are those of the corrected resampled t; where all seeds share one split, the wider of "
        "that and of a bootstrap of groups of cells; over cells, of a bootstrap of groups; of shares, Wilson's.",
        "In studies, networks that failed or have R² < −1 count as the worst, and only drawings leave them out. Only "
        "a full grid, trained to the end, decides.",
    ]
    total = sum(run.seconds.values())
    rows = [[NAMES[item.key], f"{run.seconds.get(item.key, 0.0):.1f}"] for item in items]
    return Section(
        key="how",
        title="How it was decided",
        lead=f"Everything here took {total:.0f} s to compute; {run.command}",
        body=join(
            bullets(rules),
            fold("Seconds per item", table(["item", "s"], rows)),
            fold("Versions and seeds", table(["what", "value"], [list(line) for line in run.provenance], words=2)),
        ),
    )


def _data(run: PaperRun) -> Section:
    card = tag("pre", run.card) if run.card else paragraph("The sets were brought; they have no card.")
    return Section(
        key="data",
        title="The data",
        lead=f"{sentence_case(run.data)}. What the sets are, how they were made and what they must not be used for:",
        body=fold("Card of the dataset", card, open_=False) if run.card else join(card),
    )
