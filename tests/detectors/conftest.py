from __future__ import annotations

from pathlib import Path

import pytest

from tests.detectors import tiny


@pytest.fixture(scope="session", params=["owlvit", "owlv2"])
def owl_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def owl_folder(owl_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.owl(tmp_path_factory.mktemp(owl_kind), owl_kind)


@pytest.fixture(scope="session")
def owlvit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.owl(tmp_path_factory.mktemp("owlvit_only"), "owlvit")
