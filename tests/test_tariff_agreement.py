"""Two pricers that share no code agree to the last fraction, on as many pairs as ENERGYSHARE_PRICINGS says."""

import os
from fractions import Fraction
from random import Random

import pytest

from energyshare.rating import rate
from energyshare.tariff import parse_tariff
from tests.naive_pricer import naive_price, random_items, random_session, random_tariff

PAIRS = int(os.environ.get("ENERGYSHARE_PRICINGS", "2000"))
CHUNK = 500
SESSIONS = 4
"""Sessions priced by each tariff: reading one takes longer than pricing by it."""


@pytest.mark.parametrize("first", range(0, PAIRS, CHUNK))
def test_a_second_pricer_agrees(first: int) -> None:
    for seed in range(first, min(first + CHUNK, PAIRS), SESSIONS):
        source = random_tariff(Random(seed))
        tariff = parse_tariff(source)
        for number in range(seed, seed + SESSIONS):
            random = Random(-number)
            session = random_session(random, random_items(random, source))
            bill = rate(session, tariff)
            assert (bill.excl_vat_exact, bill.incl_vat_exact) == naive_price(source, session), (seed, number)
            assert 0 <= bill.excl_vat_minor <= bill.incl_vat_minor
            assert abs(bill.incl_vat_minor - bill.incl_vat_exact * 100) <= Fraction(1, 2)
