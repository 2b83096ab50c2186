"""Enrollment by real programs: tokens bind to their first key, grants wait for the offline root, a restart changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import RENTAL_TARIFF, Cluster, cluster, free_port

CONFIG = """
[[tariffs]]
name = "rent"
file = "rent.json"
[[sites]]
station = "Depot"
latitude = "22.5431"
longitude = "114.0579"
time_zone = "Asia/Shanghai"
[[sites.assets]]
name = "lock-1"
kind = "battery"
tariff = "rent"
power_w = 1000
capacity_wh = 2000
"""


@pytest.fixture(scope="module")
def offline_root() -> Iterator[Cluster]:
    """Give a cluster whose cloud runs without the platform root's key."""
    with cluster(signs_grants=False) as made:
        yield made


def test_grants_wait_until_the_operator_signs_them_with_the_root_key(offline_root: Cluster) -> None:
    token = offline_root.token("provider", "depot")
    assert _enroll(offline_root, "energyshare-provider", "depot", token)["granted"] is False
    (offline_root.folder / "depot.toml").write_text(CONFIG)
    said = offline_root.text("energyshare-provider", "run", str(offline_root.folder / "depot.toml"), home="depot", status=1)
    assert "the operator has not signed this provider's grant yet" in said

    _restart_cloud(offline_root)
    assert offline_root.operator("grant", "list")["grants"][0]["name"] == "depot"
    root_key = str(offline_root.home("cloud") / "root.key")
    assert offline_root.operator("grant", "sign", "--root-key", root_key) == {"signed": ["depot"]}
    assert offline_root.operator("grant", "list")["grants"] == []
    assert _enroll(offline_root, "energyshare-provider", "depot", token)["granted"] is True
    (offline_root.folder / "rent.json").write_text(json.dumps(RENTAL_TARIFF))
    assert offline_root.start_provider("depot").is_alive


def test_a_device_whose_grant_waits_does_not_run(offline_root: Cluster) -> None:
    token = offline_root.token("device", "lock-1")
    options = ("--provider", "depot", "--kind", "battery")
    assert _enroll(offline_root, "energyshare-device", "lock-1", token, *options)["granted"] is False
    said = offline_root.text("energyshare-device", "run", "--listen", f"127.0.0.1:{free_port()}", home="lock-1", status=1)
    assert "this device's grant has not been signed yet" in said
    offline_root.operator("grant", "sign", "--root-key", str(offline_root.home("cloud") / "root.key"))
    assert _enroll(offline_root, "energyshare-device", "lock-1", token, *options)["granted"] is True
    offline_root.start_device("lock-1", free_port())


def test_a_token_binds_to_the_first_key_also_over_a_restart_of_the_cloud(offline_root: Cluster) -> None:
    token = offline_root.token("user", "alice")
    _restart_cloud(offline_root)
    first = _enroll(offline_root, "energyshare", "alice", token)
    _restart_cloud(offline_root)
    assert _enroll(offline_root, "energyshare", "alice", token) == first
    said = _enroll(offline_root, "energyshare", "another", token, status=1)
    assert "energyshare: error: the join token was used by another key" in said
    assert "energyshare: hint: ask the operator for a new one" in said


@pytest.mark.parametrize(
    ("program", "role", "options", "words"),
    [
        ("energyshare-provider", "user", (), "this is not for your side of the order to say"),
        ("energyshare-device", "device", ("--provider", "nobody", "--kind", "outlet"), "there is no provider of that name"),
    ],
)
def test_a_token_of_another_role_or_for_an_unknown_provider_is_refused(
    offline_root: Cluster, program: str, role: str, options: tuple[str, ...], words: str
) -> None:
    token = offline_root.token(role, "someone")
    said = _enroll(offline_root, program, f"home-of-{program}", token, *options, status=1)
    assert f"{program}: error: {words}" in said


def test_a_token_that_nobody_made_is_refused(offline_root: Cluster) -> None:
    token = offline_root.folder / "made-up.token"
    token.write_text("0" * 64)
    assert "there is no such join token" in _enroll(offline_root, "energyshare", "made-up", token, status=1)


def test_a_cloud_that_is_not_the_one_of_the_authority_is_not_believed(offline_root: Cluster) -> None:
    other = offline_root.run("energyshare-cloud", "init", home="other-cloud")
    token = offline_root.token("user", "carol")
    said = _enroll(offline_root, "energyshare", "carol", token, ca=other["ca"], status=1)
    assert "energyshare: error: " in said


def _enroll(one: Cluster, program: str, home: str, token: Path, *options: str, ca: str | None = None, status: int = 0) -> Any:
    """Run a program's enroll command; gives its JSON, or what it said when it failed."""
    authority = ca or str(one.home("cloud") / "ca.pem")
    cloud = ["--cloud", f"127.0.0.1:{one.enrollment_port}", "--ca", authority, "--token-file", str(token)]
    return one.run(program, "enroll", *cloud, *options, home=home, status=status)


def _restart_cloud(one: Cluster) -> None:
    assert one.cloud is not None
    one.cloud.kill()
    one.start_cloud()
