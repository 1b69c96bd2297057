"""`overdraft` on the command line, against the deployed stack, as people of support use it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import NoKeyringError, PasswordDeleteError
from overdraft.cli import commands
from typer.testing import CliRunner

from local.stack import Stack
from tests.integration.conftest import CheckedApi, Customer
from tests.support.waiting import wait_for

Run = Callable[..., Any]
OK, REFUSED, WRITTEN_WRONGLY, OUT_OF_REACH, NOT_ALLOWED = range(5)


class Keyring(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stored: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.stored.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.stored[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if (service, username) not in self.stored:
            raise PasswordDeleteError
        del self.stored[service, username]


class NoKeyring(Keyring):
    """A system without one."""

    def get_password(self, service: str, username: str) -> str | None:
        raise NoKeyringError

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NoKeyringError


@pytest.fixture
def run(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command with the key of the vendor; its output, or its JSON."""
    monkeypatch.setenv("OVERDRAFT_CONFIG", str(tmp_path))
    monkeypatch.setenv("OVERDRAFT_URL", stack.api_url)
    monkeypatch.setenv("OVERDRAFT_API_KEY", stack.bootstrap_key)
    monkeypatch.setenv("COLUMNS", "200")

    def ran(*arguments: str, code: int = OK, given: str | None = None) -> Any:
        result = CliRunner().invoke(
            commands.app, list(arguments), input=given, env={"NO_COLOR": "1"}
        )
        assert result.exit_code == code, (arguments, result.output, result.exception)
        is_json = "--json" in arguments and code == OK
        return json.loads(result.stdout) if is_json else result.output

    return ran


def test_a_sale_from_the_first_to_the_last(run: Run) -> None:
    created = run(
        *("entitlements", "create", "--customer", "Initech [red]", "--product", "CAD Pro"),
        *("--seats", "2", "--overdraft", "50%", "--usage", "exports=100+10", "--lease", "PT8H"),
        *("--external-id", "order:cli-1", "--json"),
    )
    assert (created["seatCount"], created["hardCap"], created["leasePeriod"]) == (2, 3, "PT8H")
    assert created["usageLimits"][0]["hardCap"] == 110
    shown = run("entitlements", "show", "order:cli-1")
    assert "Initech [red]" in shown
    assert "0 of 2, cap 3" in shown
    run("entitlements", "update", "order:cli-1", "--seats", "4", "--overdraft", "none")
    assert "0 of 4, cap 4" in run("entitlements", "show", created["entitlementId"])
    assert "suspended" in run("entitlements", "update", "order:cli-1", "--status", "suspended")
    listed = wait_for(lambda: run("entitlements", "list", "--search", "initech", "--json"))
    assert [each["entitlementId"] for each in listed] == [created["entitlementId"]]
    assert "order:cli-1" in run("entitlements", "list", "--search", "initech")


def test_terms_from_a_file(run: Run, tmp_path: Path) -> None:
    body = {"product": "P", "customer": {"name": "C"}, "seatCount": 1, "metadata": {"crm": "7"}}
    path = tmp_path / "terms.json"
    path.write_text(json.dumps(body))
    made = run("entitlements", "create", "--file", str(path), "--seats", "3", "--json")
    assert (made["seatCount"], made["metadata"]) == (3, {"crm": "7"})
    made = run("entitlements", "create", "--file", "-", "--json", given=json.dumps(body))
    assert made["seatCount"] == 1
    for wrong in ("[1]", "{"):
        run("entitlements", "create", "--file", "-", given=wrong, code=WRITTEN_WRONGLY)
    for options in (["--overdraft", "20x"], ["--usage", "exports"], ["--usage", "a=1+b"]):
        run("entitlements", "update", "ent_0000000000000000", *options, code=WRITTEN_WRONGLY)
    assert "say what is to change" in run(
        "entitlements", "update", "ent_0000000000000000", code=WRITTEN_WRONGLY
    )


def test_why_she_was_denied(run: Run, api: CheckedApi) -> None:
    customer = Customer(api, leasePeriod="PT8H", seatCount=2)
    for name in ("alice", "bob", "carol"):
        customer.take(name)
    api.expect(409, "POST", customer.seats, {"seatId": "dave@acme.com"})
    found = wait_for(
        lambda: (
            each
            if (each := run("why", customer.id, "dave@acme.com", "--json"))["denial"]["isExact"]
            else None
        )
    )
    assert found["denial"]["limitReached"] == "hardCap"
    assert {each["seatId"] for each in found["holders"]} == {"alice", "bob", "carol"}
    shown = run("why", customer.id, "dave@acme.com")
    for part in ("dave@acme.com was denied", "3 of 2, cap 3", "next lease ended", "alice"):
        assert part in shown
    assert "dave@acme.com" in run("denials", customer.id, "--from", "1d")
    assert "dave@acme.com" in run("denials", customer.id, "--person", "dave@acme.com")
    assert "Nobody" in run("denials", customer.id, "--person", "alice")
    assert "overdraft" in run("seats", "list", customer.id)
    assert "The seat is free" in run("seats", "release", customer.id, "carol", given="y\n")
    assert "Aborted" in run("seats", "release", customer.id, "bob", given="n\n", code=1)
    held = run("seats", "list", customer.id, "--json")
    assert sorted(each["seatId"] for each in held) == ["alice", "bob"]
    assert "held no seat" in run("seats", "release", customer.id, "carol", "--yes")


