"""The guards: nothing hostile reaches a library, and memory stays in proportion to the file."""

from __future__ import annotations

import gzip
import lzma
import tracemalloc

import pytest

from phonograph.errors import InputFileError
from phonograph.files import safety
from phonograph.files.force_constants import read_force_constants
from phonograph.files.safety import check_name, check_readable, read_text, refuse_hostile_yaml, safe_yaml, shown
from phonograph.files.structures import read_structure

CELL = "lattice:\n- [4, 0, 0]\n- [0, 4, 0]\n- [0, 0, 4]\npoints:\n- symbol: Ag\n  coordinates: [0, 0, 0]\n"


def tagged(folder):
    canary = folder / "canary"
    return canary, [
        f"{CELL}x: !!python/object/apply:os.mkdir ['{canary}']\n",
        f"{CELL}x: !!python/object/new:os.mkdir ['{canary}']\n",
        f"%TAG !p! tag:yaml.org,2002:python/object/apply:\n---\n{CELL}x: !p!os.mkdir ['{canary}']\n",
        f"{CELL}x: !<tag:yaml.org,2002:python/object/apply:os.mkdir> ['{canary}']\n",
        f"? !!python/object/apply:os.mkdir ['{canary}']\n: 1\n{CELL}",
        f"{CELL}x: !custom 1\n",
        f"{CELL}x: !!str 1\n",
        f"{CELL}x: ! 1\n",
    ]


def test_tags_are_refused_and_run_nothing(tmp_path):
    canary, texts = tagged(tmp_path)
    for text in texts:
        for name, data in (
            ("phonopy.yaml", text.encode()),
            ("phonopy.yaml.xz", lzma.compress(text.encode())),
            ("phonopy.yaml.gz", gzip.compress(text.encode())),
        ):
            (tmp_path / name).write_bytes(data)
            for read in (read_structure, read_force_constants, safe_yaml):
                with pytest.raises(InputFileError, match="holds a YAML tag"):
                    read(tmp_path / name)
    assert not canary.exists()


def test_utf_16_cannot_hide_a_tag(tmp_path):
    canary, texts = tagged(tmp_path)
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        (tmp_path / "phonopy.yaml").write_bytes(texts[0].encode(encoding))
        with pytest.raises(InputFileError, match=r"not UTF-8|not complete YAML|tag"):
            read_structure(tmp_path / "phonopy.yaml")
    assert not canary.exists()


def test_alias_bomb_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (tmp_path / "phonopy.yaml").write_text("\n".join(lines))
    with pytest.raises(InputFileError, match="line 1 holds a YAML anchor or alias"):
        read_structure(tmp_path / "phonopy.yaml")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_early(opening):
    with pytest.raises(InputFileError, match=r"nesting deeper than 32 levels|not complete YAML"):
        refuse_hostile_yaml(opening * 100_000, "x")


def test_comments_with_stars_are_no_aliases():
    refuse_hostile_yaml("a: [ 1.0, 2.0 ] # a*\nb: 'x & y ! *z'\n", "x")


@pytest.mark.parametrize(
    "text", ["a: [1\n", "a: 1\n b: 2\n", "a: 2001-99-99\n", f"a: {'9' * 5000}\n", "a: b: c\n", "\t"]
)
def test_broken_yaml_gives_one_sentence(tmp_path, text):
    (tmp_path / "phonopy.yaml").write_text(text)
    with pytest.raises(InputFileError) as caught:
        safe_yaml(tmp_path / "phonopy.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pack", [lzma.compress, gzip.compress])
def test_decompression_bombs_stop_at_the_limit(tmp_path, pack, monkeypatch):
    path = tmp_path / ("a.yaml.xz" if pack is lzma.compress else "a.yaml.gz")
    path.write_bytes(pack(b"a" * 60_000_000))
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    with pytest.raises(InputFileError, match="unpacks to more than 1 MiB"):
        safe_yaml(path, max_bytes=1024 * 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


@pytest.mark.parametrize("name", ["a.yaml.xz", "a.yaml.gz"])
def test_damaged_archives_give_one_sentence(tmp_path, name):
    packed = (lzma.compress if name.endswith("xz") else gzip.compress)(CELL.encode())
    for data in (b"not packed", packed[:-9], packed[:20], packed[:30] + b"\xff\xff\xff" + packed[33:]):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputFileError) as caught:
            safe_yaml(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_too_large_files_are_refused_unread(tmp_path):
    with (tmp_path / "POSCAR").open("wb") as stream:
        stream.truncate(10 * 2**30)  # sparse
    with pytest.raises(InputFileError, match="holds 10240 MiB; at most 32 MiB"):
        read_structure(tmp_path / "POSCAR")


def test_readable_and_not(tmp_path):
    assert check_readable(__file__).name == "test_safety.py"
    (tmp_path / "empty").touch()
    for path, sentence in (
        (tmp_path / "no", "does not exist; check the path"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty", "is empty"),
        ("/dev/zero", "is not a regular file"),
    ):
        with pytest.raises(InputFileError, match=sentence):
            check_readable(path)


def test_text_is_utf_8_else_latin_1(tmp_path):
    (tmp_path / "a").write_bytes("\ufeffCrédit Å".encode())
    assert read_text(tmp_path / "a") == "Crédit Å"
    (tmp_path / "a").write_bytes("Crédit Å".encode("latin-1"))
    assert read_text(tmp_path / "a") == "Crédit Å"


def test_names_of_files_cannot_break_a_sentence(tmp_path):
    assert shown("a\nb") == "a\\nb"
    with pytest.raises(InputFileError) as caught:
        read_structure(tmp_path / "a\nb.vasp")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "a b", "a\n", "é", "x" * 81])
def test_unsafe_names_are_refused(name):
    with pytest.raises(InputFileError, match="must be 1–80 letters"):
        check_name(name, "the name of a set")


def test_third_party_exceptions_become_one_sentence_and_our_own_do_not():
    with pytest.raises(InputFileError, match="x cannot be read as a thing: a b"), safety.reading("x", "a thing"):
        raise RuntimeError("a\nb.")
    with pytest.raises(InputFileError, match=r"^mine$"), safety.reading("x", "a thing"):
        raise InputFileError("mine")
    with pytest.raises(KeyboardInterrupt), safety.reading("x", "a thing"):
        raise KeyboardInterrupt
