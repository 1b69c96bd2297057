"""After a whole test run: no call was refused, and every right that a role has was made use of.

`make test` runs this last. What a run has seen is in `.local/rights` (see `local/rights.py`).
"""

import re

import pytest

from local import rights
from local.iam import Right
from tests.conftest import RIGHTS
from tests.support import roles
from tools import ROOT

# (policy, action, target): rights that no call of our code shows, and why they are needed.
BY_THE_PLATFORM = {
    ("logs:CreateLogStream", "*"): "Lambda writes the function's log with its role",
    ("logs:PutLogEvents", "*"): "Lambda writes the function's log with its role",
    ("dynamodb:DescribeStream", "Table.StreamArn"): "Lambda reads the stream with Notify's role",
    ("dynamodb:GetRecords", "Table.StreamArn"): "Lambda reads the stream with Notify's role",
    ("dynamodb:GetShardIterator", "Table.StreamArn"): "Lambda reads the stream with Notify's role",
    ("dynamodb:ListStreams", "*"): "Lambda reads the stream with Notify's role",
    ("sqs:ReceiveMessage", "*"): "Lambda reads the queue with the function's role",
    ("sqs:DeleteMessage", "*"): "Lambda reads the queue with the function's role",
    ("sqs:GetQueueAttributes", "*"): "Lambda reads the queue with the function's role",
    ("s3:PutObject", "StreamFailures.Arn/*"): "Lambda writes the records that it gives up",
    ("s3:ListBucket", "StreamFailures.Arn"): "Lambda checks the destination of what it gives up",
    ("s3:ListBucket", "Reports.Arn"): "without it, S3 answers 403 for a file that is missing",
}


# Rights of paths that a run need not take: (role, action, target), and where the call is.
RARE = {
    ("ReportRole", "sqs:ChangeMessageVisibility", "ReportJobs.Arn"): (
        "after a job failed: functions/report/handler.py, _come_again; no deployed test breaks one"
    ),
    ("ReportRole", "sqs:SendMessage", "ReportFailures.Arn"): (
        "Lambda sends a scheduled run there that failed three times"
    ),
    ("NotifyRole", "dynamodb:BatchGetItem", "POOL#*"): (
        "an e-mail about a pool of several shards: shared/entitlements/queries.py, fetch_seat_usages"
    ),
    ("NotifyRole", "dynamodb:UpdateItem", "POOL#*"): (
        "a shard without a cap has outgrown its size: shared/seats/terms.py, request_reconcile_update"
    ),
    ("NotifyRole", "dynamodb:DeleteItem", "EPISODES#*"): (
        "a late record shows that an episode never was: functions/notify/history_writer.py, rebuild"
    ),
    # Whoever needs a secret of the stack's first makes it (shared/signed_tokens.py, own_secret).
    ("EntitlementsRole", "dynamodb:PutItem", "SECRET#unsubscribe"): "own_secret, see above",
    ("PortalRole", "dynamodb:PutItem", "SECRET#page-token"): "own_secret, see above",
    ("ReportRole", "dynamodb:PutItem", "SECRET#page-token"): "own_secret, see above",
    ("ReportRole", "dynamodb:PutItem", "SECRET#report-link"): "own_secret, see above",
    ("EntitlementsRole", "dynamodb:PutItem", "SECRET#page-token"): "own_secret, see above",
    ("NotifyRole", "dynamodb:PutItem", "SECRET#unsubscribe"): "own_secret, see above",
    **{
        ("ReportRole", "dynamodb:BatchGetItem", kind): (
            "a statement, where nothing has happened since the month: shared/sales/charges.py,"
            " _is_settled"
        )
        for kind in ("LEDGER#*", "SUM#*", "USAGE#*")
    },
    ("PortalRole", "dynamodb:GetItem", "LEDGER#*"): (
        "holders are listed while seats are moved: shared/seats/held_seats.py, _shards_from"
    ),
}


@pytest.mark.parametrize("why", sorted(set(RARE.values())))
def test_the_call_of_a_rare_right_is_where_it_is_said_to_be(why: str) -> None:
    for file, function in re.findall(r"([\w/]+\.py), (\w+)", why):
        assert f"def {function}(" in (ROOT / file).read_text(), why


@pytest.fixture(scope="module")
def seen() -> rights.Seen:
    found = rights.read(RIGHTS)
    assert found.rights, "no run has kept what it saw: run `make test`"
    return found


def test_no_call_was_refused(seen: rights.Seen) -> None:
    file = RIGHTS / "expected.txt"
    expected = file.read_text().split() if file.exists() else []
    assert not [
        why for why in seen.refused if not any(entitlement_id in why for entitlement_id in expected)
    ]


@pytest.mark.parametrize("role", roles.roles())
def test_every_right_of_a_role_was_used(seen: rights.Seen, role: str) -> None:
    unused = []
    for statement in roles.statements(role):
        for right in sorted(statement.rights() - seen.rights):
            target = statement.targets[right.target]
            excused = {(right.action, target), (right.action, "*")} & set(BY_THE_PLATFORM)
            if not excused and (role, right.action, target) not in RARE:
                unused.append(f"{right.action} on {target}")
    assert not unused, f"{role} has rights that no call of this run has used: {unused}"


def test_only_known_rights_were_seen(seen: rights.Seen) -> None:
    """What was recorded is of this template, and not of another one."""
    known: set[Right] = set()
    for role in roles.roles():
        for statement in roles.statements(role):
            known |= statement.rights()
    assert seen.rights <= known, "the record is of another template: run `make test` again"
