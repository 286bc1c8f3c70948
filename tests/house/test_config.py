"""Configuration: one sentence for every mistake, overrides, round trip, and a template that runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from phonograph.config_files import parse_config, read_config, relocated, to_toml
from phonograph.errors import ConfigurationError, InputFileError, UserError
from phonograph.template import write_template

QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart.toml"
SET = {"name": "a", "sampler": "thermal"}


def test_quickstart_reads_and_survives_a_round_trip() -> None:
    config = read_config(QUICKSTART)
    again = parse_config(tomllib.loads(to_toml(config)), config.folder)
    assert to_toml(again) == to_toml(config)
    assert config.set_names == ("phonon", "random", "matched", "paper-eq3", "alloy")


@pytest.mark.parametrize("example", sorted(QUICKSTART.parent.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_configuration_reads(example: Path) -> None:
    read_config(example)


def test_a_collection_may_mix_sampled_and_brought_sets(tmp_path: Path) -> None:
    table = {
        "sampling": {"sets": [SET]},
        "data": {"sets": [{"name": "mine", "structures": "mine.extxyz"}]},
        "training": {"collections": {"both": ["a", "mine"]}},
    }
    assert parse_config(table, tmp_path).collections == {"both": ("a", "mine")}


def test_a_relocated_configuration_finds_the_same_files(tmp_path: Path) -> None:
    config = read_config(QUICKSTART)
    text = to_toml(relocated(config, tmp_path))
    again = parse_config(tomllib.loads(text), tmp_path)
    assert again.path(again.crystal.file).samefile(config.path(config.crystal.file))
    alloy = again.sampling.sets[-1].composition
    assert alloy is not None
    assert alloy.end_member is not None
    assert alloy.end_member.formula == "Ag3SI"


def test_override_reaches_every_level() -> None:
    config = read_config(
        QUICKSTART,
        [
            "sampling.n=7",
            "sampling.sets.random.n=3",
            "sampling.sets.phonon.statistics=classical",
            "thermal.temperatures_K=[50]",
            "title=another title",
            "labels.engines.tblite.method=GFN1-xTB",
        ],
    )
    sizes = {item.name: item.n for item in config.sampling.sets}
    assert (sizes["phonon"], sizes["random"]) == (7, 3)
    assert config.sampling.sets[0].sampler.statistics == "classical"
    assert config.thermal.temperatures_K == (50.0,)
    assert config.title == "another title"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"sede": 1}, ("unknown key 'sede'", "did you mean 'seed'")),
        ({"seed": "one"}, ("seed must be a whole number", "'one'")),
        ({"seed": True}, ("seed must be a whole number",)),
        ({"seed": -1}, ("seed must be at least 0 and below 2^64", "-1")),
        ({"seed": 2**64}, ("seed must be at least 0 and below 2^64", str(2**64))),
        ({"training": {"seeds": [0, -1]}}, ("training.seeds must be at least 0 and below 2^64", "got -1")),
        ({"training": {"seeds": [10**23]}}, ("training.seeds must be at least 0 and below 2^64",)),
        ({"study": {"seeds": [-1]}}, ("study.seeds must be at least 0",)),
        ({"study": {"final_seeds": [-3]}}, ("study.final_seeds must be at least 0",)),
        ({"learning_curve": {"seeds": [2**64]}}, ("learning_curve.seeds must be at least 0 and below 2^64",)),
        ({"paper": {"seeds": [2**64]}}, ("paper.seeds must be at least 0 and below 2^64",)),
        (
            {"study": {"axes": {"radial_functions": [2, 4]}}},
            ("study.axes.radial_functions without edge_law = 'radial' would have no effect", "study.axes.edge_law"),
        ),
        (
            {"study": {"axes": {"radial_functions": [2], "edge_law": ["cosine", "minmax"]}}},
            ("study.axes.radial_functions without edge_law = 'radial' would have no effect",),
        ),
        (
            {"study": {"strategy": "optuna", "search": {"ranges": {"radial_functions": [2, 8]}}}},
            ("study.search.ranges.radial_functions without edge_law = 'radial' would have no effect",),
        ),
        (
            {"study": {"axes": {"patience": [5, 50]}}, "training": {"mode": "paper-code"}},
            ("study.axes.patience without keep = 'best' would have no effect",),
        ),
        (
            {"study": {"axes": {"smallest_gap_eV": [0.0, 0.4]}, "targets": ["vbm_eV"]}},
            ("study.axes.smallest_gap_eV without the target band_gap_eV would have no effect",),
        ),
        (
            {"study": {"targets": ["colour"]}, "labels": {"engines": [{"engine": "emt"}]}},
            ("study.targets: no engine gives 'colour'",),
        ),
        (
            {"learning_curve": {"targets": ["colour"]}, "labels": {"engines": [{"engine": "emt"}]}},
            ("learning_curve.targets: no engine gives 'colour'",),
        ),
        ({"training": {"targets": ["a_eV", "b_eV", "a_eV"]}}, ("training.targets must differ from each other",)),
        ({"graphs": {"cutoff_A": 0.0}}, ("cutoff_A must be greater than 0",)),
        ({"graphs": {"cutoff_A": -2}}, ("cutoff_A must be greater than 0",)),
        ({"graphs": {"cutoff_A": 1e4}}, ("cutoff_A must be at most 30",)),
        ({"graphs": {"cutoff_A": float("nan")}}, ("cutoff_A must be a number",)),
        ({"graphs": {"cutof_A": 5}}, ("unknown key 'cutof_A' in [graphs]", "did you mean 'cutoff_A'")),
        ({"graphs": 5}, ("graphs must be a table",)),
        ({"crystal": {"file": "x", "supercell": [2, 2]}}, ("3 or 9 integers", "got 2")),
        ({"sampling": {"sets": [{"name": "a", "sampler": "termal"}]}}, ("must be one of thermal", "'termal'")),
        ({"sampling": {"sets": [{"name": "a"}]}}, ("sampler is required",)),
        ({"sampling": {"sets": [{"sampler": "thermal"}]}}, ("name is required",)),
        ({"sampling": {"sets": [SET, SET]}}, ("set names must differ",)),
        ({"sampling": {"sets": [{**SET, "name": "../up"}]}}, ("may hold letters", "'../up'")),
        ({"sampling": {"sets": [{**SET, "temperature_K": -3}]}}, ("temperature_K must be at least 0", "-3")),
        ({"sampling": {"sets": [{**SET, "statistics": "bose"}]}}, ("must be one of 'quantum', 'classical'",)),
        ({"sampling": {"sets": [{**SET, "temprature_K": 3}]}}, ("did you mean 'temperature_K'",)),
        ({"sampling": {"sets": [{"name": "m", "sampler": "matched-random", "match": "z"}]}}, ("which is no set",)),
        ({"sampling": {"n": 0}}, ("sampling.n must be at least 1",)),
        (
            {"labels": {"engines": [{"engine": "abinit"}]}},
            ("must be one of chgnet, tblite, emt, cp2k, vasp", "'abinit'"),
        ),
        ({"training": {"fractions": [0.5, 0.5, 0.5]}}, ("add up to 1",)),
        ({"training": {"seeds": []}}, ("at least one entry",)),
        (
            {"training": {"targets": ["colour"]}, "labels": {"engines": [{"engine": "emt"}]}},
            ("no engine gives 'colour'",),
        ),
        ({"training": {"collections": {"c": ["zz"]}}, "sampling": {"sets": [SET]}}, ("names the set 'zz'",)),
        ({"thermal": {"sampler": {"temperature_K": 5.0}}}, ("would have no effect", "thermal.temperatures_K")),
        ({"thermal": {"temperatures_K": []}}, ("temperatures_K must name at least one",)),
        ({"thermal": {"temperatures_K": [300, 300.0]}}, ("each once",)),
        ({"thermal": {"n": 3, "check_labels": 4}}, ("check_labels must be at most", "got 4")),
        ({"thermal": {"force_constants": "renormalised"}}, ("needs a [phonons.renormalisation]",)),
        ({"phonons": {"file": "f"}, "crystal": {"relaxation": {}}}, ("would move the crystal",)),
        ({"phonons": {"renormalisation": {"route": "tdep"}}}, ("must be one of self-consistent", "'tdep'")),
        ({"phonons": {"renormalisation": {"route": "regression"}}}, ("needs molecular dynamics", "trajectory")),
        (
            {"phonons": {"renormalisation": {"route": "regression", "mixing": 1.0}, "molecular_dynamics": {}}},
            ("mixing is an option of route = 'self-consistent', not of 'regression'", "blocks, skip_ps"),
        ),
        (
            {"phonons": {"trajectory": {"file": "f"}, "molecular_dynamics": {}}},
            ("two sources of one trajectory",),
        ),
        ({"phonons": {"trajectory": {}}}, ("needs a file",)),
        ({"phonons": {"trajectory": {"file": "f", "time_step_fs": 0}}}, ("time_step_fs must be greater than 0",)),
        ({"phonons": {"trajectory": {"file": "f"}}}, ("[phonons.trajectory] would have no effect",)),
        ({"phonons": {"molecular_dynamics": {"duration_ps": 0.01}}}, ("hold 1 frames", "longer duration_ps")),
        (
            {
                "phonons": {
                    "renormalisation": {"route": "regression", "temperature_K": 300},
                    "molecular_dynamics": {"temperature_K": 200},
                }
            },
            ("runs at 200 K", "leave the first out"),
        ),
        (
            {
                "phonons": {"renormalisation": {"route": "regression"}, "trajectory": {"file": "f"}},
                "thermal": {"force_constants": "renormalised"},
            },
            ("molecular dynamics at each temperature",),
        ),
        ({"sampling": {"sets": [SET, {**SET, "name": "combined"}]}}, ("set called 'combined'", "rename the set")),
        ({"training": {"collections": {"../up": ["a"]}}, "sampling": {"sets": [SET]}}, ("may hold letters", "'../up'")),
        ({"training": {"collections": {"c": []}}, "sampling": {"sets": [SET]}}, ("at least one set",)),
        ({"training": {"collections": {"c": ["a", "a"]}}, "sampling": {"sets": [SET]}}, ("each once", "'a', 'a'")),
        ({"thermal": {"collection": "zz"}, "sampling": {"sets": [SET]}}, ("thermal.collection must be one of",)),
    ],
)
def test_mistakes_get_one_sentence(table: dict, words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_config(table, tmp_path)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_paper_mode_fills_in_the_published_choices(tmp_path: Path) -> None:
    paper = parse_config({"training": {"mode": "paper", "settings": {"epochs": 7}}}, tmp_path).training
    assert (paper.model.pooling, paper.model.output) == ("max", "sigmoid")
    assert (paper.settings.edge_law, paper.settings.target_scaling, paper.settings.epochs) == ("minmax", "minmax", 7)
    default = parse_config({"training": {"mode": "default"}}, tmp_path).training
    assert (default.model.output, default.settings.edge_law) == ("linear", "cosine")


def test_file_mistakes(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "broken.toml").write_text("a = [1,")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.toml").mkdir()
    for name in ("missing.toml", "empty.toml", "broken.toml", "binary.toml", "folder.toml"):
        with pytest.raises(InputFileError, match=name):
            read_config(tmp_path / name)


@pytest.mark.parametrize("override", ["n", "=3", "sampling.sets.nobody.n=3", "seed.x=3", "sampling.sets=3"])
def test_bad_overrides(override: str) -> None:
    with pytest.raises(UserError):
        read_config(QUICKSTART, [override])


def test_template_is_a_valid_configuration(tmp_path: Path) -> None:
    output = tmp_path / "run.toml"
    write_template(QUICKSTART.parent / "structures" / "Ag3SBr.vasp", output)
    config = read_config(output)
    assert config.crystal.supercell == (2, 2, 2)
    assert config.path(config.crystal.file).is_file()
    assert config.set_names == ("phonon", "random", "matched")
    # Taking the '#' off a table that is offered gives a valid table too.
    text = output.read_text()
    output.write_text(uncommented(uncommented(text, "[crystal.relaxation]"), "[phonons.renormalisation]"))
    assert read_config(output).phonons.route == "self-consistent"
    assert read_config(output).crystal.relaxation is not None
    output.write_text(uncommented(text, "[phonons.molecular_dynamics]") + MODE_PROJECTION)
    assert read_config(output).phonons.route == "mode-projection"
    assert read_config(output).phonons.molecular_dynamics is not None
    output.write_text(uncommented(text, "[phonons.trajectory]") + MODE_PROJECTION)
    assert read_config(output).phonons.trajectory is not None


MODE_PROJECTION = '[phonons.renormalisation]\nroute = "mode-projection"\n'


def uncommented(text: str, header: str) -> str:
    """Take the '#' off a header and off the options that follow it, up to the next header."""
    before, after = text.split(f"# {header}\n")
    end = re.search(r"^(?:# )?\[", after, re.MULTILINE)
    assert end is not None
    options, rest = after[: end.start()], after[end.start() :]
    return before + f"{header}\n" + re.sub(r"^# (?=\w+ = )", "", options, flags=re.MULTILINE) + rest


def test_routes_are_named_and_survive_a_round_trip(tmp_path: Path) -> None:
    dynamics = {"temperature_K": 200.0, "thermostat": "none"}
    for route, own in (("mode-projection", {"skip_ps": 1.0}), ("regression", {"stride": 2}), ("self-consistent", {})):
        phonons = {"renormalisation": {"route": route, **own}}
        if own:
            phonons["molecular_dynamics"] = dynamics
        config = parse_config({"phonons": phonons}, tmp_path)
        assert config.phonons.route == route
        again = parse_config(tomllib.loads(to_toml(config)), tmp_path)
        assert again == config
    assert parse_config({"phonons": {"renormalisation": {}}}, tmp_path).phonons.route == "self-consistent"


def test_template_knows_metals_and_takes_the_supercell_of_a_phonopy_file(tmp_path: Path) -> None:
    cell = "4.0 0 0\n0 4.0 0\n0 0 3.0\n"
    (tmp_path / "POSCAR").write_text(f"tetragonal\n1.0\n{cell}Cu\n1\nDirect\n0 0 0\n")
    write_template(tmp_path / "POSCAR", tmp_path / "metal.toml")
    config = read_config(tmp_path / "metal.toml")
    assert config.crystal.supercell == (3, 3, 3)  # 12, 12 and 9 Å: edges of equal length, not of equal number
    assert config.training.targets == ("energy_eV_per_atom",)
    assert "band_gap_eV" not in [name for engine in config.labels.engines for name in engine.provides]
    (tmp_path / "phonopy_disp.yaml").write_text(
        "phonopy:\n  version: 2.7.0\nsupercell_matrix:\n- [1, 1, 0]\n- [0, 2, 0]\n- [0, 0, 3]\n"
        "unit_cell:\n  lattice:\n  - [4.0, 0.0, 0.0]\n  - [0.0, 4.0, 0.0]\n  - [0.0, 0.0, 3.0]\n"
        "  points:\n  - symbol: Si\n    coordinates: [0.0, 0.0, 0.0]\n    mass: 28.0855\n"
    )
    (tmp_path / "FORCE_SETS").write_text("only its name counts here\n")
    write_template(tmp_path / "phonopy_disp.yaml", tmp_path / "phonopy.toml")
    config = read_config(tmp_path / "phonopy.toml")
    assert config.crystal.supercell == (1, 0, 0, 1, 2, 0, 0, 0, 3)  # rows; phonopy writes columns
    assert config.path(config.phonons.file) == tmp_path / "FORCE_SETS"
    assert "has 6 atoms" in (tmp_path / "phonopy.toml").read_text()


def test_files_of_engines_and_cluster_are_found_from_elsewhere(tmp_path: Path) -> None:
    table = {
        "labels": {
            "engines": [{"engine": "quantum-espresso", "pseudopotential_folder": "upf", "folder": "espresso"}],
            "executor": {"cores_per_node": 2, "folder": "blocks"},
        }
    }
    again = tomllib.loads(to_toml(relocated(parse_config(table, tmp_path / "here"), tmp_path / "runs" / "one")))
    (engine,) = again["labels"]["engines"]
    assert engine["pseudopotential_folder"] == "../../here/upf"
    assert engine["folder"] == "espresso", "lies in the run, wherever that is"
    assert again["labels"]["executor"]["folder"] == "../../here/blocks"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "dataset", "labels": "x.csv", "energy": "e"}, "labels, energy would have no effect .*'dataset'"),
        (
            {"format": "dataset", "units": {"gap": "eV"}},
            "units would have no effect with format = 'dataset'; remove it",
        ),
        ({"format": "dataset", "correction": "corrected"}, "correction would have no effect"),
        ({"format": "vasp-tree", "property": "band_gap_eV"}, "property would have no effect .*'vasp-tree'"),
        ({"format": "qe-tree", "energy": "free"}, "energy would have no effect .*'qe-tree'"),
        ({"set": "thermal"}, "set would have no effect with format = 'auto'"),
    ],
)
def test_options_of_a_set_that_its_format_does_not_read_are_refused(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"set 'mine': {words}"):
        parse_config({"data": {"sets": [{"name": "mine", "structures": "theirs", **options}]}}, tmp_path)


def test_a_check_of_folding_that_could_test_nothing_is_refused(tmp_path: Path) -> None:
    def config(*engines: dict[str, object]) -> object:
        return parse_config({"labels": {"check_folding": True, "engines": list(engines)}}, tmp_path)

    config({"engine": "tblite"})
    config({"engine": "cp2k"})
    for engine in ({"engine": "emt"}, {"engine": "cp2k", "k_mesh": [2, 2, 2]}):
        with pytest.raises(ConfigurationError, match=r"labels\.check_folding is about gaps at Γ"):
            config(engine)


@pytest.mark.parametrize(
    "table",
    [
        {"study": {"axes": {"radial_functions": [2, 4], "edge_law": ["cosine", "radial"]}}},
        {"study": {"axes": {"radial_functions": [2, 4]}}, "training": {"settings": {"edge_law": "radial"}}},
        {"study": {"axes": {"patience": [5, 50]}}},
        {"study": {"axes": {"smallest_gap_eV": [0.0, 0.4]}}},
        {"study": {"axes": {"smallest_gap_eV": [0.0, 0.4]}, "targets": ["vbm_eV", "band_gap_eV"]}},
        {"study": {"seeds": [2**64 - 1], "final_seeds": [0]}, "seed": 2**64 - 1},
    ],
)
def test_axes_and_seeds_that_have_an_effect_are_taken(table, tmp_path):
    assert parse_config(table, tmp_path).study is not None