def test_usage_and_history(run: Run, api: CheckedApi) -> None:
    customer = Customer(api, usageLimits=[{"key": "exports", "limit": 10}])
    body, path = {"quantity": 4}, f"{customer.path}/usage/exports"
    assert api.call("POST", path, body, headers={"idempotency-key": "one"}).status == 200
    customer.take("alice")
    assert "4 of 10" in run("usage", customer.id)
    [today] = wait_for(
        lambda: [
            each
            for each in run("history", customer.id, "--from", "1h", "--json")
            if each["highest"] == 1
        ]
    )
    assert today["limits"][-1]["purchased"] == 2
    assert "purchased" in run("history", customer.id)
    assert "The curve is the highest use" in run("history", customer.id, "--plot")
    assert "consumed" in run("history", customer.id, "--usage", "exports")
    assert "cost nothing" in run("true-up", customer.id, "--period", today["from"][:7])


def test_a_report_is_watched_until_it_is_there(run: Run) -> None:
    month = run("report", "list", "--json")
    assert isinstance(month, list)
    made = run("report", "create", "--customer", "Nobody of this name", "--json")
    assert made["status"] == "published"
    assert {each["format"] for each in made["files"]} == {"html", "xlsx", "csv", "json"}
    shown = run("report", "show", made["reportId"])
    # Links are whole, however long they are.
    assert all(each["url"].partition("/v1/")[0] in shown for each in made["files"])
    assert re.search(r"^csv  http\S{60,}$", shown, re.MULTILINE)
    assert made["reportId"] in run("report", "list")


def test_webhooks(run: Run, api: CheckedApi) -> None:
    body = {"url": "http://127.0.0.1:9/none", "eventTypes": ["*"]}
    made = api.expect(201, "POST", "/v1/webhooks", body)
    webhook = made["webhookId"]
    assert webhook in run("webhooks", "list")
    api.expect(202, "POST", f"/v1/webhooks/{webhook}/test", {})
    [delivery] = wait_for(lambda: run("webhooks", "deliveries", webhook, "--json"))
    assert delivery["deliveryId"] in run("webhooks", "deliveries", webhook)
    assert "sent again" in run("webhooks", "resend", webhook, delivery["deliveryId"])
    assert "sent again" in run("webhooks", "resend", webhook, "--since", "1d")
    run("webhooks", "resend", webhook, code=WRITTEN_WRONGLY)
    api.expect(204, "DELETE", f"/v1/webhooks/{webhook}")


def test_a_link(run: Run, api: CheckedApi) -> None:
    customer = Customer(api)
    made = run("links", "create", customer.id, "--role", "admin", "--expires-in", "P3D", "--json")
    assert (made["role"], "#plk_" in made["url"]) == ("admin", True)
    assert re.search(r"^link  http\S+#plk_\S+$", run("links", "create", customer.id), re.MULTILINE)


