"""Contract checks and toy crystals for people who write their own sampler, labeller, network or explainer.

Each ``check_…`` raises :class:`AssertionError` with one sentence that names the broken promise, and returns None
when all promises hold.  A :class:`typing.Protocol` checks names only; these check behaviour.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonograph.graphs import build_graphs
from phonograph.lattice import crystal_modes
from phonograph.streams import stream
from phonograph.types import (
    Configurations,
    Crystal,
    Explainer,
    Fitted,
    ForceConstants,
    GraphModel,
    GraphSet,
    GraphSpec,
    Labeller,
    Phonons,
    Sampler,
    Spectrum,
)

RELATIVE_TOLERANCE = 1e-5
"""Single precision networks agree to this under exact symmetries."""


def cubic_antiperovskite(lattice_A: float = 4.90) -> Crystal:
    """Return cubic Ag3SBr, 5 atoms: Ag at the face centres, S at the body centre, Br at the corner."""
    fractional = np.array([[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]])
    return Crystal(
        cell_A=lattice_A * np.eye(3), positions_A=lattice_A * fractional, numbers=np.array([47, 47, 47, 16, 35])
    )


def fcc(symbol: str = "Al", lattice_A: float = 4.05) -> Crystal:
    """Return the one-atom primitive cell of a face-centred cubic metal."""
    from ase.data import atomic_numbers

    cell = 0.5 * lattice_A * (np.ones((3, 3)) - np.eye(3))
    return Crystal(cell_A=cell, positions_A=np.zeros((1, 3)), numbers=np.array([atomic_numbers[symbol]]))


def phonons_of(constants: ForceConstants, method: str = "file") -> Phonons:
    """Return phonons to sample from, made of force constants alone; their spectrum is left empty."""
    frequencies = crystal_modes(constants).frequencies_THz
    empty = Spectrum(q=np.zeros((1, 3)), distance=np.zeros(1), frequencies_THz=np.zeros((1, 3)))
    return Phonons(
        force_constants=constants,
        harmonic=None,
        method=method,
        temperature_K=None,
        frequencies_THz=frequencies,
        frequency_error_THz=np.zeros_like(frequencies),
        harmonic_frequencies_THz=frequencies,
        spectrum=empty,
        harmonic_spectrum=empty,
        rounds=(),
        converged=None,
        warnings=(),
        origin=constants.origin,
    )


def displaced(crystal: Crystal, n: int, rms_A: float = 0.1, seed: int = 0, name: str = "toy") -> Configurations:
    """Return ``n`` copies of ``crystal`` with independent normal displacements, for tests."""
    size = len(crystal)
    displacements = np.stack([stream(seed, name, i).normal(0.0, rms_A, (size, 3)) for i in range(n)])
    return _packed(crystal, displacements, name)


def _packed(crystal: Crystal, displacements_A: NDArray[Any], name: str) -> Configurations:
    count, size = displacements_A.shape[:2]
    return Configurations(
        name=name,
        sampler="file",
        offsets=size * np.arange(count + 1),
        numbers=np.tile(crystal.numbers, count),
        positions_A=(crystal.positions_A + displacements_A).reshape(-1, 3),
        displacements_A=displacements_A.reshape(-1, 3),
        cells_A=np.repeat(crystal.cell_A[None], count, axis=0),
        temperature_K=np.full(count, np.nan),
        amplitude_A=np.full(count, np.nan),
        fraction=np.full(count, np.nan),
        index=np.arange(count),
        group=tuple(f"{name}-{i}" for i in range(count)),
    )


def check_sampler(sampler: Sampler, reference: Phonons | Crystal, seed: int = 3, *, seeded: bool = True) -> None:
    """Check a sampler: shapes, finiteness, same seed → same samples, prefix property, reference left alone.

    With ``seeded=False`` for laws in which nothing is random: another seed must give the same samples.
    """
    crystal = reference if isinstance(reference, Crystal) else reference.supercell
    before = crystal.positions_A.tobytes()
    five, three = sampler.sample(reference, 5, seed), sampler.sample(reference, 3, seed)
    assert len(five) == 5, f"asked for 5 configurations, got {len(five)}"
    assert (np.diff(five.offsets) == len(crystal)).all(), "every configuration must have the supercell's atoms"
    atoms = int(three.offsets[-1])
    assert np.array_equal(five.positions_A[:atoms], three.positions_A), (
        "sample i must depend on (seed, i) only: the first three of five differ from three alone"
    )
    assert five.group[:3] == three.group, "groups must depend on (seed, i) only"
    other = sampler.sample(reference, 3, seed + 1)
    same = np.array_equal(other.positions_A, three.positions_A)
    assert same != seeded, f"another seed must give {'other' if seeded else 'the same'} samples"
    assert crystal.positions_A.tobytes() == before, "the reference must be left as it was"


def check_labeller(labeller: Labeller, crystal: Crystal, tolerance: float = 1e-4) -> None:
    """Check a labeller: promised properties, repeatability, invariance to translation and atom order."""
    first = labeller.label(crystal)
    assert not first.failure, f"the labeller failed on the test crystal: {first.failure}: {first.message}"
    missing = set(labeller.provides) - set(first.values)
    assert not missing, f"promised but not given: {sorted(missing)}"
    assert all(np.isfinite(list(first.values.values()))), "labels must be finite; report a failure instead"
    order = np.arange(len(crystal))[::-1]
    shifted = Crystal(
        cell_A=crystal.cell_A,
        positions_A=(crystal.positions_A + np.array([0.3, -0.2, 0.7]))[order],
        numbers=crystal.numbers[order],
    )
    second = labeller.label(shifted)
    for name in labeller.provides:
        gap = abs(second.values[name] - first.values[name])
        assert gap < tolerance, f"{name} changes by {gap:g} under translation and reordering"


def check_symmetry(labeller: Labeller, crystal: Crystal) -> None:
    """Check that a labeller knows the symmetry of ``crystal``, and that its forces and stress are derivatives.

    The laws and tolerances are those of :func:`phonograph.labels.symmetry_test`.
    """
    from phonograph.labels import symmetry_test

    result = symmetry_test(labeller, crystal)
    assert result.passed, result.sentence


def check_graph_model(model: GraphModel, crystal: Crystal | None = None, cutoff_A: float = 5.5, seed: int = 0) -> None:
    """Check a network: one finite value per graph, batch = single, invariance, same seed → same weights.

    Every parameter must get a gradient.  A network whose ``build`` takes ``outputs`` (for joint targets) must give that
    many values per graph.
    """
    import torch

    from phonograph.models import fit_input_scaling
    from phonograph.models.predict import make_batch

    configurations = displaced(crystal or cubic_antiperovskite(), 3)
    graphs = build_graphs(configurations, GraphSpec(cutoff_A=cutoff_A))
    inputs = fit_input_scaling(graphs, "cosine")

    def output(some: GraphSet) -> NDArray[Any]:
        return np.asarray(module(make_batch(some, inputs)).numpy())

    state = torch.get_rng_state()
    features = len(inputs.feature_min)
    module, again = model.build(features, seed).eval(), model.build(features, seed)
    assert torch.equal(torch.get_rng_state(), state), "build must leave the global generator alone"
    for name, value in module.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), f"the same seed gave another {name}"
    with torch.no_grad():
        together = output(graphs)
        assert together.shape == (3,), f"one value per graph: expected shape (3,), got {together.shape}"
        alone = np.concatenate([output(graphs.select([i])) for i in range(3)])
        _close(together, alone, "a batch must give what single graphs give")
        moved = build_graphs(_moved(configurations), GraphSpec(cutoff_A=cutoff_A))
        _close(together, output(moved), "translation and atom order must not matter")
        several = {"outputs": 3} if "outputs" in inspect.signature(model.build).parameters else {}
        if several:
            shape = tuple(model.build(features, seed, **several).eval()(make_batch(graphs, inputs)).shape)
            assert shape == (3, 3), f"outputs=3 must give three values per graph: expected (3, 3), got {shape}"
    _check_gradients(module, make_batch(graphs, inputs))


def _check_gradients(module: Any, batch: Any) -> None:
    """Check that the output depends on every parameter, and that output and gradients are finite."""
    values = module(batch)
    assert values.isfinite().all(), "the output must be finite"
    values.sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, f"the output does not depend on {name}; it would never be trained"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} must be finite"


def _close(found: NDArray[Any], expected: NDArray[Any], sentence: str) -> None:
    scale = np.abs(expected).max() + 1e-12
    gap = np.abs(found - expected).max() / scale
    assert gap < RELATIVE_TOLERANCE, f"{sentence}; relative difference {gap:.2g}"


def _moved(configurations: Configurations) -> Configurations:
    """Return the same crystals, rigidly shifted and with their atoms in reverse order."""
    order = np.concatenate(
        [np.arange(a, b)[::-1] for a, b in zip(configurations.offsets[:-1], configurations.offsets[1:], strict=True)]
    )
    return replace(
        configurations,
        positions_A=configurations.positions_A[order] + np.array([0.31, -1.7, 2.9]),
        displacements_A=configurations.displacements_A[order],
        numbers=configurations.numbers[order],
    )


def check_explainer(explainer: Explainer, fitted: Fitted, graph: GraphSet, seed: int = 0) -> None:
    """Check an explainer: one value in [0, 1] per directed edge, repeatable, both directions equal, nothing changed."""
    import torch

    state = torch.get_rng_state()
    weights = {name: value.tobytes() for name, value in fitted.weights.items()}
    first = explainer.importance(fitted, graph, seed)
    assert first.shape == (len(graph.source),), f"one value per directed edge; got shape {first.shape}"
    assert 0.0 <= first.min() <= first.max() <= 1.0, "importances must lie in [0, 1]"
    assert np.array_equal(first, explainer.importance(fitted, graph, seed)), "the same seed must give the same values"
    backwards = {
        (int(s), int(t), *map(int, image)): value
        for s, t, image, value in zip(graph.source, graph.target, graph.image, first, strict=True)
    }
    for (s, t, a, b, c), value in backwards.items():
        assert abs(backwards[(t, s, -a, -b, -c)] - value) < 1e-6, "the two directions of an edge must agree"
    assert torch.equal(torch.get_rng_state(), state), "the global generator must be left alone"
    assert {name: value.tobytes() for name, value in fitted.weights.items()} == weights, "the model was changed"
