"""The soft-mode policy as a value: the share of variance touched, and phonons renormalised at the law's temperature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from phonograph.errors import ConfigurationError, PhysicsError
from phonograph.sampling import (
    PaperCodeSampler,
    PaperEq3Sampler,
    SignSampler,
    SobolSampler,
    Substitution,
    ThermalSampler,
    ZGSampler,
    certify,
    failed_checks,
    sample,
)

HARMONIC = (ThermalSampler, SignSampler, ZGSampler, SobolSampler, PaperEq3Sampler)


def trace(phonons, **options) -> float:
    return float(np.trace(ThermalSampler(**options).moments(phonons).covariance_A2))


def touched(phonons, law, **more) -> float:
    return sample(phonons, law, 2, 0, name="set", **more).origin.settings["touched_share"]


# The share of the total variance that was touched


def test_untouched_sets_say_zero(silver_salt):
    for law in HARMONIC:
        assert touched(silver_salt, law()) == 0.0


def test_the_share_of_frozen_and_absolute_modes_is_theirs_at_absolute_frequency(unstable, silver_salt):
    """The six lowest of the stable crystal were made imaginary: their share there is known by subtraction."""
    share = 1 - trace(unstable, soft_modes="freeze") / trace(silver_salt)
    for law in HARMONIC:
        for policy in ("freeze", "absolute"):
            assert_allclose(touched(unstable, law(soft_modes=policy)), share, rtol=1e-9)


def test_the_share_of_floored_modes_counts_all_below_the_floor(silver_salt):
    constants = silver_salt.frequencies_THz
    floor = float(0.5 * (constants[9] + constants[12])) + 1e-3
    below = constants < floor
    law = ThermalSampler(soft_modes="floor", floor_THz=floor)
    modes = law.law(silver_salt)
    per_mode = modes.variance_amu_A2 * (
        modes.modes.vectors**2 / np.repeat(silver_salt.supercell.masses_amu, 3)[:, None]
    ).sum(axis=0)
    assert below.any()
    assert_allclose(touched(silver_salt, law), per_mode[below].sum() / per_mode.sum(), rtol=1e-9)


def test_the_share_of_limited_modes_is_that_before_they_are_limited(silver_salt):
    law = ThermalSampler(guard="limit", amplitude_guard_A=0.03)
    modes = law.law(silver_salt)
    assert 0 < modes.touched_share < 1
    assert f"{100 * modes.touched_share:.1f} % of the total displacement variance is touched" in modes.warnings[0]


def test_policy_and_guard_touch_a_mode_once(unstable):
    both = ThermalSampler(soft_modes="absolute", guard="limit", amplitude_guard_A=1e-4)
    assert_allclose(touched(unstable, both), 1.0, rtol=1e-12)


def test_the_share_comes_with_the_certificate_and_its_file(unstable, tmp_path):
    from phonograph.files.configurations import load_certificate, save_certificate

    made = sample(unstable, ThermalSampler(soft_modes="absolute"), 6, 0, name="set")
    certificate = certify(made, unstable)
    assert certificate.touched_share == made.origin.settings["touched_share"] > 0
    save_certificate(certificate, tmp_path / "set.json")
    assert load_certificate(tmp_path / "set.json").touched_share == certificate.touched_share
    bare = certify(sample(unstable.supercell, PaperCodeSampler(), 6, 0, name="set"), unstable.supercell)
    assert np.isnan(bare.touched_share)
    save_certificate(bare, tmp_path / "bare.json")
    assert np.isnan(load_certificate(tmp_path / "bare.json").touched_share)


def test_solid_solutions_record_the_mean_share(unstable):
    law = ThermalSampler(soft_modes="absolute")
    mix = Substitution(replace="Br", by="I", lattice="fixed", fractions=(0.25, 0.75))
    made = sample(unstable, law, 8, 0, name="set", composition=mix)
    pure = touched(unstable, law)
    assert 0 < made.origin.settings["touched_share"] < 1
    assert made.origin.settings["touched_share"] != pure


# Renormalised phonons


@pytest.mark.parametrize("law", HARMONIC)
def test_phonons_of_another_temperature_are_one_sentence(silver_salt, law):
    sampler = law(soft_modes="renormalise", temperature_K=250.0)
    with pytest.raises(PhysicsError, match=r"renormalised at 250 K, but these are harmonic; make them with .*sample\("):
        sample(silver_salt, sampler, 2, 0, name="set")
    other = replace(silver_salt, temperature_K=300.0)
    with pytest.raises(PhysicsError, match="but these are renormalised at 300 K"):
        sample(other, sampler, 2, 0, name="set")


@pytest.mark.parametrize("law", HARMONIC)
def test_phonons_of_the_same_temperature_are_sampled_as_they_are(silver_salt, law):
    right = replace(silver_salt, temperature_K=250.0)
    made = sample(right, law(soft_modes="renormalise", temperature_K=250.0), 3, 0, name="set")
    assert_array_equal(made.displacements_A, sample(right, law(temperature_K=250.0), 3, 0, name="set").displacements_A)


def test_the_function_given_is_asked_for_the_temperature_of_the_law_once(silver_salt, unstable):
    asked = []

    def renormalise(temperature_K):
        asked.append(temperature_K)
        return replace(silver_salt, temperature_K=temperature_K, warnings=("not converged",))

    law = ThermalSampler(soft_modes="renormalise", temperature_K=420.0)
    made = sample(unstable, law, 50, 0, name="set", renormalise=renormalise)
    assert asked == [420.0]
    assert "phonons renormalised at 420 K: not converged" in made.warnings
    plain = sample(silver_salt, ThermalSampler(temperature_K=420.0), 50, 0, name="set")
    assert_array_equal(made.displacements_A, plain.displacements_A)
    assert failed_checks(certify(made, renormalise(420.0))) == ()
    sample(replace(silver_salt, temperature_K=420.0), law, 2, 0, name="set", renormalise=renormalise)
    sample(unstable, ThermalSampler(soft_modes="freeze"), 2, 0, name="set", renormalise=renormalise)
    assert asked == [420.0, 420.0], "asked again although the phonons were right or not asked for"


def test_renormalised_phonons_that_are_still_imaginary_are_not_repaired(unstable):
    hot = replace(unstable, temperature_K=300.0)
    with pytest.raises(PhysicsError, match=r"imaginary.*converge the renormalisation at 300 K further"):
        sample(hot, ThermalSampler(soft_modes="renormalise"), 2, 0, name="set")


# Bad input


@pytest.mark.parametrize("law", HARMONIC)
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"temperature_K": -10.0}, "temperature_K must be at least 0; got -10.0"),
        ({"temperature_K": float("nan")}, "temperature_K must be at least 0; got nan"),
        ({"temperature_K": 1e6}, "temperature_K must be at most 100000"),
        ({"statistics": "fermi"}, "statistics must be one of 'quantum', 'classical'; got 'fermi'"),
        ({"soft_modes": "ignore"}, "'freeze', 'absolute', 'floor', 'renormalise'; got 'ignore'"),
        ({"floor_THz": 0.0}, "floor_THz must be greater than 0; got 0.0"),
        ({"amplitude_guard_A": -1.0}, "amplitude_guard_A must be greater than 0"),
        ({"guard": "clip"}, "guard must be one of 'raise', 'limit', 'off'; got 'clip'"),
    ],
)
def test_options_out_of_bounds_are_one_sentence(law, options, sentence):
    with pytest.raises(ConfigurationError, match=f"{law.__name__}.*{sentence}"):
        law(**options)


@pytest.mark.parametrize("law", HARMONIC)
def test_a_bare_crystal_has_no_modes_and_that_is_one_sentence(silver_salt, law):
    with pytest.raises(PhysicsError, match=f"sampler '{law.kind}' needs phonons, but only a crystal was given"):
        sample(silver_salt.supercell, law(), 2, 0, name="set")
