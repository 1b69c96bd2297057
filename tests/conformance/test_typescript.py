"""The TypeScript client where it differs: journals without file locks, and what ends a process."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.events.types import TYPES
from tests.conformance.stacks import PythonStack
from tests.conformance.world import PROGRAMS, Program, World
from tests.support.sampling import IS_SOAK
from tests.unit.clients.test_webhooks import OTHER, SECRET, sample, signed
from tools import build

SCENARIO: dict[str, Any] = {
    "sell": {"usage": {"exports": 10_000}},
    "client": {"meters": ["exports"], "races": True},
}
MODULE = build.TYPESCRIPT / "dist/esm/index.js"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A machine on which programs with meters run."""
    found = World(SCENARIO, "typescript", PythonStack(), tmp_path)
    yield found
    found.close()


def leave(world: World, *quantities: int) -> None:
    """Processes that are killed before they have sent what they added."""
    world.proxy.is_down = True
    for quantity in quantities:
        program = world.start()
        program.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": quantity})
        program.do(world.machine_ms, {"do": "save", "of": "exports"})
        program.kill()
    world.proxy.is_down = False


def flush(world: World, program: Program) -> Any:
    return program.do(world.machine_ms, {"do": "flush", "of": "exports"})


def add_offline(world: World, program: Program, *quantities: int) -> None:
    """The first is under way from then on; what is added later waits."""
    for quantity in quantities:
        program.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": quantity})
        assert flush(world, program) is False


def used(world: World) -> int:
    return int(world.stack.counts()["used"].get("exports", 0))


@pytest.mark.parametrize("_", range(20 if IS_SOAK else 3))
def test_processes_that_start_together_count_what_was_left_once(world: World, _: int) -> None:
    leave(world, 1, 2, 4, 8)
    programs = [world.start() for _ in range(5)]
    with ThreadPoolExecutor(len(programs)) as pool:
        assert all(pool.map(lambda program: flush(world, program), programs))
    assert used(world) == 15
    assert flush(world, world.start())
    assert used(world) == 15


def test_a_crash_while_a_journal_is_taken_over_counts_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(world, 7)
    hook = str(Path(__file__).with_name("crash_in_unlink.mjs"))
    with monkeypatch.context() as crashing:
        command = PROGRAMS["typescript"]
        crashing.setitem(PROGRAMS, "typescript", [command[0], "--import", hook, *command[1:]])
        program = world.start()
        program.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": 10})
        with pytest.raises(AssertionError, match="the process ended"):
            flush(world, program)
    assert used(world) == 0
    for _ in range(2):
        assert flush(world, world.start())
        assert used(world) == 17


HOOK = """
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
const kept = fs.promises.NAME;
let calls = 0;
fs.promises.NAME = async (path, ...more) => {
  if (String(path).includes(PART) && ++calls <= TIMES) {
    throw Object.assign(new Error("it failed"), { code: "EMFILE" });
  }
  return kept(path, ...more);
};
syncBuiltinESMExports();
"""


@pytest.mark.parametrize(
    ("name", "part", "times"),
    [
        ("readFile", ".journal-", 1),
        ("readFile", ".journal-", 3),
        ("readFile", ".claimed-", 1),
        ("unlink", ".claimed-", 9),
        ("rename", ".journal-", 1),
        ("rename", ".claimed-", 1),
        ("open", ".journal-", 1),
        ("open", ".journal-", 3),
        ("readdir", "", 2),
    ],
)
def test_a_file_system_that_fails_loses_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, part: str, times: int
) -> None:
    """What others have left is counted once, by this process or by the next."""
    leave(world, 1, 2, 4)
    hook = world.state / "hook.mjs"
    text = HOOK.replace("NAME", name).replace("PART", json.dumps(part)).replace("TIMES", str(times))
    hook.write_text(text)
    with monkeypatch.context() as failing:
        command = PROGRAMS["typescript"]
        failing.setitem(PROGRAMS, "typescript", [command[0], "--import", str(hook), *command[1:]])
        first = world.start()
    flush(world, first)
    first.kill()
    for _ in range(2):
        assert flush(world, world.start())
    assert used(world) == 7


def test_requests_that_were_under_way_are_sent_one_after_the_other(world: World) -> None:
    world.proxy.is_down = True
    for quantity in (1, 2, 4):
        program = world.start()
        program.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": quantity})
        assert flush(world, program) is False
        program.kill()
    world.proxy.is_down = False
    assert flush(world, world.start())
    assert used(world) == 7