def test_doctor(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {each["what"]: each["state"] for each in run("doctor", "--json")}
    assert (found["the stack answers"], found["clock"], found["API key"]) == ("ok", "ok", "ok")
    assert found["signed leases"] == "ok"
    monkeypatch.setenv("OVERDRAFT_API_KEY", f"key_{'a' * 16}.{'b' * 43}")
    assert "failed" in run("doctor", code=REFUSED)
    monkeypatch.setenv("OVERDRAFT_URL", "http://127.0.0.1:9")
    assert "unavailable" in run("doctor", code=OUT_OF_REACH)
    for url in ("ftp://x", "http://licenses.example.com", "x"):
        monkeypatch.setenv("OVERDRAFT_URL", url)
        assert "https://" in run("doctor", code=NOT_ALLOWED)


def test_errors_say_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "entitlements list --search 'nope'" in run("entitlements", "show", "nope", code=REFUSED)
    run("entitlements", "show", "ent_0000000000000000", code=REFUSED)
    refused = run("entitlements", "create", "--customer", "C", "--product", "P", code=REFUSED)
    assert "seatCount" in refused
    monkeypatch.setenv("OVERDRAFT_API_KEY", f"key_{'a' * 16}.{'b' * 43}")
    assert "request" in run("entitlements", "list", code=NOT_ALLOWED)
    monkeypatch.delenv("OVERDRAFT_API_KEY")
    # Half a pair is not filled up from a profile: that may be another stack.
    assert "OVERDRAFT_API_KEY" in run("entitlements", "list", code=NOT_ALLOWED)
    monkeypatch.delenv("OVERDRAFT_URL")
    assert "overdraft login" in run("entitlements", "list", code=NOT_ALLOWED)
    for key in ("key_SECRET\nX", "key_SECRET…"):
        monkeypatch.setenv("OVERDRAFT_API_KEY", key)
        monkeypatch.setenv("OVERDRAFT_URL", "https://x.example")
        assert "SECRET" not in run("entitlements", "list", code=WRITTEN_WRONGLY)


@pytest.mark.parametrize("since", ["99999999999d", "²d", "soon"])
def test_a_time_that_is_none(run: Run, api: CheckedApi, since: str) -> None:
    run("denials", Customer(api).id, "--from", since, code=REFUSED)


@pytest.mark.parametrize("odd", ["..", "."])
def test_an_id_names_no_other_path(run: Run, odd: str) -> None:
    run("entitlements", "show", odd, code=WRITTEN_WRONGLY)
    run("webhooks", "resend", odd, odd, code=WRITTEN_WRONGLY)


def test_usage_limits_that_are_not_named_stay(run: Run, api: CheckedApi) -> None:
    over = {"type": "absolute", "value": 7}
    limits = [
        {"key": "exports", "limit": 10, "resetSchedule": "never", "overdraftLimit": over},
        {"key": "images", "limit": 5},
    ]
    customer = Customer(api, usageLimits=limits)
    run("entitlements", "update", customer.id, "--usage", "exports=20", "--usage", "new=1+1")
    found = {each["key"]: each for each in api.expect(200, "GET", customer.path)["usageLimits"]}
    assert {key: each["limit"] for key, each in found.items()} == {
        "exports": 20,
        "images": 5,
        "new": 1,
    }
    assert (found["exports"]["resetSchedule"], found["exports"]["hardCap"]) == ("never", 27)
    body = json.dumps({"usageLimits": [{"key": "videos", "limit": 1}], "seatCount": 9})
    options = ("--file", "-", "--usage", "audio=2", "--json")
    changed = run("entitlements", "update", customer.id, *options, given=body)
    assert [each["key"] for each in changed["usageLimits"]] == ["videos", "audio"]


def test_a_list_says_that_there_is_more(run: Run, api: CheckedApi) -> None:
    customer = Customer(api)
    for name in ("a", "b"):
        customer.take(name)
    assert "There are more" in run("seats", "list", customer.id, "--limit", "1")
    assert "There are more" not in run("seats", "list", customer.id, "--limit", "2")
    # Ids are whole, however narrow the terminal is.
    assert customer.id in run("entitlements", "list", "--limit", "1")


def test_profiles(run: Run, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OVERDRAFT_URL", "OVERDRAFT_API_KEY"):
        monkeypatch.delenv(name)
    kept = keyring.get_keyring()
    try:
        memory = Keyring()
        keyring.set_keyring(memory)
        login = ("login", "--url", stack.api_url + "/")
        wrong = f"key_{'a' * 16}.{'b' * 43}\n"
        run(*login, given=wrong, code=NOT_ALLOWED)
        assert memory.stored == {}
        said = run(*login, given=f"{stack.bootstrap_key}\n")
        assert stack.bootstrap_key not in said
        assert stack.bootstrap_key not in (tmp_path / "profiles.json").read_text()
        assert isinstance(run("entitlements", "list", "--json"), list)
        run(*login, "--profile", "other", "--key-stdin", given=f"{stack.bootstrap_key}\n")
        assert run("profiles", "--json")["default"] == "other"
        assert "nope" in run("entitlements", "list", "--profile", "nope", code=NOT_ALLOWED)
        run("logout", "--profile", "other")
        assert list(memory.stored) == [("overdraft", "default")]
        assert isinstance(run("entitlements", "list", "--json"), list)
        memory.stored.clear()
        assert "the keyring has no key" in run("entitlements", "list", code=NOT_ALLOWED)
        for url in ("ftp://x", "http://localhost.evil.example", "http://10.0.0.1"):
            run("login", "--url", url, "--key-stdin", given="x\n", code=WRITTEN_WRONGLY)
        keyring.set_keyring(NoKeyring())
        refused = run(*login, given=f"{stack.bootstrap_key}\n", code=NOT_ALLOWED)
        assert "OVERDRAFT_API_KEY" in refused
        for text in ("{", "[]", '{"default": "a", "profiles": {"a": 5}}'):
            (tmp_path / "profiles.json").write_text(text)
            assert "log in again" in run("entitlements", "list", code=NOT_ALLOWED)
    finally:
        keyring.set_keyring(kept)


def test_what_others_wrote_cannot_steer_the_terminal(run: Run, api: CheckedApi) -> None:
    customer = Customer(api, metadata={"note": "[bold]\u202ex"})
    shown = run("entitlements", "show", customer.id)
    assert "[bold]" in shown
    assert "\u202e" not in shown


def test_every_command_has_help(run: Run) -> None:
    text = run("--help")
    for name in ("login", "entitlements", "seats", "denials", "why", "usage", "history", "report"):
        assert name in text
    assert "Exit codes" in text
    for command in (
        ["entitlements", "list"],
        ["why"],
        ["report", "create"],
        ["webhooks", "resend"],
    ):
        assert "--json" in run(*command, "--help")
