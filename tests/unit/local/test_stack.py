"""The adapters of the local stack, and the build."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local import run
from local.emulator import LocalError, check_port, free_port
from local.receiver import list_html, mail_html
from local.run import parse_port, write_details
from local.stream_mapping import StreamMapping, check_pattern, matches
from tools import ROOT, build


@pytest.mark.parametrize(
    ("pattern", "is_match"),
    [
        ({"a": {"b": ["x"]}}, True),
        ({"a": {"b": ["y", "x"]}}, True),
        ({"a": {"b": ["y"]}}, False),
        ({"a": {"b": [{"prefix": "x"}]}}, True),
        ({"a": {"b": [{"prefix": "xy"}]}}, False),
        ({"a": {"c": ["x"]}}, False),
        ({"a": {"b": ["x"]}, "d": [1]}, True),
        ({"a": {"b": ["x"]}, "d": [2]}, False),
    ],
)
def test_filter_patterns(pattern: dict[str, Any], is_match: bool) -> None:
    assert matches(pattern, {"a": {"b": "x"}, "d": 1}) is is_match


@pytest.mark.parametrize(
    "pattern", [{"a": [{"suffix": "x"}]}, {"b": ["y"], "a": {"c": [{"exists": True}]}}]
)
def test_an_unknown_comparison_is_refused_at_once(pattern: dict[str, Any]) -> None:
    with pytest.raises(LocalError, match="does not know the filter"):
        check_pattern(pattern)


class FakeStack:
    """Stands for the emulator's stream, function and queue: what the mapping sends is kept."""

    def __init__(self, records: int, fails: Any) -> None:
        self.records = [
            {"dynamodb": {"SequenceNumber": str(number), "Keys": {}}} for number in range(records)
        ]
        self.fails = fails
        self.batches: list[list[str]] = []
        self.given_up: list[dict[str, Any]] = []

    def client(self, _: str) -> Any:
        return self

    def describe_stream(self, **_: Any) -> Any:
        return {"StreamDescription": {"Shards": [{"ShardId": "s"}]}}

    def get_shard_iterator(self, **_: Any) -> Any:
        return {"ShardIterator": "start"}

    def get_records(self, **_: Any) -> Any:
        records, self.records = self.records, []
        return {"Records": records, "NextShardIterator": "next"}

    def invoke(self, FunctionName: str, Payload: bytes) -> Any:  # noqa: N803 - boto3's names
        batch = [r["dynamodb"]["SequenceNumber"] for r in json.loads(Payload)["Records"]]
        self.batches.append(batch)
        failed = next((number for number in batch if self.fails(number)), None)
        failures = [] if failed is None else [{"itemIdentifier": failed}]
        answer = json.dumps({"batchItemFailures": failures}).encode()

        class Body:
            def read(self) -> bytes:
                return answer

        return {"Payload": Body()}

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
        assert Bucket == "failures"
        self.given_up.append(json.loads(Body))


def pump_through(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.stream_mapping.RETRY_SECONDS", 0)
    monkeypatch.setattr("threading.Thread.start", lambda _: None)
    mapping = {
        "EventSourceArn": "arn:stream",
        "FunctionName": "f",
        "MaximumRetryAttempts": 3,
        "BisectBatchOnFunctionError": True,
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::failures"}},
    }
    StreamMapping(stack.client, mapping)._read_once()


def test_the_mapping_goes_on_from_the_record_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    failed_once = set()

    def fails(number: str) -> bool:
        if number == "2" and number not in failed_once:
            failed_once.add(number)
            return True
        return False

    stack = FakeStack(5, fails)
    pump_through(stack, monkeypatch)
    delivered = [number for batch in stack.batches[1:] for number in batch]
    assert stack.batches[0] == ["0", "1", "2", "3", "4"]
    assert delivered == ["2", "3", "4"]
    assert stack.given_up == []


def test_the_mapping_gives_a_poison_record_up_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = FakeStack(3, lambda number: number == "1")
    pump_through(stack, monkeypatch)
    [result] = stack.given_up
    assert result["DDBStreamBatchInfo"]["startSequenceNumber"] == "1"
    [record] = json.loads(result["payload"])["Records"]
    assert record["dynamodb"]["SequenceNumber"] == "1"
    assert any("2" in batch for batch in stack.batches[1:])


def test_a_taken_port_is_one_clear_sentence() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"Port {port} is taken; choose another one: make run"):
            check_port(port)
    check_port(free_port())


