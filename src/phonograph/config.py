"""The configuration: TOML ↔ the same frozen dataclasses that the rooms take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from phonograph.config_curves import check_learning_curve
from phonograph.config_labels import LabelsConfig
from phonograph.config_paper import PaperConfig
from phonograph.config_phonons import PhononsConfig
from phonograph.config_study import StudyConfig, check_study
from phonograph.datasets import dataset_folder, dataset_names
from phonograph.errors import ConfigurationError
from phonograph.evaluation import Soap
from phonograph.evaluation.settings import LearningCurveSettings
from phonograph.explanation import GNNExplainerSettings
from phonograph.models import GraphConvNet
from phonograph.options import check_different, check_options, option
from phonograph.phonons import Relaxation
from phonograph.sampling import (
    DebyeSampler,
    MatchedRandomSampler,
    PairMatchedSampler,
    PaperCodeSampler,
    PaperEq2Sampler,
    PaperEq3Sampler,
    RattleSampler,
    SignSampler,
    SnapshotSampler,
    SobolSampler,
    Substitution,
    ThermalSampler,
    ZGSampler,
)
from phonograph.training import TrainingSettings
from phonograph.types import LEAKS, REFERENCES, GraphSpec, Sampler

SAMPLERS: Mapping[str, type[Any]] = {
    "thermal": ThermalSampler,
    "signs": SignSampler,
    "zg": ZGSampler,
    "sobol": SobolSampler,
    "debye": DebyeSampler,
    "mc-rattle": RattleSampler,
    "paper-eq3": PaperEq3Sampler,
    "paper-eq2": PaperEq2Sampler,
    "paper-code": PaperCodeSampler,
    "matched-random": MatchedRandomSampler,
    "matched-pairs": PairMatchedSampler,
    "md-snapshots": SnapshotSampler,
}
"""TOML name → sampler."""


@dataclass(frozen=True, kw_only=True)
class CrystalConfig:
    """``[crystal]``: the structure and its supercell."""

    file: str = option(
        "", "Structure file (POSCAR, CONTCAR, .vasp, .cif, .extxyz, phonopy.yaml), relative to this TOML file."
    )
    supercell: tuple[int, ...] = option((2, 2, 2), "Three multiples, or nine integers (rows of the supercell matrix).")
    relaxation: Relaxation | None = None

    def __post_init__(self) -> None:
        check_options(self, "crystal")
        if len(self.supercell) not in (3, 9):
            raise ConfigurationError(f"crystal.supercell must hold 3 or 9 integers; got {len(self.supercell)}")

    @property
    def matrix(self) -> list[list[int]]:
        """The supercell matrix as rows."""
        s = self.supercell
        if len(s) == 9:
            return [list(s[0:3]), list(s[3:6]), list(s[6:9])]
        return [[s[0], 0, 0], [0, s[1], 0], [0, 0, s[2]]]


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """One ``[[sampling.sets]]``: a law of displacements, its size, and an optional solid solution."""

    name: str
    n: int
    sampler: Sampler
    sampler_name: str
    composition: Substitution | None = None


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """``[sampling]``: the sets of displaced supercells."""

    n: int = option(100, "Configurations per set, where a set gives no n of its own.", minimum=1)
    sets: tuple[SetConfig, ...] = ()

    def __post_init__(self) -> None:
        check_options(self, "sampling")


_IDLE = {
    "auto": ("set", "equilibrium"),
    "vasp-tree": ("set", "labels", "property", "units", "stress", "correction"),
    "qe-tree": ("set", "labels", "property", "units", "energy", "stress", "correction"),
    "dataset": ("labels", "property", "units", "energy", "stress", "correction", "equilibrium"),
}
"""Options of a brought set that nothing reads, by its format."""


@dataclass(frozen=True, kw_only=True)
class DataSetConfig:
    """One ``[[data.sets]]``: displaced structures (and labels) that you bring; rooms 1–3 are skipped."""

    name: str = option(help="Name of the set.")
    structures: str = option(
        help="Multi-frame extxyz, ASE database (.db, .json), computed entries (.json, .json.gz, .json.bz2, .json.xz), "
        "a folder of POSCAR/CIF files (with id_prop.csv), with format = 'vasp-tree' a folder of VASP calculations, "
        "with format = 'qe-tree' a folder of pw.x calculations, or, with format = 'dataset', a dataset that comes with "
        "Phonograph, such as ag3sx-gfn1, or the folder of one."
    )
    format: str = option(
        "auto",
        "'auto', 'vasp-tree' (subfolders with vasprun.xml, …), 'qe-tree' (subfolders with data-file-schema.xml or "
        "outputs of pw.x) or 'dataset'.",
        choices=("auto", "vasp-tree", "qe-tree", "dataset"),
    )
    set: str = option("", "Set of a dataset; empty: the one that is called like this one.")
    n: int = option(0, "Take the first n only; 0: all.", minimum=0)
    labels: str = option("", "CSV with one row per structure; empty: labels are with the structures.")
    property: str = option(
        "", "Name of the property of a table without header, such as band_gap_eV; with commas for several columns."
    )
    units: Mapping[str, str] = field(
        default_factory=dict, metadata={"help": "Unit of each property whose name does not end in one."}
    )
    energy: str = option(
        "",
        "Entry that is the energy where a file has several that differ, such as REF_energy or free_energy; of a VASP "
        "tree sigma0 (the default) or free.",
    )
    stress: str = option(
        "", "Entry that is the stress where a file has several that differ, such as REF_stress or virials."
    )
    correction: str = option("uncorrected", "Energies of computed entries.", choices=("uncorrected", "corrected"))
    equilibrium: str = option("", "Undisplaced structure of a VASP or pw.x tree, for displacements; empty: not known.")

    def __post_init__(self) -> None:
        check_options(self, "data.sets")
        idle = [name for name in _IDLE[self.format] if getattr(self, name) not in ("", {}, "uncorrected")]
        if idle:
            raise ConfigurationError(
                f"set {self.name!r}: {', '.join(idle)} would have no effect with format = {self.format!r}; remove "
                f"{'it' if len(idle) == 1 else 'them'}"
            )

    def comes_with_phonograph(self) -> bool:
        """Whether the structures are a dataset by its name, not a file or folder of the user."""
        return self.format == "dataset" and self.structures in dataset_names()

    def files(self) -> tuple[str, ...]:
        """Return the user's own files that are named here."""
        own = () if self.comes_with_phonograph() else (self.structures,)
        return tuple(name for name in (*own, self.labels, self.equilibrium) if name)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """``[data]``: sets brought from elsewhere."""

    sets: tuple[DataSetConfig, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """``[training]``: which networks are trained on which sets."""

    targets: tuple[str, ...] = option(("band_gap_eV",), "Label columns to learn, one model each.")
    joint: bool = option(False, "One network for all targets at once instead of one each.")
    collections: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict,
        metadata={"help": "Name → sets trained on together; empty: each set alone, and 'combined' of all."},
    )
    seeds: tuple[int, ...] = option((0, 1, 2), "Each draws its own split, initial weights and shuffling.", seed=True)
    fractions: tuple[float, ...] = option((0.70, 0.15, 0.15), "Train, validation and test share; groups stay together.")
    mode: str = option(
        "default",
        "'default': what is right for small sets; 'paper': the published method; 'paper-code': also what the authors' "
        "public scripts do. A mode gives other defaults to the options in the table of modes, and nothing else.",
        choices=("default", "paper", "paper-code"),
    )
    allow: tuple[str, ...] = option(
        (),
        "Kinds of leakage between the parts of the split that do not stop the run; all that is found is in "
        "5_training/leaks.csv.",
        choices=LEAKS,
    )
    model: GraphConvNet = field(default_factory=GraphConvNet)
    settings: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        check_options(self, "training")
        if len(self.fractions) != 3 or abs(sum(self.fractions) - 1.0) > 1e-6 or min(self.fractions) <= 0:
            raise ConfigurationError(
                f"training.fractions must be three positive shares that add up to 1; got {list(self.fractions)}"
            )
        if not self.seeds or not self.targets:
            raise ConfigurationError("training.seeds and training.targets must each name at least one entry; got none")
        check_different(self, "training", "targets", "seeds")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """``[evaluation]``: how models are judged."""

    paper_filter: bool = option(
        False, "Also write the authors' filtered cross-test (labels in range, gap ≥ 0.4 eV, R² ≥ −1) to paper_filter/."
    )
    references: tuple[str, ...] = option(
        ("composition-volume", "mean-square-displacement"),
        "What networks have to beat besides the mean of their training labels: linear in composition and volume; "
        "linear in these and ⟨u²⟩ of each element; kernel ridge regression of SOAP power spectra ('soap-krr', needs "
        "pip install 'phonograph[references]').",
        choices=REFERENCES[1:],
    )
    soap: Soap = field(default_factory=Soap)

    def __post_init__(self) -> None:
        check_options(self, "evaluation")
        check_different(self, "evaluation", "references")