def test_a_folder_that_was_removed_takes_no_usage_with_it(world: World) -> None:
    world.proxy.is_down = True
    program = world.start()
    add_offline(world, program, 5, 7)
    world.proxy.is_down = False
    shutil.rmtree(world.state)
    assert flush(world, program)
    assert used(world) == 12


def test_a_process_that_only_sleeps_keeps_its_journal(world: World) -> None:
    """In a container with numbers of its own, another one cannot see it, and asks its socket."""
    world.proxy.is_down = True
    sleeper = world.start()
    sleeper.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": 5})
    assert flush(world, sleeper) is False
    world.proxy.is_down = False
    command = PROGRAMS["typescript"]
    isolated = ["unshare", "--pid", "--fork", "--mount-proc", *command]
    if subprocess.run([*isolated[:4], "true"], capture_output=True, check=False).returncode:
        isolated = command  # not as root: by another number of the process at least
    PROGRAMS["typescript"] = isolated
    try:
        other = world.start()
    finally:
        PROGRAMS["typescript"] = command
    assert flush(world, other)
    assert used(world) == 0
    assert flush(world, sleeper)
    assert used(world) == 5


def test_a_journal_that_was_taken_is_left_to_whoever_took_it(world: World) -> None:
    """As a process on another machine does with one that slept for days."""
    world.proxy.is_down = True
    sleeper = world.start()
    add_offline(world, sleeper, 5, 10)
    sleeper.do(world.machine_ms, {"do": "save", "of": "exports"})
    # It has written that it is another one, and long ago.
    [path] = [
        each
        for each in world.state.glob("*.journal-*.json")
        if "limits" in each.read_text() and json.loads(each.read_text())["state"]["limits"]
    ]
    program = (
        "const fs = require('fs'), crypto = require('crypto');"
        f"const path = {json.dumps(str(path))};"
        "const kept = JSON.parse(fs.readFileSync(path));"
        "kept.state.owner = { machine: 'x', host: 'y', process: 1, socket: null, seenAt: 0 };"
        "kept.sum = crypto.createHash('sha256').update(JSON.stringify(kept.state)).digest('hex');"
        "fs.writeFileSync(path, JSON.stringify(kept));"
    )
    subprocess.run(["node", "-e", program], check=True)
    world.proxy.is_down = False
    assert flush(world, world.start())
    assert used(world) == 15
    sleeper.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": 3})
    assert flush(world, sleeper)
    assert used(world) == 18


