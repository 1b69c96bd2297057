"""`make smoke` against the deployed template: it holds, and it finds what is broken."""

import json
from typing import Any

from local.api import Api
from local.stack import Stack
from tests.conftest import expect_refusals_of
from tests.support.receivers import Receivers
from tools.smoke import Smoke


def test_a_stack_that_is_well_passes(stack: Stack) -> None:
    receivers = Receivers()
    api = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
    try:
        smoke = Smoke(api, f"{receivers.url}/good/smoke", lambda _: None)
        assert smoke.run(), [check for check in smoke.checks if check.failure]
    finally:
        receivers.stop()
    left = api.expect(200, "GET", "/v1/webhooks?limit=100")["items"]
    assert not [each for each in left if "smoke" in (each["description"] or "")]


def test_a_missing_right_is_found(stack: Stack) -> None:
    iam, role = stack.client("iam"), stack.functions["EntitlementsRole"]
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    broken: dict[str, Any] = json.loads(json.dumps(policy).replace('"WEBHOOK_SECRET#*"', '"NONE"'))
    assert broken != policy
    expect_refusals_of("WEBHOOK_SECRET#")
    api = Api(stack.api_url, f"Bearer {stack.bootstrap_key}")
    smoke = Smoke(api, "http://127.0.0.1:9/", lambda _: None)
    try:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(broken))
        smoke._check("seats", smoke._seats)
        smoke._check("webhooks", smoke._webhooks)
        smoke._check("cleaned up", smoke._clean)
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy))
    assert [bool(check.failure) for check in smoke.checks] == [False, True, False]
    assert "500" in smoke.checks[1].failure