@dataclass(frozen=True, kw_only=True)
class ExplanationConfig:
    """``[explanation]``: which model is explained, on what."""

    target: str = option("", "Target to explain; empty: the first training target.")
    collection: str = option(
        "", "Collection whose best model by validation is explained; empty: the last (all sets combined)."
    )
    runs: int = option(5, "Seeds of the consensus.", minimum=2)
    configurations: int = option(3, "Test configurations explained.", minimum=1)
    explainer: GNNExplainerSettings = field(default_factory=GNNExplainerSettings)

    def __post_init__(self) -> None:
        check_options(self, "explanation")


@dataclass(frozen=True, kw_only=True)
class ThermalConfig:
    """``[thermal]``: the property as a function of temperature."""

    temperatures_K: tuple[float, ...] = option(
        (100.0, 200.0, 300.0, 400.0, 500.0, 600.0), "Temperatures to sample, K.", minimum=0.0
    )
    n: int = option(200, "Configurations per temperature.", minimum=2)
    target: str = option("", "Target of the curve; empty: the first training target.")
    collection: str = option("", "Collection whose models predict; empty: the last (all sets combined).")
    force_constants: str = option(
        "fixed",
        "'fixed': those of room 1 at every temperature; 'renormalised': renormalise again at each temperature.",
        choices=("fixed", "renormalised"),
    )
    check_labels: int = option(
        0, "Configurations per temperature that are also labelled directly, as a check of the model.", minimum=0
    )
    sampler: ThermalSampler = field(default_factory=ThermalSampler)

    def __post_init__(self) -> None:
        check_options(self, "thermal")
        if not self.temperatures_K or len(set(self.temperatures_K)) != len(self.temperatures_K):
            raise ConfigurationError(
                f"thermal.temperatures_K must name at least one temperature, and each once; "
                f"got {list(self.temperatures_K)}"
            )
        if self.check_labels > self.n:
            raise ConfigurationError(
                f"thermal.check_labels must be at most thermal.n = {self.n}, of which it labels the first; "
                f"got {self.check_labels}"
            )


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run.  ``folder`` is where relative paths start (the folder of the TOML file)."""

    title: str = option("Phonograph run", "Title of the report.")
    seed: int = option(0, "Root seed; every random stream of the run derives from it.", seed=True)
    workers: int = option(
        0, "Worker processes; 0: one per core; of labels as many as cores and free memory allow.", minimum=0
    )
    crystal: CrystalConfig = field(default_factory=CrystalConfig)
    data: DataConfig = field(default_factory=DataConfig)
    phonons: PhononsConfig = field(default_factory=PhononsConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    graphs: GraphSpec = field(default_factory=GraphSpec)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    study: StudyConfig | None = None
    learning_curve: LearningCurveSettings = field(default_factory=LearningCurveSettings)
    explanation: ExplanationConfig = field(default_factory=ExplanationConfig)
    paper: PaperConfig = field(default_factory=PaperConfig)
    thermal: ThermalConfig = field(default_factory=ThermalConfig)
    folder: Path = field(default=Path(), metadata={"python_only": True})

    def __post_init__(self) -> None:
        check_options(self)
        _check_names(self)
        _check_force_constants(self)
        _check_trajectory(self)

    def path(self, name: str) -> Path:
        """Return ``name`` relative to the configuration's folder."""
        return (self.folder / Path(name).expanduser()).absolute()

    def structures(self, item: DataSetConfig) -> Path:
        """Return where the structures of a brought set lie: beside the configuration, or a dataset by its name."""
        return dataset_folder(item.structures) if item.comes_with_phonograph() else self.path(item.structures)

    @property
    def set_names(self) -> tuple[str, ...]:
        """Names of all sets, sampled and brought."""
        return (*(item.name for item in self.sampling.sets), *(item.name for item in self.data.sets))

    def chosen(self, section: ExplanationConfig | ThermalConfig) -> tuple[str, str]:
        """Return the target and the collection of a section, with the defaults filled in."""
        return section.target or self.training.targets[0], section.collection or list(self.collections)[-1]

    @property
    def collections(self) -> Mapping[str, tuple[str, ...]]:
        """The training collections, with the default filled in."""
        if self.training.collections:
            return self.training.collections
        alone = {name: (name,) for name in self.set_names}
        return {**alone, "combined": self.set_names} if len(alone) > 1 else alone


