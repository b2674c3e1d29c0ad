"""Fits give the same weights as with earlier releases, to the bit: see tests/same_bits/twelve_fits.py."""

from __future__ import annotations

import functools
import warnings

import pytest
from same_bits import twelve_fits

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected():
    """The digests on record for this platform; None, and a warning for the summary of the run, where there are none."""
    for sentence in twelve_fits.unrecorded():
        warnings.warn(sentence, stacklevel=1)
    return twelve_fits.on_record().get(twelve_fits.platform_of(twelve_fits.BACKEND))


# Once for all tests that compare it.
first = functools.cache(twelve_fits.digest)


@pytest.mark.parametrize("name", twelve_fits.FITS)
def test_fit_gives_the_bits_on_record_or_else_the_same_ones_twice(spark, expected, name):
    if expected is None:
        # A fit that has the bits of another one is compared with that one.
        again = first if name in twelve_fits.SAME else twelve_fits.digest
        assert first(spark, name) == again(spark, name)
    else:
        assert first(spark, name) == expected[name]


@pytest.mark.parametrize("name, undisturbed", twelve_fits.SAME.items())
def test_disturbed_fit_gives_the_bits_of_the_undisturbed_one(spark, name, undisturbed):
    assert first(spark, name) == first(spark, undisturbed)


def test_each_optimizer_state_has_its_own_bits(spark):
    names = ["dense", "local optimizer state", "reset optimizer state"]
    assert len({first(spark, name) for name in names}) == len(names)


def test_each_platform_on_record_has_all_fits():
    for platform, digests in twelve_fits.on_record().items():
        left_out = {"other kernel"} if "; torch " in platform else set()
        assert set(digests) | left_out == set(twelve_fits.FITS) | {"other kernel"}, platform
