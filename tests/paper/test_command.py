"""``phonograph paper``: resumable by item, one sentence for mistakes, a page that says what was found."""

from __future__ import annotations

import csv
import html.parser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from phonograph.cli import main
from phonograph.config_files import read_config
from phonograph.errors import DataError
from phonograph.steps import fit_jobs
from phonograph.steps.paper.once import once
from phonograph.training import FitJob
from phonograph.training.grid import grid
from phonograph.types import GraphSet, Labels

CHEAP = "s3,s9,s11,s10,fig3"


def run(items: str, *more: str) -> int:
    return main(["paper", "c.toml", "-o", "run", "--items", items, *more])


def test_cheap_items_are_made_kept_and_made_again_when_something_changes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(CHEAP) == 0
    told = capsys.readouterr()
    assert "5 items" in told.out
    assert told.err.index("s3: done") < told.err.index("s10: done")
    before = {path: path.stat().st_mtime_ns for path in Path("run/paper").rglob("item.json")}
    assert len(before) == 5
    page = Path("run/paper.html").read_bytes()
    assert run(CHEAP) == 0
    assert capsys.readouterr().err.count("unchanged") == 7
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert Path("run/paper.html").read_bytes() == page
    # A damaged item is made again, and so is everything where another set plays the part.
    Path("run/paper/s9/arrays.npz").write_bytes(b"not a zip")
    assert run("s9") == 0
    assert "s9: done" in capsys.readouterr().err
    assert run("s9", "--set", "paper.random=md") == 0
    assert "s9: done" in capsys.readouterr().err


def test_the_page_keeps_finished_items_that_were_not_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("s3,s9,s10") == 0
    before = {path: path.stat().st_mtime_ns for path in Path("run/paper").rglob("item.json")}
    capsys.readouterr()
    assert run("s3") == 0
    told = capsys.readouterr()
    assert "also on the page, from earlier runs and unchanged since: s9, s10" in told.err
    assert "3 items (2 of them from earlier runs)" in told.out
    assert {path: path.stat().st_mtime_ns for path in before} == before, "nothing else is computed"
    plain = json.loads(Path("run/paper.json").read_text(encoding="utf-8"))
    assert [item["key"] for item in plain["items"]] == ["s3", "s9", "s10"]
    assert list(plain["seconds"]) == ["s3", "s9", "s10"]
    page = Path("run/paper.html").read_text(encoding="utf-8")
    assert all(f'id="{key}"' in page for key in ("s3", "s9", "s10"))
    # With other settings they are other items, and are not shown.
    assert run("s3", "--set", "paper.random=md") == 0
    assert "also on the page" not in capsys.readouterr().err
    assert [item["key"] for item in json.loads(Path("run/paper.json").read_text(encoding="utf-8"))["items"]] == ["s3"]


def test_items_made_without_failed_networks_are_made_again_when_these_are_trained(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, here: type
) -> None:
    def s6(*more: str) -> str:
        few = ("--set", "study.axes.dropout=[0.0, 0.2]", "--set", "training.settings.epochs=2")
        assert run("s6", *few, *more) == 0
        return capsys.readouterr().err

    whole = fit_jobs.train_jobs

    def partly(graphs: GraphSet, labels: Labels, jobs: list[FitJob], *more: Any) -> list[Any]:
        found = whole(graphs, labels, jobs, *more)
        lost = [DataError("no device today") if job.settings.learning_rate == 1e-2 else None for job in jobs]
        return [one or sound for one, sound in zip(lost, found, strict=True)]

    def failed() -> int:
        return int(re.search(r"(\d+) that failed", Path("run/paper.html").read_text(encoding="utf-8")).group(1))

    with monkeypatch.context() as broken:
        broken.setattr(fit_jobs, "train_jobs", partly)
        assert "2 of 8 networks could not be trained; --retry-failed" in s6()
    assert failed() == 2
    assert "s6: unchanged" in s6(), "without the option it is as it was"
    told = s6("--retry-failed")
    assert "s6: done" in told
    assert "could not be trained" not in told
    assert failed() == 0
    assert "s6: unchanged" in s6("--retry-failed"), "nothing is left to be trained"


def test_what_failed_is_tried_once_for_all_items_of_a_command() -> None:
    tries = []

    class Shared:
        @once
        def network(self) -> int:
            """Return a network."""
            tries.append(1)
            if len(tries) == 1:
                raise DataError("diverged")
            return 3

    shared = Shared()
    for _ in range(3):
        with pytest.raises(DataError, match="diverged"):
            _ = shared.network
    assert len(tries) == 1
    other = Shared()
    assert [other.network, other.network] == [3, 3]
    assert len(tries) == 2
    assert Shared.network.__doc__ == "Return a network."