def _check_names(config: Config) -> None:
    """Names that refer to each other must exist, before anything is computed."""
    names = config.set_names
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"set names must differ; {name!r} is used {names.count(name)} times")
        _check_file_name("a set", name)
    if "combined" in names and len(names) > 1 and not config.training.collections:
        raise ConfigurationError(
            "a set called 'combined' needs [training.collections], because their default uses that name for all sets; "
            "rename the set or write the collections"
        )
    for item in config.sampling.sets:
        if isinstance(item.sampler, (MatchedRandomSampler, PairMatchedSampler)) and item.sampler.match not in names:
            raise ConfigurationError(
                f"set {item.name!r} matches {item.sampler.match!r}, which is no set; sets: {', '.join(names)}"
            )
        simulated = config.phonons.trajectory is not None or config.phonons.molecular_dynamics is not None
        if isinstance(item.sampler, SnapshotSampler) and not item.sampler.file and not simulated:
            raise ConfigurationError(
                f"set {item.name!r} takes snapshots of molecular dynamics, but there is none; give a file, or add "
                "[phonons.molecular_dynamics] or [phonons.trajectory]"
            )
    for collection, members in config.training.collections.items():
        _check_file_name("a collection", collection)
        if not members or len(set(members)) != len(members):
            raise ConfigurationError(
                f"training.collections.{collection} must name at least one set, and each once; got {list(members)}"
            )
        for member in members:
            if names and member not in names:
                raise ConfigurationError(
                    f"training.collections.{collection} names the set {member!r}; the sets are {', '.join(names)}"
                )
    known = config.collections
    for section, collection in (("explanation", config.explanation.collection), ("thermal", config.thermal.collection)):
        if collection and known and collection not in known:
            raise ConfigurationError(f"{section}.collection must be one of {', '.join(known)}; got {collection!r}")
    check_study(config.study, config.training.settings, config.training.targets, known)
    if names:
        check_learning_curve(config.learning_curve, names, known)
    _check_targets(config)