@pytest.mark.parametrize("text", ["", "abc", "0", "65536", "-1", "80.5", "٤"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(LocalError, match="not a port"):
        parse_port(text)


def test_keys_are_written_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "stack.json"
    write_details(file, {"apiKey": "k"})
    write_details(file, {"apiKey": "k2"})
    assert json.loads(file.read_text()) == {"apiKey": "k2"}
    for written in (file, run.environment_file(file)):
        assert written.stat().st_mode & 0o777 == 0o600


def test_one_line_defines_the_names_of_the_docs(tmp_path: Path) -> None:
    details = {"apiUrl": "http://x/$y", "apiKey": "a'b c", "licenseKey": "l", "entitlementId": "e"}
    write_details(tmp_path / "stack-9.json", details)
    shown = 'printf "%s\\n" "$API" "$ENTITLEMENT" "$LICENSE_KEY" "$API_KEY"'
    command = ["sh", "-c", f". {tmp_path}/env-9; {shown}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["http://x/$y", "e", "l", "a'b c"]


def test_a_mail_is_shown_with_its_headers_and_both_bodies() -> None:
    mail = {
        "Source": "Vendor <overdraft@example.com>",
        "To": ["owner@vendor.example"],
        "Subject": "<b>10 of 8</b>",
        "Timestamp": 1_764_239_400.5,
        "BodyHtml": "<p>ten</p><script>alert(1)</script>",
        "BodyText": "ten & more",
    }
    page = mail_html(mail)
    for text in (
        "Vendor &lt;overdraft@example.com&gt;",
        "owner@vendor.example",
        "&lt;b&gt;10 of 8&lt;/b&gt;",
        "2025-11-27 10:30:00 UTC",
        "<iframe sandbox",
        "&lt;p&gt;ten&lt;/p&gt;",
        "ten &amp; more",
    ):
        assert text in page
    assert "<script>" not in page
    assert "&lt;b&gt;10 of 8&lt;/b&gt;" in list_html([mail])
    assert "No e-mail yet" in list_html([])


def test_a_package_has_its_function_shared_and_bytecode(tmp_path: Path) -> None:
    folders = build.build_functions(tmp_path)
    build.compile_bytecode(folders)
    for function, folder in zip(build.FUNCTIONS, folders, strict=True):
        carried = {path.parent.name for path in folder.glob("functions/*/*.py")}
        assert carried == {function}
        sources = sorted(folder.rglob("*.py"))
        compiled = {path.name.split(".")[0] for path in folder.rglob("*.pyc")}
        assert {path.stem for path in sources} <= compiled
        assert not any("tests" in path.parts for path in sources)
    assert (tmp_path / "manage/openapi.json").read_text() == (ROOT / "openapi.json").read_text()


def test_a_second_stack_leaves_the_first_ones_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "stack.json"
    monkeypatch.setattr(run, "STACK_FILE", file)
    assert run.details_file(1, "http://127.0.0.1:1") == file
    write_details(file, {"apiUrl": "http://127.0.0.1:9/x", "emulatorUrl": "http://127.0.0.1:9"})
    monkeypatch.setattr(run, "is_running", lambda _: True)
    assert run.details_file(1, "http://127.0.0.1:1") == tmp_path / "stack-1.json"
    assert run.details_file(9, "http://127.0.0.1:9") == file, "left behind by one that was killed"
    monkeypatch.setattr(run, "is_running", lambda _: False)
    assert run.details_file(1, "http://127.0.0.1:1") == file
