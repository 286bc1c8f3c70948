"""Gates R1 to R4 of the store: kill -9, full disk, read-only folder, two drivers, readers, flipped bits.

PHONOGRAPH_LARGE_GATES=1 runs them at their larger size: 1000 kills, 20,000 flips.
"""

from __future__ import annotations

import ctypes
import errno
import json
import multiprocessing
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from label_toys import copper
from store_toys import FORCES, PLAIN, attempt, six, story, success

from phonograph.errors import InputFileError
from phonograph.labels.attempts import load_attempts, save_attempts
from phonograph.labels.store import open_store
from phonograph.labels.task import structure_bytes

LARGE = os.environ.get("PHONOGRAPH_LARGE_GATES") == "1"
KILLS, FLIPS = (1000, 20_000) if LARGE else (60, 500)
TOYS = Path(__file__).parent / "toys"
OLD = Path(__file__).parent / "stores" / "schema-1.sqlite"
SIX = [structure_bytes(crystal) for crystal in six().crystals()]
MANY = [structure_bytes(crystal) for crystal in copper(300).crystals()]


@pytest.mark.slow
@pytest.mark.parametrize(("old", "share"), [("", 0.75), (str(OLD), 0.25)], ids=["new", "upgraded"])
def test_r1_kill_minus_nine_of_the_writer(tmp_path, old, share):
    """0 acknowledged labels lost, 0 unreadable, the next writer is in within 2 s."""
    arguments = [tmp_path, round(KILLS * share), 5, *([old] if old else [])]
    done = subprocess.run(
        [sys.executable, str(TOYS / "store_killer.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["kills"] == round(KILLS * share)
    assert report["told"] > 3, "writers must have come to work"
    assert (report["lost"], report["unreadable"]) == (0, 0)
    assert report["slowest_s"] < 2.0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 2 MB, where root may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    library = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or library.mount(b"tmpfs", bytes(place), b"tmpfs", 0, b"size=2m") != 0:
        pytest.skip(f"mounting a small disk takes root ({errno.errorcode.get(ctypes.get_errno(), 'not root')})")

    def remount(flags: int) -> None:
        assert library.mount(b"tmpfs", bytes(place), b"tmpfs", 32 | flags, b"size=2m") == 0  # 32: MS_REMOUNT

    yield place, remount
    assert library.umount2(bytes(place), 2) == 0  # 2: MNT_DETACH


def fill(path: Path) -> tuple[int, str]:
    """Record until it fails; return how many labels were acknowledged and the sentence."""
    done = 0
    try:
        with open_store(path, "write") as store:
            for seed, s in enumerate(MANY):
                store.record([attempt(s, c, success(seed, c)) for c in (FORCES, PLAIN)])
                done = seed + 1
    except InputFileError as error:
        return done, str(error)
    return done, ""


def check_kept(path: Path, done: int) -> None:
    with open_store(path) as store:
        assert store.problems() == ()
        for seed in range(done):
            assert store.find(MANY[seed].key, FORCES).result.values == success(seed, FORCES).values
        assert all(found.result is None for found in store.find_many([s.key for s in MANY[done:]], FORCES))


def test_r2_full_disk(small_disk):
    """Every acknowledged label is readable on the full disk, the sentence names the path, and work goes on after."""
    place, _ = small_disk
    path, ballast = place / "s.sqlite", place / "ballast"
    ballast.write_bytes(bytes(1_600_000))
    done, sentence = fill(path)
    assert 0 < done < len(MANY)
    assert sentence.startswith(f"cannot write label store {path}: ")
    assert "free space" in sentence
    check_kept(path, done)
    with open_store(path) as store, pytest.raises(InputFileError, match="free space"):
        store.snapshot(place / "copy.sqlite")
    assert sorted(p.name for p in place.iterdir()) == ["ballast", "s.sqlite", "s.sqlite.lock"]
    ballast.unlink()
    assert fill(path) == (300, "")
    check_kept(path, 300)


def test_r2_file_size_limit(tmp_path):
    """The same without root: a limit on the size of files."""
    path = tmp_path / "s.sqlite"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 * 16384, before[1]))
    try:
        done, sentence = fill(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 0 < done < len(MANY)
    assert sentence.startswith(f"cannot write label store {path}: ")
    check_kept(path, done)
    assert fill(path) == (300, "")


def test_r2_file_system_that_becomes_read_only(small_disk):
    """A disk error makes Linux remount the file system read-only: reading goes on, writing says so."""
    place, remount = small_disk
    path = place / "s.sqlite"
    with open_store(path, "write") as store:
        store.record([attempt(s, FORCES, success(seed, FORCES)) for seed, s in enumerate(MANY[:5])])
    remount(1)  # 1: MS_RDONLY
    with pytest.raises(InputFileError, match=f"cannot write label store {path}: Read-only file system"):
        open_store(path, "write").__enter__()
    check_kept(path, 5)
    with open_store(path) as store, pytest.raises(InputFileError, match=r"cannot write .*Read-only file system"):
        store.snapshot(place / "copy.sqlite")
    remount(0)
    assert fill(path) == (300, "")


def test_r2_reading_from_a_folder_that_may_not_be_written(tmp_path):
    path = tmp_path / "shared" / "s.sqlite"
    with open_store(path, "write") as store:
        store.record(story(six()))
    Path(f"{path}.lock").unlink()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    before = path.read_bytes()
    try:
        with open_store(path) as store:
            assert store.problems() == ()
    finally:
        path.parent.chmod(0o755)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["s.sqlite"], "a reader writes nothing"


def test_r3_second_driver_is_refused_at_once_by_name(tmp_path):
    path = tmp_path / "s.sqlite"
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(path, ready, stop), daemon=True)
    holder.start()
    assert ready.wait(60)
    started = time.monotonic()
    words = f"is being written by process {holder.pid} on {socket.gethostname()}; wait for it or stop it"
    with pytest.raises(InputFileError, match=words):
        open_store(path, "write").__enter__()
    assert time.monotonic() - started < 1.0
    holder.kill()
    holder.join()
    with open_store(path, "write") as store:
        assert store.problems() == (), "the lock ends with its holder"


def hold(path, ready, stop):
    with open_store(path, "write"):
        ready.set()
        stop.wait(60)


def watch(path, stop, results):
    """Read again and again; report how often, how many labels at last, and how many half rows."""
    keys, looks, halves, most = [s.key for s in MANY], 0, 0, 0
    while not stop.is_set():
        with open_store(path) as store:
            for one, other in zip(store.find_many(keys, FORCES), store.find_many(keys, PLAIN), strict=True):
                halves += one.damaged + other.damaged
            # Both labels of a structure are recorded together; one read sees both or none of the last ones.
            per_structure = {}
            for label in store.labels():
                halves += label.result.failure == "damaged" or label.core_seconds <= 0
                per_structure.setdefault(label.structure.key, []).append(label)
            halves += sum(len(labels) != 2 for labels in list(per_structure.values())[:-8])
            most = max(most, len(per_structure))
        looks += 1
    results.put((looks, halves, most))


@pytest.mark.slow
def test_r3_four_readers_beside_a_writer_never_see_half_a_row(tmp_path):
    path = tmp_path / "s.sqlite"
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    with open_store(path, "write") as store:
        readers = [context.Process(target=watch, args=(path, stop, results), daemon=True) for _ in range(4)]
        for reader in readers:
            reader.start()
        until = time.monotonic() + (60 if LARGE else 8)
        for seed, s in enumerate(MANY):
            store.record([attempt(s, c, success(seed, c)) for c in (FORCES, PLAIN)])
            time.sleep(max(0.0, min(0.03, until - time.monotonic())))
        time.sleep(1.0)
    stop.set()
    told = [results.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
    assert all(looks > 0 and halves == 0 for looks, halves, _ in told), told
    assert max(most for _, _, most in told) > 10, "readers must have read beside the writer"


def flipped(clean: bytes, trial: int, rng: np.random.Generator, used: np.ndarray) -> bytes:
    """Return the content with one bit flipped; every second time among the bytes that are not zero."""
    dirty = bytearray(clean)
    place = int(rng.choice(used)) if trial % 2 else int(rng.integers(len(clean)))
    dirty[place] ^= 1 << int(rng.integers(8))
    return bytes(dirty)


def read_all(path: Path) -> list[object]:
    """Return everything that a user can get: labels, arrays, costs, samples."""
    with open_store(path) as store:
        ways = [store.find(s.key, c) for s in SIX for c in (FORCES, PLAIN)]
        many = [found for c in (FORCES, PLAIN) for found in store.find_many([s.key for s in SIX], c)]
        costs = [store.costs([s.key], c)[0] for s in SIX for c in (FORCES, PLAIN)]
        try:
            listed = list(store.labels())
        except InputFileError:
            listed = None
        return [ways, many, costs, listed]


def plain(result) -> tuple[object, ...]:
    if result is None:
        return (None,)
    arrays = {name: array.tobytes() for name, array in result.arrays.items()}
    return (dict(result.values), arrays, result.failure, result.message)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_r4_no_flipped_bit_of_a_store_changes_anything_silently(tmp_path, part):
    path = tmp_path / "s.sqlite"
    with open_store(path, "write") as store:
        store.register(six())
        store.record(story(six()))
    clean = path.read_bytes()
    ways, many, costs, listed = read_all(path)
    known = {(one.structure.key, one.calculation.key): one for one in listed}
    samples = {one.structure.key: set(map(repr, one.samples)) for one in listed}
    used, rng = np.flatnonzero(np.frombuffer(clean, np.uint8)), np.random.default_rng(part)
    caught = 0
    for trial in range(FLIPS // 2):
        path.write_bytes(flipped(clean, trial, rng, used))
        try:
            found = read_all(path)
        except InputFileError:
            caught += 1
            continue
        for one, right in zip([*found[0], *found[1]], [*ways, *many], strict=True):
            assert plain(one.result) in ((None,), plain(right.result)), trial
        wrong_costs = [(one, right) for one, right in zip(found[2], costs, strict=True) if one not in (0.0, right)]
        assert all(one < right for one, right in wrong_costs), "an attempt may be left out, never changed"
        for one in found[3] or ():
            if one.result.failure != "damaged":
                right = known[one.structure.key, one.calculation.key]
                assert plain(one.result) == plain(right.result)
                assert one.structure == right.structure
                assert one.calculation == right.calculation
            assert {repr(sample) for sample in one.samples} <= samples.get(one.structure.key, set())
        caught += [plain(one.result) for one in found[0]] != [plain(one.result) for one in ways]
    assert caught > FLIPS // 20


def test_r4_no_flipped_bit_of_a_result_file_changes_anything_silently(tmp_path):
    path = tmp_path / "one.result"
    made = story(six())
    save_attempts(path, made)
    clean = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(FLIPS):
        dirty = bytearray(clean)
        dirty[int(rng.integers(len(dirty)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(dirty))
        with pytest.raises(InputFileError, match="is damaged or incomplete"):
            load_attempts(path)
    for end in rng.integers(len(clean), size=50):
        path.write_bytes(clean[:end])
        with pytest.raises(InputFileError, match="is damaged or incomplete"):
            load_attempts(path)
    path.write_bytes(clean)
    assert [plain(one.result) for one in load_attempts(path)] == [plain(one.result) for one in made]


def test_a_reader_of_a_large_piece_does_not_stop_the_writer(tmp_path):
    """Iteration reads in pieces: a commit goes through while a reader stands in the middle."""
    path = tmp_path / "s.sqlite"
    shutil.copy(OLD, path)
    with open_store(path, "write") as store:
        with open_store(path) as reader:
            labels = reader.labels()
            next(labels)
            started = time.monotonic()
            store.record(story(six()))
            assert time.monotonic() - started < 5
            assert sum(1 for _ in labels) >= 4