def test_tables_hold_every_statement(folder: Path) -> None:
    assert run("s3,s10") == 0
    with Path("run/paper.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["item"] for row in rows} == {"s3", "s10"}
    assert {row["verdict"] for row in rows} <= {"agrees", "disagrees", "undecided", "cannot be compared"}
    plain = json.loads(Path("run/paper.json").read_text(encoding="utf-8"))
    assert [item["key"] for item in plain["items"]] == ["s3", "s10"]
    assert len(rows) == sum(len(item["comparisons"]) for item in plain["items"])
    said = next(row for row in rows if row["key"] == "s3.Ag-S")
    assert float(said["value"]) == pytest.approx(2.45, abs=1e-3)


class Reader(html.parser.HTMLParser):
    """Collects anchors and links, and that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if found.get("id"):
            self.anchors.add(str(found["id"]))
        if (found.get("href") or "").startswith("#"):
            self.links.add(str(found["href"])[1:])
        if tag not in ("meta", "br", "hr", "img", "input", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_says_what_was_found(folder: Path) -> None:
    assert run(CHEAP) == 0
    page = Path("run/paper.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.links <= reader.anchors
    assert {"summary", "s3", "s9", "s10", "s11", "fig3", "missing", "how", "data"} <= reader.anchors
    assert page.count("<figure") == 5
    assert "# planted &lt;card&gt;" in page
    assert "phonograph" in page
    assert not re.search(r'(src|href)="https?:', page)
    for words in ("nearly identical for all atomic pairs", "Not asked for in this run: Table 1"):
        assert words in page


@pytest.mark.parametrize(
    ("items", "more", "words"),
    [
        ("s99", (), "unknown item 's99' of the paper; items are s3, s9"),
        ("s9", ("--set", "paper.items=['s98']"), "paper.items must be one of"),
        ("s9", ("--set", "paper.random=nothing"), "paper.random names the set 'nothing'"),
        ("s9", ("--set", "paper.sets=3"), "unknown key 'sets' in [paper]"),
        ("s3", ("--set", "paper.crystal="), "Figure S3 needs the equilibrium structure"),
        ("s9", ("--set", "paper.seeds=[]"), "must each name at least one"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], items: str, more: tuple[str, ...], words: str
) -> None:
    assert run(items, "-q", *more) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_what_cannot_be_made_is_named_and_the_rest_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("s3,s9", "--set", "paper.random=nothing") == 0
    told = capsys.readouterr().out
    assert "not made: s9: paper.random names the set 'nothing'" in told
    assert "1 items" in told
    assert "paper.random names the set" in Path("run/paper.html").read_text(encoding="utf-8")


def test_an_interrupted_run_goes_on_with_the_item_it_was_at(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from phonograph.steps.paper import cells

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cells, "pair_distance_distributions", interrupted)
        assert run("s3,s9,s11") == 130
    capsys.readouterr()
    page = Path("run/paper.html").read_text(encoding="utf-8")
    assert 'id="s9"' in page
    assert run("s3,s9,s11") == 0
    told = capsys.readouterr().err
    assert told.count(": unchanged") == 4  # two rooms, two items
    assert "s11: done" in told


def test_the_quick_version_that_the_example_names_is_smaller(repository: Path) -> None:
    example = repository / "examples" / "paper.toml"
    lines = example.read_text(encoding="utf-8").splitlines()
    first = next(place for place, line in enumerate(lines) if "runs/paper-quick" in line)
    words = shlex.split(" ".join(line.lstrip("# ") for line in lines[first : first + 4]))
    overrides = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    assert len(overrides) == 11
    full, quick = read_config(example), read_config(example, overrides)
    assert full.study is not None
    assert quick.study is not None
    assert len(grid(full.study.axes, full.training.model, full.training.settings)) == 480
    assert len(grid(quick.study.axes, quick.training.model, quick.training.settings)) == 120
    assert quick.study.targets == ("band_gap_eV",)
    assert quick.paper.seeds == (0, 1, 2)
    assert {item.n for item in quick.data.sets} == {400}


@pytest.mark.slow
def test_every_item_from_networks_trained_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = "table1,fig2,s2,fig5,fig4,table-s1,s6"
    assert run(items) == 0
    told = capsys.readouterr()
    assert "not made" not in told.out
    assert "7 items" in told.out
    reader = Reader()
    reader.feed(Path("run/paper.html").read_text(encoding="utf-8"))
    assert reader.open == []
    assert {"table1", "fig2", "s2", "fig5", "fig4", "table-s1", "s6"} <= reader.anchors
    # One network is trained once, whichever items need it: nothing is left to do.
    assert run(items) == 0
    assert capsys.readouterr().err.count(": unchanged") == 9