def _check_file_name(what: str, name: str) -> None:
    """Refuse names that would be no, or another folder's, file name."""
    if not name or not all(letter.isalnum() or letter in "-_." for letter in name) or name.startswith("."):
        raise ConfigurationError(f"{what} name may hold letters, digits, '-', '_' and '.'; got {name!r}")


def _check_force_constants(config: Config) -> None:
    """Refuse choices that could not take effect."""
    if config.thermal.force_constants == "renormalised" and config.phonons.renormalisation is None:
        raise ConfigurationError(
            'thermal.force_constants = "renormalised" needs a [phonons.renormalisation] table that says how; add one'
        )
    laws = {f"sampling set {item.name!r}": item.sampler for item in config.sampling.sets}
    for where, law in {**laws, "thermal.sampler": config.thermal.sampler}.items():
        if getattr(law, "soft_modes", "") == "renormalise" and config.phonons.renormalisation is None:
            raise ConfigurationError(
                f'{where} has soft_modes = "renormalise", which needs a [phonons.renormalisation] table that says how; '
                "add one"
            )
    if config.phonons.file and config.crystal.relaxation is not None:
        raise ConfigurationError(
            "[crystal.relaxation] would move the crystal away from the one that the force constants of phonons.file "
            "belong to; give the relaxed structure as crystal.file and remove the table"
        )


def _check_trajectory(config: Config) -> None:
    """Refuse molecular dynamics that nothing looks at, and a file where every temperature needs its own."""
    phonons = config.phonons
    given = phonons.trajectory is not None or phonons.molecular_dynamics is not None
    used = phonons.route not in ("", "self-consistent")
    used |= any(item.sampler_name == "md-snapshots" for item in config.sampling.sets)
    if given and not used:
        name = "trajectory" if phonons.trajectory is not None else "molecular_dynamics"
        raise ConfigurationError(
            f'[phonons.{name}] would have no effect; set phonons.renormalisation.route to "mode-projection" or '
            '"regression", or sample "md-snapshots"'
        )
    if (
        config.thermal.force_constants == "renormalised"
        and phonons.route not in ("", "self-consistent")
        and phonons.trajectory is not None
    ):
        raise ConfigurationError(
            'thermal.force_constants = "renormalised" needs molecular dynamics at each temperature, which one file '
            "does not hold; use [phonons.molecular_dynamics] instead of [phonons.trajectory]"
        )


def _check_targets(config: Config) -> None:
    provided = [name for engine in config.labels.engines for name in engine.provides]
    # Where nobody asked for a network, labels alone may be wanted, and training says what it misses.
    asked = config.training.targets != TrainingConfig().targets
    own = ("study.targets", "learning_curve.targets")
    for section, targets in (
        ("training.targets", config.training.targets),
        ("study.targets", config.study.targets if config.study is not None else ()),
        ("learning_curve.targets", config.learning_curve.targets),
        ("explanation.target", tuple(filter(None, [config.explanation.target]))),
        ("thermal.target", tuple(filter(None, [config.thermal.target]))),
    ):
        for target in targets:
            if provided and (asked or section in own) and not config.data.sets and target not in provided:
                raise ConfigurationError(f"{section}: no engine gives {target!r}; they give {', '.join(provided)}")
            if section not in (*own, "training.targets") and target not in config.training.targets:
                raise ConfigurationError(f"{section} must be one of training.targets; got {target!r}")
