"""References find what they should, by a second route too, see no test label, and are judged like networks."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from phonograph.errors import ConfigurationError, DataError
from phonograph.evaluation import Soap, cross_test, fit_references, skills_over
from phonograph.evaluation.descriptors import Descriptors, composition_and_volume, mean_square_displacement, soap
from phonograph.evaluation.intervals import NAMES, intervals
from phonograph.evaluation.intervals import Tested as Judged
from phonograph.evaluation.references import describe, fit_reference, kernel_ridge, linear_ridge, squared_distances
from phonograph.evaluation.skill import BEST_TRIVIAL, skill_against, skill_verdicts
from phonograph.files.results import load_evaluation, save_evaluation
from phonograph.streams import stream
from phonograph.testing import cubic_antiperovskite, displaced
from phonograph.types import (
    REFERENCES,
    Configurations,
    Crystal,
    LabelColumn,
    Metric,
    MetricInterval,
    Predictions,
    Skill,
)

SETS = {"phonon": 0.10, "random": 0.18}
TRIVIAL = ("composition-volume", "mean-square-displacement")
SMALL = Soap(cutoff_A=4.0, n_max=3, l_max=2)


@pytest.fixture(scope="module")
def sets():
    """The configurations behind the graphs of ``world``."""
    crystal = cubic_antiperovskite()
    return tuple(displaced(crystal, 60, rms, seed=7, name=name) for name, rms in SETS.items())


@pytest.fixture(scope="module")
def mixed():
    """Forty crystals of five atoms with different lattices, amplitudes and halogens."""
    random = stream(4, "mixed")
    crystals, moves = [], []
    for _ in range(40):
        crystal = cubic_antiperovskite(random.uniform(4.6, 5.1))
        numbers = crystal.numbers.copy()
        numbers[4] = random.choice([35, 53])
        move = random.normal(size=(5, 3)) * random.uniform(0.02, 0.3)
        crystals.append(Crystal(cell_A=crystal.cell_A, positions_A=crystal.positions_A + move, numbers=numbers))
        moves.append(move)
    made = Configurations.of_crystals("mixed", crystals, [f"g{i}" for i in range(40)])
    return replace(made, displacements_A=np.concatenate(moves))


def with_labels(world, sets, values):
    """Return the labels of the world with these values of the gap."""
    column = LabelColumn(name="band_gap_eV", unit="eV", values=values, engine="planted")
    ids = tuple(sample for item in sets for sample in item.ids)
    return replace(
        world.labels, sample_ids=ids, set_names=("x",) * len(ids), status=("ok",) * len(ids), columns=(column,)
    )


def test_composition_volume_and_mean_squares_by_hand(mixed):
    numbers = mean_square_displacement([mixed])
    assert numbers.values.shape == (40, 4 + 1 + 4)
    for place in (0, 7, 39):
        atoms = slice(5 * place, 5 * place + 5)
        z, u = mixed.numbers[atoms], mixed.displacements_A[atoms]
        inner = u - u.mean(axis=0)
        expected = [np.mean(z == element) for element in (16, 35, 47, 53)]
        expected.append(abs(np.linalg.det(mixed.cells_A[place])) / 5)
        for element in (16, 35, 47, 53):
            own = inner[z == element]
            expected.append((own**2).sum(axis=1).mean() if len(own) else 0.0)
        np.testing.assert_allclose(numbers.values[place], expected, rtol=1e-12)
    shifted = replace(mixed, displacements_A=mixed.displacements_A + np.array([0.3, -0.1, 0.2]))
    np.testing.assert_allclose(mean_square_displacement([shifted]).values, numbers.values, atol=1e-12)
    unknown = replace(mixed, displacements_A=np.full_like(mixed.displacements_A, np.nan))
    assert np.isnan(mean_square_displacement([unknown]).values[:, 5:]).any(axis=1).all()
    np.testing.assert_array_equal(composition_and_volume([unknown]).values, numbers.values[:, :5])


def test_soap_is_what_dscribe_says_summed_by_element(mixed):
    from ase import Atoms
    from dscribe.descriptors import SOAP

    ours = soap([mixed], SMALL)
    plain = SOAP(species=["S", "Br", "Ag", "I"], r_cut=4.0, n_max=3, l_max=2, sigma=0.5, periodic=True)
    for place in (0, 11):
        c = mixed.crystal(place)
        found = plain.create(Atoms(numbers=c.numbers, positions=c.positions_A, cell=c.cell_A, pbc=True))
        expected = np.concatenate([found[c.numbers == z].sum(axis=0) / 5 for z in (16, 35, 47, 53)])
        np.testing.assert_allclose(ours.values[place], expected, rtol=1e-12, atol=1e-12)
    assert np.diff(ours.blocks).tolist() == [ours.values.shape[1] // 4] * 3


def test_soap_is_invariant(mixed):
    """Rotation, translation, order of atoms and doubling of the cell change nothing."""
    crystal = mixed.crystal(3)
    turn, _ = np.linalg.qr(stream(1, "turn").normal(size=(3, 3)))
    order = np.array([4, 2, 0, 1, 3])
    twice = Crystal(
        cell_A=np.diag([2.0, 1, 1]) @ crystal.cell_A,
        positions_A=np.concatenate([crystal.positions_A, crystal.positions_A + crystal.cell_A[0]]),
        numbers=np.tile(crystal.numbers, 2),
    )
    others = [
        replace(crystal, cell_A=crystal.cell_A @ turn, positions_A=crystal.positions_A @ turn),
        replace(crystal, positions_A=crystal.positions_A + np.array([0.7, 1.1, -0.4])),
        Crystal(cell_A=crystal.cell_A, positions_A=crystal.positions_A[order], numbers=crystal.numbers[order]),
        twice,
    ]
    made = Configurations.of_crystals("same", [crystal, *others], list("abcde"))
    values = soap([made], SMALL).values
    np.testing.assert_allclose(values[1:], np.tile(values[0], (4, 1)), rtol=1e-6, atol=1e-8 * np.abs(values[0]).max())


def toy(count=80, columns=6, seed=2):
    random = stream(seed, "toy")
    x = random.normal(size=(count, columns)) * np.array([1, 10, 1e-3, 1, 1, 1])[:columns]
    x[:, -1] = 3.0  # no spread
    numbers = Descriptors(sample_ids=tuple(f"s{i}" for i in range(count)), values=x, blocks=tuple(range(columns)))
    y = x[:, 0] + 0.1 * x[:, 1] + np.sin(x[:, 3]) + 0.05 * random.normal(size=count)
    return numbers, y, np.arange(0, 40), np.arange(40, 60)


def test_linear_ridge_by_scikit_learn():
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    numbers, y, train, held = toy()
    chosen, found = linear_ridge(numbers, train, y[train], held, y[held])
    x = StandardScaler().fit(numbers.values[train]).transform(numbers.values)
    errors = {}
    for ridge in [10.0**power for power in range(-8, 2)]:
        machine = Ridge(alpha=40 * ridge).fit(x[train], y[train])
        errors[ridge] = np.abs(machine.predict(x[held]) - y[held]).mean()
        if ridge == chosen["ridge"]:
            np.testing.assert_allclose(found, machine.predict(x), rtol=1e-8)
    assert chosen["ridge"] == min(errors, key=errors.get)


def test_kernel_ridge_by_numpy():
    numbers, y, train, held = toy()
    chosen, found = kernel_ridge(numbers, train, y[train], held, y[held])
    x = numbers.values / np.where(numbers.values[train].std(axis=0) > 0, numbers.values[train].std(axis=0), 1)
    squares = ((x[:, None] - x[None, train]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(numbers, train), squares, atol=1e-9)

    def solved(sharpness, noise):
        kernel = np.exp(-sharpness * squares / np.median(squares[train]))
        weights = np.linalg.solve(kernel[train] + noise * np.eye(40), y[train] - y[train].mean())
        return y[train].mean() + kernel @ weights

    np.testing.assert_allclose(found, solved(**chosen), rtol=1e-6)
    own = np.abs(found[held] - y[held]).mean()
    for sharpness in (0.01, 0.1, 1.0, 8.0):
        for noise in (1e-6, 1e-3, 1.0):
            assert np.abs(solved(sharpness, noise)[held] - y[held]).mean() > 0.8 * own
    assert np.abs(found[60:] - y[60:]).mean() < 0.5 * np.abs(y[60:] - y[train].mean()).mean()


@pytest.mark.parametrize("name", REFERENCES[1:])
def test_no_test_label_is_seen(name, world, sets):
    """Nonsense as test labels changes no prediction; as validation labels it changes the choice at most."""
    fitted = world.fitted("phonon")
    numbers = describe(name, sets, SMALL)
    clean = fit_reference(name, numbers, fitted, world.labels)
    values = np.array(world.labels.column("band_gap_eV").values)
    place = {sample: row for row, sample in enumerate(world.labels.sample_ids)}
    nonsense = values.copy()
    nonsense[[place[s] for s in fitted.split.test]] = 99.0
    assert fit_reference(name, numbers, fitted, with_labels(world, sets, nonsense)).values == clean.values
    nonsense = values.copy()
    nonsense[[place[s] for s in fitted.split.train]] = stream(0, "x").normal(size=len(fitted.split.train))
    assert fit_reference(name, numbers, fitted, with_labels(world, sets, nonsense)).values != clean.values


def test_planted_answers(world, sets):
    """What is linear in ⟨u²⟩ is found by the reference that knows it, and by it alone."""
    squares = mean_square_displacement(sets).values
    labels = with_labels(world, sets, 1.0 - 3.0 * squares[:, -1] + 2.0 * squares[:, -3])
    found, warnings = fit_references(TRIVIAL, world.fits, sets, labels)
    assert warnings == ()
    assert len(found) == 2 * len(world.fits)
    for reference in found:
        truth = labels.aligned("band_gap_eV", reference.split.test)
        error = np.abs(reference.predict(reference.split.test) - truth).mean()
        if reference.name == "mean-square-displacement":
            assert error < 1e-6
        else:
            assert error > 0.1 * truth.std()


def test_judged_like_the_networks(world, sets, tmp_path):
    references, _ = fit_references(REFERENCES[1:], world.fits, sets, world.labels, SMALL)
    evaluation = cross_test((*world.fits, *references), world.collections, world.labels)
    networks = cross_test(world.fits, world.collections, world.labels)
    names = {fitted.name for fitted in world.fits}
    assert {line.model for line in evaluation.metrics} == names | set(REFERENCES)

    def keys(lines):
        return {(m.trained_on, m.tested_on, m.split, m.seed, m.scope, m.n) for m in lines}

    of_networks = keys(line for line in networks.metrics if line.model in names)
    for name in REFERENCES:
        assert keys(line for line in evaluation.metrics if line.model == name) == of_networks
    # The table of the networks is what it was without references.
    assert repr(evaluation.summary) == repr(networks.summary)
    own_intervals = [line for line in evaluation.intervals if line.metric in NAMES]
    for line, alone in zip(own_intervals, networks.intervals, strict=True):
        found, expected = asdict(line), asdict(alone)
        numbers = [name for name, value in expected.items() if isinstance(value, float)]
        assert [found.pop(name) for name in numbers] == pytest.approx([expected.pop(n) for n in numbers], nan_ok=True)
        assert found == expected
    for line in evaluation.intervals:
        if line.metric.startswith("skill:"):
            assert line.metric in map(skill_against, (*REFERENCES[1:], BEST_TRIVIAL))
            where = (line.target, line.trained_on, line.tested_on, line.split, line.scope)
            (skill,) = (
                s
                for s in evaluation.skills
                if (s.target, s.trained_on, s.tested_on, s.split, s.scope) == where
                and skill_against(s.reference) == line.metric
            )
            assert (line.value, line.models) == (pytest.approx(skill.skill), skill.models)
    lines = {(m.model, m.trained_on, m.tested_on, m.split, m.seed, m.scope): m.mae for m in evaluation.metrics}
    for skill in evaluation.skills:
        if (skill.split, skill.scope, skill.reference) != ("test", "all", "soap-krr"):
            continue
        own = [
            1 - lines[f.name, *where] / lines["soap-krr", *where]
            for f in world.fits
            if f.trained_on == skill.trained_on
            for where in [(f.trained_on, skill.tested_on, "test", f.seed, "all")]
        ]
        assert skill.skill == pytest.approx(np.mean(own))
        assert skill.models == len(own)
    save_evaluation(evaluation, tmp_path)
    assert repr(load_evaluation(tmp_path).skills) == repr(evaluation.skills)


def test_leaks_of_references_are_refused(world, sets):
    references, _ = fit_references(["composition-volume"], world.fits[:1], sets, world.labels)
    split = references[0].split
    leaky = replace(split, train=split.train[1:], test=(*split.test, split.train[0]))
    with pytest.raises(DataError, match="used to fit composition-volume"):
        cross_test(references, {"phonon": (world.graphs["phonon"], leaky)}, world.labels)


def test_unknown_displacements_are_told(world, sets):
    blind = replace(sets[1], displacements_A=np.full_like(sets[1].displacements_A, np.nan))
    name = ["mean-square-displacement"]
    references, warnings = fit_references(name, world.fits, (sets[0], blind), world.labels)
    assert {reference.trained_on for reference in references} == {"phonon"}
    assert any("undisplaced positions" in text and "random" in text for text in warnings)
    evaluation = cross_test((*world.fits, *references), world.collections, world.labels)
    judged = {(m.trained_on, m.tested_on) for m in evaluation.metrics if m.model == name[0]}
    assert judged == {("phonon", "phonon")}
    assert any("is not judged on 'random'" in text for text in evaluation.warnings)


def line(model, seed, mae, split="test"):
    return Metric(
        target="gap", unit="eV", model=model, trained_on="a", tested_on="b", split=split, seed=seed, scope="all",
        n=5, mae=mae, rmse=mae, r2=0.5, pearson_r2=0.5,
    )  # fmt: skip


def test_skill_by_hand_and_its_verdict():
    lines = [
        *(line("net-0", 0, 0.03), line("net-1", 1, 0.05)),
        *(line("mean-predictor", 0, 0.10), line("mean-predictor", 1, 0.10)),
        *(line("composition-volume", 0, 0.06), line("composition-volume", 1, 0.04)),
        *(line("soap-krr", 0, 0.02), line("soap-krr", 1, 0.04)),
    ]
    skills = {skill.reference: skill for skill in skills_over(lines)}
    assert set(skills) == {"mean-predictor", "composition-volume", "soap-krr", BEST_TRIVIAL}
    assert skills["mean-predictor"].skill == pytest.approx(0.6)
    assert skills["mean-predictor"].skill_sd == pytest.approx(np.std([0.7, 0.5], ddof=1))
    assert skills["composition-volume"].skill == pytest.approx((0.5 - 0.25) / 2)
    assert skills[BEST_TRIVIAL].skill == skills["composition-volume"].skill
    assert skills["soap-krr"].skill == pytest.approx((-0.5 - 0.25) / 2)
    certain = MetricInterval(
        target="gap", unit="eV", trained_on="a", tested_on="b", split="test", scope="all",
        metric=skill_against("composition-volume"), models=2, groups=9, n=9.0, value=0.12, low=0.1, high=0.2,
        seed_low=0.05, seed_high=0.2,
    )  # fmt: skip
    (sentence,) = skill_verdicts(tuple(skills.values()), "all", [certain])
    assert sentence.startswith(
        "gap: networks trained on 'a' cannot be called good on the test part of 'b': soap-krr has MAE 0.03"
    )
    assert "composition" not in sentence


def test_errors_are_compared_pair_by_pair():
    """Reference errors 10 % above those of the network on every sample: certain, however much samples differ."""
    samples = tuple(f"s{place}" for place in range(60))
    truth = np.zeros(60)
    errors = np.random.default_rng(3).lognormal(sigma=1.5, size=60)
    shuffled = np.random.default_rng(4).permutation(1.1 * errors)

    def lines(other, seeds=1):
        tested = [
            Judged(
                predictions=Predictions(
                    target="gap", unit="eV", model=f"net-{seed}", trained_on="a", tested_on="a", split="test",
                    seed=seed, sample_ids=samples, truth=truth, prediction=errors,
                ),
                train_range=(-1.0, 1.0), mean=5.0, rest=0, references={"soap-krr": other},
            )
            for seed in range(seeds)
        ]  # fmt: skip
        found = intervals(tested, dict(zip(samples, samples, strict=True)), ["all"])
        return {line.metric: line for line in found}

    paired, unpaired = lines(1.1 * errors)["skill:soap-krr"], lines(shuffled)["skill:soap-krr"]
    assert (paired.value, unpaired.value) == (pytest.approx(1 - 1 / 1.1), pytest.approx(1 - 1 / 1.1))
    assert (paired.low, paired.high) == (pytest.approx(paired.value), pytest.approx(paired.value))
    assert unpaired.low < 0 < unpaired.high
    assert set(lines(errors)) == {*NAMES, "skill:soap-krr"}, "no trivial reference but the mean: no best of them"

    def verdict(interval):
        skill = Skill(
            target="gap", unit="eV", trained_on="a", tested_on="a", split="test", scope="all", reference="soap-krr",
            models=1, mae=1.0, reference_mae=1.1, skill=interval.value, skill_sd=np.nan,
        )  # fmt: skip
        return skill_verdicts([skill], "all", [interval])

    assert verdict(paired) == ()
    (sentence,) = verdict(unpaired)
    assert f"(skill 0.09, 95 % interval {unpaired.low:.2f} to {unpaired.high:.2f} over samples)" in sentence
    (sentence,) = verdict(replace(paired, groups=4, low=np.nan, high=np.nan))
    assert "(skill 0.09, no interval: 1 network, 4 groups)" in sentence


def test_mistakes_in_one_sentence(world, sets, monkeypatch):
    with pytest.raises(ConfigurationError, match=r"references must be among .*'soap-krr'; got 'soap'"):
        describe("soap", sets)
    holes = with_labels(world, sets, np.full(120, np.nan))
    references, warnings = fit_references(["composition-volume"], world.fits[:1], sets, holes)
    assert references == ()
    assert "0 training and 0 validation samples have a label" in warnings[0]
    _, warnings = fit_references(["composition-volume"], world.fits[:1], sets[1:], world.labels)
    assert "samples are in no set" in warnings[0]
    monkeypatch.setitem(sys.modules, "dscribe.descriptors", None)
    with pytest.raises(ConfigurationError, match=r"pip install \"phonograph\[references\]\""):
        describe("soap-krr", sets)
