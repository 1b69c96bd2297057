"""Every function is imported with the environment of a deployed one."""

import os
from collections.abc import Iterator

import pytest

from local import rights
from tools import ROOT

RIGHTS = ROOT / ".local/rights"

os.environ |= {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "TABLE_NAME": "none",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "INSECURE_WEBHOOK_HOSTS": "127.0.0.1",
    rights.VARIABLE: str(RIGHTS),
}

from local.dynamodb import DynamoDBLocal
from local.emulator import Emulator, free_port
from local.provider import Provider
from local.stack import REPORTS_TO, Stack, api_url, deploy
from tests.support.addresses import BOUNCES


def expect_refusals_of(target: str) -> None:
    """A test takes a right away on purpose; `target` is named by every refusal that follows."""
    RIGHTS.mkdir(parents=True, exist_ok=True)
    with (RIGHTS / "expected.txt").open("a") as file:
        file.write(f"{target}\n")


@pytest.fixture(scope="module")
def engine() -> Iterator[DynamoDBLocal]:
    """Amazon's engine, one for each file of tests: it gets slow, also if tables are deleted."""
    with DynamoDBLocal() as engine:
        yield engine


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The deployed template in the emulator, one for the whole run."""
    with (
        Emulator(free_port()) as emulator,
        Provider(f"{api_url(emulator)}/console") as provider,
    ):
        recipients = {"ReportRecipients": f"{REPORTS_TO},{BOUNCES}"}
        deployed = deploy(emulator, {**recipients, **provider.parameters})
        yield deployed
    deployed.stop()
