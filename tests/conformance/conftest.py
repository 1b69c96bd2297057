"""The functions in this process, as unit tests have them."""

import pytest

from tests.unit.conftest import api, dynamodb, engine_url
from tools import build

__all__ = ["api", "dynamodb", "engine_url"]


@pytest.fixture(scope="session", autouse=True)
def _built() -> None:
    build.build_typescript_client()
