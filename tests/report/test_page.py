"""The page: every part present or honestly absent, inert, self-contained, small, and the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from make_material import make_material

from phonograph.errors import InputFileError
from phonograph.report import ReportMaterial, render_report, write_report
from phonograph.report.page import content_security_policy
from phonograph.types import Crystal

KEYS = (
    "structure",
    "phonons",
    "sampling",
    "labels",
    "training",
    "evaluation",
    "explanation",
    "thermal",
    "warnings",
    "limits",
    "manifest",
    "cite",
)
PARTS = {
    "structure": ("crystal", "phonons", "explanations", "sets"),
    "phonons": ("phonons",),
    "sampling": ("sets", "certificates"),
    "labels": ("labels",),
    "training": ("study", "fits"),
    "evaluation": ("evaluation",),
    "explanation": ("explanations",),
    "thermal": ("curve",),
}
VENDOR = resources.files("phonograph.report") / "vendor"
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b a='"


class Outline(HTMLParser):
    """Checks that elements nest, and collects ids, sections, scripts, styles and addresses."""

    void = frozenset({"meta", "input", "br", "hr", "img", "link"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.names: list[str] = []
        self.ids: list[str] = []
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.attributes: set[str] = set()
        self._now: dict[str, str | None] = {}

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names.append(tag)
        self.attributes |= set(found)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "section":
            self.sections.append(found["id"])
        self.addresses += [value for key, value in attributes if key in ("href", "src", "action", "data", "poster")]
        self._now = found
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append((self._now, data))
        if self.open and self.open[-1] == "style":
            self.styles.append(data)


def outline(page: str) -> Outline:
    reader = Outline()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def section(page: str, key: str) -> str:
    start = page.index(f'<section id="{key}">')
    return page[start : page.index("</section>", start)]


def test_every_part_is_there_once_and_reachable(page):
    found = outline(page)
    assert tuple(found.sections) == KEYS
    assert len(found.ids) == len(set(found.ids))
    local = [address[1:] for address in found.addresses if address.startswith("#")]
    assert set(KEYS) <= set(local) <= set(found.ids)


def test_every_figure_has_a_caption_and_its_numbers(page):
    figures = re.findall(r"<figure .*?</figure>", page, flags=re.DOTALL)
    assert len(figures) >= 20
    for figure in figures:
        assert "<figcaption><b>Figure " in figure
        assert "<svg" in figure
        # The numbers are folded under the picture, beside it, or (rounds and curve) in the table that follows.
        number = re.search(r"Figure (\d+\.\d+)", figure).group(1)
        assert "<table" in figure or number in ("2.3", "8.1"), number


def test_pictures_say_what_they_are_and_axes_have_units(page):
    assert page.count('role="img"') == page.count("aria-label=") - page.count('aria-label="geometry"') - 1
    for label in ("frequency (THz)", "displacement of Ag (Å)", "band gap (eV)", "energy per atom (eV/atom)",
                  "hydrostatic stress (GPa)", "temperature (K)", "density (1/Å)"):  # fmt: skip
        assert f">{label}</text>" in page, label


@pytest.mark.parametrize("key", list(PARTS))
def test_absent_data_is_told_in_one_sentence(material, key):
    empty = {name: () if isinstance(getattr(material, name), tuple) else None for name in PARTS[key]}
    part = section(render_report(replace(material, **empty)), key)
    assert 'class="lead absent"' in part
    assert "<figure" not in part
    words = re.sub(r"<[^>]+>", "", part)
    assert words.rstrip().endswith(".")


def test_only_a_title_is_needed():
    page = render_report(ReportMaterial(title="Nothing yet"))
    found = outline(page)
    assert tuple(found.sections) == KEYS
    assert "__webpack_modules__" not in page  # no crystal, no viewer
    assert page.count("lead absent") == 11


def test_brought_labels_without_phonons(material):
    alone = ReportMaterial(title="Brought", labels=material.labels, fits=material.fits, evaluation=material.evaluation)
    page = render_report(alone)
    assert "No phonons:" in page
    assert 'id="figure-6-1"' in page


def test_crystal_alone_is_drawn():
    crystal = Crystal(cell_A=[[3, 0, 0], [1, 3, 0], [0.5, 0.7, 3]], positions_A=[[0, 0, 0]], numbers=[14])
    page = render_report(ReportMaterial(title="One atom", crystal=crystal))
    assert 'data-scene="structure"' in page


def test_same_material_same_bytes(page):
    again = render_report(make_material())
    assert hashlib.sha256(again.encode()).hexdigest() == hashlib.sha256(page.encode()).hexdigest()


def test_size_and_time(material):
    start = time.perf_counter()
    page = render_report(material)
    assert time.perf_counter() - start < 10.0
    assert len(page.encode()) < 5_000_000


def test_policy_names_exactly_the_scripts_and_the_style(page):
    found = outline(page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1).replace("&#x27;", "'")
    hashes = {
        base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        for kind, code in found.scripts
        if "type" not in kind
    }
    style = base64.b64encode(hashlib.sha256(found.styles[0].encode()).digest()).decode()
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert set(directives["script-src"].split()) == {f"'sha256-{value}'" for value in hashes}
    assert directives["style-src"] == f"'sha256-{style}'"
    assert len(hashes) == 2
    assert len(found.styles) == 1
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


def test_policy_is_built_from_the_text_itself():
    empty = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    assert f"script-src 'sha256-{empty}';" in content_security_policy("body{}", [""])


def test_page_asks_for_nothing_from_outside(page):
    found = outline(page)
    outside = [address for address in found.addresses if not address.startswith("#")]
    assert all(re.fullmatch(r"https://doi\.org/10\.[^<>\"']+", address) for address in outside)
    assert not {"img", "link", "iframe", "object", "embed", "form", "base", "audio", "video"} & set(found.names)
    assert not {name for name in found.attributes if name.startswith("on") or name in ("style", "src", "srcset")}
    style = found.styles[0]
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_words_stay_words(material):
    crystal = replace(material.crystal, title=HOSTILE)
    labels = replace(material.labels, status=("failed: " + HOSTILE, *material.labels.status[1:]))
    hostile = replace(
        material,
        title=HOSTILE,
        crystal=crystal,
        labels=labels,
        sets=(replace(material.sets[0], name=HOSTILE), *material.sets[1:]),
        warnings=((HOSTILE, HOSTILE),),
        limits=(HOSTILE,),
        manifest={HOSTILE: {HOSTILE: HOSTILE}, "command": HOSTILE, "list": [HOSTILE]},
        config_toml=f"# {HOSTILE}\n[{HOSTILE}]\n",
        citations=(f"{HOSTILE} 10.1000/{HOSTILE}",),
        explanations=(replace(material.explanations[0], model=HOSTILE),),
    )
    found = outline(render_report(hostile))
    assert tuple(found.sections) == KEYS
    assert "img" not in found.names
    assert not {name for name in found.attributes if name.startswith("on")}
    scenes = [json.loads(code) for kind, code in found.scripts if kind.get("id") == "scenes"]
    assert scenes[0]["structure"]["views"][1]["name"] == HOSTILE


def test_every_warning_and_limit_is_shown(page, material):
    shown = re.sub(r"<[^>]+>", "", section(page, "warnings"))
    for room, sentence in material.warnings:
        assert room.capitalize() in shown
        assert sentence.replace("'", "&#x27;") in shown
    box = section(page, "limits")
    for fact in (
        "tblite 0.8.0 GFN1-xTB",
        "Γ point",
        "CHGNet 0.4.2",
        "40-atom supercell",
        "thermal expansion",
        "3 seeds",
    ):
        assert fact in box


def test_limits_follow_the_facts(material):
    moving = material.sets[0].cells_A * (1 + 0.01 * (material.sets[0].index[:, None, None] % 2))
    other = replace(
        material,
        sets=(replace(material.sets[0], cells_A=moving),),
        labels=replace(
            material.labels, columns=tuple(replace(c, engine="VASP 6.5 PBEsol") for c in material.labels.columns)
        ),
        phonons=replace(material.phonons, converged=False),
        explanations=(),
    )
    box = section(render_report(other), "limits")
    assert "thermal expansion" not in box
    assert "underestimates gaps" in box
    assert "did not pass their convergence test" in box
    assert "Importance" not in box


def test_scenes_hold_what_is_drawn(page, material):
    found = outline(page)
    scenes = next(json.loads(code) for kind, code in found.scripts if kind.get("id") == "scenes")
    assert set(scenes) == {"structure", "explanation-0", "explanation-1"}
    assert [view["name"] for view in scenes["structure"]["views"]] == [
        "equilibrium sites",
        "phonon",
        "random",
        "matched",
        "eq3",
    ]
    first = material.sets[0].crystal(0).positions_A
    assert scenes["structure"]["views"][1]["positions"][7] == pytest.approx(first[7], abs=6e-4)
    edges = scenes["explanation-0"]["edges"]
    assert len(edges["i"]) == len(edges["importance"]) == len(material.explanations[0].importance) == 616


def test_written_whole_or_not_at_all(tmp_path, material, monkeypatch):
    path = tmp_path / "report.html"
    write_report(material, path)
    old = path.read_bytes()
    assert old == render_report(material).encode()
    monkeypatch.setattr("phonograph.report.page.render_report", lambda material: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(material, path)
    assert path.read_bytes() == old
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputFileError, match="cannot write"):
        write_report(ReportMaterial(title="x"), tmp_path / "file" / "report.html")


def test_vendored_viewer_is_the_one_we_say():
    code = (VENDOR / "3Dmol-min.js").read_bytes()
    digest = hashlib.sha256(code).hexdigest()
    assert digest == "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"
    assert digest in (VENDOR / "README.md").read_text(encoding="utf-8")
    assert "2.5.5" in (VENDOR / "README.md").read_text(encoding="utf-8")
    licence = (VENDOR / "3Dmol-LICENSE.txt").read_text(encoding="utf-8")
    assert "Redistribution and use in source and binary forms" in licence
    assert b"\r" not in code  # a browser hashes the text after it has normalised line ends


def test_assets_can_be_put_inside_a_page():
    for folder in ("assets", "vendor"):
        for path in (resources.files("phonograph.report") / folder).iterdir():
            if Path(path.name).suffix in (".js", ".css"):
                code = path.read_text(encoding="utf-8")
                assert not re.search(r"</script|</style|<!--", code, flags=re.IGNORECASE), path.name


def test_our_script_uses_no_dangerous_sink():
    code = (resources.files("phonograph.report") / "assets" / "report.js").read_text(encoding="utf-8")
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "fetch(",
        "http",
    ):
        assert word not in code, word


def test_the_tile_of_the_curve_shows_its_check():
    material = make_material(n=16)
    found = re.search(r"where labelled directly \(n = (\d+)\)", render_report(material))
    assert found
    assert int(found[1]) in {point.label_n for point in material.curve.points}
