"""Whatever happens to a bundle, it is refused with a reason: thousands of spoilt ones, none of which verifies.

`ENERGYSHARE_MUTATIONS` says how many; `make nightly` tries 100,000.
"""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from energyshare.bundle import read_bundle
from energyshare.errors import Rejected
from energyshare.evidence import code_of, verify_file
from energyshare.values import PartKind
from tests.cloud.actors import ROOT
from tests.cloud.mutating import MUTATIONS, Mutation, Original

COUNT = int(os.environ.get("ENERGYSHARE_MUTATIONS", "2000"))
VECTORS = Path(__file__).parents[1] / "vectors" / "evidence"


def original(data: bytes) -> Original | None:
    """A bundle of which each part counts; readings past the end may be left out of any."""
    proof, bundle = verify_file(data, ROOT.public), read_bundle(data)
    readings = sum(part.kind is PartKind.READING for part in bundle.parts)
    return Original(bundle, data, proof.keys) if readings == len(proof.evidence.readings) else None


@pytest.fixture(scope="module")
def originals() -> list[Original]:
    found = [one for path in sorted(VECTORS.glob("valid-*")) if (one := original(path.read_bytes()))]
    bundles = tuple(one.bundle for one in found)
    return [Original(one.bundle, one.data, one.keys, bundles) for one in found]


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_no_spoilt_bundle_verifies(originals: list[Original], mutation: Mutation) -> None:
    chance, codes = random.Random(20_261_122), Counter[str]()
    while codes.total() < COUNT // len(MUTATIONS):
        one = chance.choice(originals)
        data = mutation(one, chance)
        if data != one.data:
            codes[outcome(data)] += 1
    assert "" not in codes
    assert all(code.isupper() for code in codes)


def outcome(data: bytes) -> str:
    """The code of what does not hold; nothing when all does."""
    try:
        verify_file(data, ROOT.public)
    except Rejected as refusal:
        return code_of(refusal)
    return ""
