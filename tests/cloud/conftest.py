"""One database is founded a session; every test works on its own copy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.actors import Cloud, Roster, found_cloud, reopened

Template = tuple[Path, Roster]
OpenCloud = Callable[..., Cloud]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    path = tmp_path_factory.mktemp("founded") / "cloud.db"
    return path, found_cloud(path)


@pytest.fixture
def open_cloud(template: Template, tmp_path: Path) -> Iterator[OpenCloud]:
    opened: list[Cloud] = []

    def open_one(**more: Any) -> Cloud:
        cloud = reopened(template[0], tmp_path / f"cloud-{len(opened)}.db", dict(template[1]), **more)
        opened.append(cloud)
        return cloud

    yield open_one
    for cloud in opened:
        cloud.close()


@pytest.fixture
def cloud(open_cloud: OpenCloud) -> Cloud:
    return open_cloud()