def test_a_folder_that_cannot_be_written_keeps_no_usage_back(world: World, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    world.state = file / "x"
    program = world.start()
    program.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": 3})
    assert flush(world, program)
    program.do(world.machine_ms, {"do": "add", "of": "exports", "quantity": 4})
    program.do(world.machine_ms, {"do": "close"})
    assert used(world) == 7


def run(world: World, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of an integrator."""
    head = (
        f'import {{ Overdraft, Vendor, Unavailable }} from "{MODULE}";\n'
        f"const url = {json.dumps(world.proxy.url)}, licenseKey = {json.dumps(world.key)};\n"
        f"const state = {json.dumps(str(world.state))};\n"
    )
    return subprocess.run(
        ["node", "--input-type=module", "-e", head + source],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "log", ["() => { throw new Error('x'); }", "async () => { throw new Error('x'); }"]
)
@pytest.mark.parametrize("given", ["async () => { throw new Error('x'); }", "() => { throw 1; }"])
def test_an_integrator_s_defects_end_no_process(world: World, log: str, given: str) -> None:
    done = run(
        world,
        f"""
        const client = new Overdraft(url, {{ licenseKey, state, log: {log} }});
        const seat = await client.seat("alice", {{ onChange: {given} }});
        const meter = client.meter("exports", {{ onRefused: {given} }});
        meter.add(20_000);
        console.log(await meter.flush(), meter.aside.length);
        await new Promise((resolve) => setTimeout(resolve, 50));
        await meter.forgetAside();
        console.log(meter.aside.length, seat.isValid);
        """,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["true", "1", "0", "true"]), done.stderr


def test_what_is_no_key_and_no_address_is_not_repeated(world: World) -> None:
    done = run(
        world,
        """
        const tries = [
          () => new Overdraft(url, { licenseKey: "lic_SECRET\\n" }),
          () => new Overdraft(url, { licenseKey: null }),
          () => new Overdraft("https://u:SECRET@x.example", { licenseKey }),
          () => new Overdraft("nowhere", { licenseKey }),
          () => new Vendor(url, { apiKey: "key_SECRET…" }),
        ];
        for (const each of tries) {
          try { each(); console.log("made"); } catch (error) { console.log(error.name, error.message); }
        }
        """,
    )
    assert "SECRET" not in done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["TypeError"] * 5


def test_an_id_names_no_other_path(world: World) -> None:
    before = len(world.proxy.seen)
    done = run(
        world,
        """
        const client = new Overdraft(url, { apiKey: "key_x", entitlementId: "ent_x", state: false });
        const vendor = new Vendor(url, { apiKey: "key_x" });
        const path = { entitlementId: "ent_x", keyId: ".." };
        const tries = [
          () => client.release(".."),
          () => client.consume("."),
          () => vendor.call("DELETE /v1/entitlements/{entitlementId}/license-keys/{keyId}", { path }),
          () => vendor.call("GET /v1/entitlements/{entitlementId}", { path: {} }),
        ];
        for (const each of tries) {
          await each().then(() => console.log("sent"), (error) => console.log(error.name));
        }
        """,
    )
    assert done.stdout.split() == ["RangeError"] * 4, done.stderr
    assert len(world.proxy.seen) == before


def test_a_user_without_a_home_stores_nothing(world: World) -> None:
    source = """
        const client = new Overdraft(url, { licenseKey, log: () => undefined });
        console.log((await client.seat("alice")).source);
        await client.close();
    """
    head = 'import os from "node:os"; import { syncBuiltinESMExports } from "node:module";'
    homeless = 'os.homedir = () => { throw new Error("ENOENT"); }; syncBuiltinESMExports();'
    hook = world.state / "homeless.mjs"
    hook.write_text(head + homeless)
    done = run(world, source, NODE_OPTIONS=f"--import {hook}", XDG_STATE_HOME="")
    assert done.stdout.strip() == "server", done.stderr


def test_on_refused_may_flush(world: World) -> None:
    done = run(
        world,
        """
        const client = new Overdraft(url, { licenseKey, state, log: () => undefined });
        const meter = client.meter("exports", { onRefused: async () => { await meter.flush(); } });
        meter.add(20_000);
        console.log(await meter.flush());
        await client.close();
        """,
    )
    assert done.stdout.strip() == "true", done.stderr


def test_webhooks_are_read_and_nothing_else(tmp_path: Path) -> None:
    """What the functions sign, and what others make of it."""
    cases: list[dict[str, Any]] = []
    for kind in TYPES:
        body, headers = signed(sample(kind))
        cases.append({"body": body, "headers": headers, "expect": kind})
    body, headers = signed(sample(TYPES[0]))
    wrong: tuple[tuple[str, dict[str, str]], ...] = (
        (body, signed(sample(TYPES[0]), OTHER)[1]),
        (body.replace("Test customer", "Best customer"), headers),
        (body, {**headers, "webhook-id": "evt_2"}),
        (body, {**headers, "webhook-signature": "v1"}),
        (body, {}),
        signed(sample(TYPES[0]), age=360),
        signed(sample(TYPES[0]), age=-360),
    )
    cases += [
        {"body": given, "headers": sent, "expect": "InvalidSignature"} for given, sent in wrong
    ]
    for event in ({}, {"id": "x"}, [1], "text", None):
        body, headers = signed(event)
        cases.append({"body": body, "headers": headers, "expect": "TypeError"})
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    program = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ parse }} from "{MODULE.with_name("webhooks.js")}";
        for (const {{ body, headers, expect }} of JSON.parse(readFileSync("{path}"))) {{
          for (const given of [headers, new Headers(headers)]) {{
            const found = await parse(body, given, "{SECRET}").then((e) => e.type, (e) => e.name);
            if (found !== expect) console.log(expect, found);
          }}
        }}
        await parse("{{}}", {{}}, "").catch((error) => console.log(error.name));
    """
    command = ["node", "--input-type=module", "-e", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["Error"], done.stderr  # a secret that is none is no signature
    assert len(cases) > 30


def test_a_process_that_is_stopped_keeps_no_other_alive(world: World) -> None:
    """It is asked whether it still runs, and does not answer."""
    stopped = world.start()
    stopped.do(world.machine_ms, {"do": "save", "of": "exports"})  # its journal is open by then
    stopped.signal(signal.SIGSTOP)
    done = run(
        world,
        """
        const client = new Overdraft(url, { licenseKey, state });
        client.meter("exports").add(3);
        """,
    )
    stopped.signal(signal.SIGCONT)
    assert (done.returncode, used(world)) == (0, 3), done.stderr
