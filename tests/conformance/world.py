"""A machine whose programs use a client, as scenarios say: each is a process of its own."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.conformance.proxy import FAULTS, Proxy
from tests.conformance.stacks import DRIVERS, SALE, Stack, seconds
from tests.support.sampling import SOAK_ROUND
from tools import ROOT

SCENARIOS: dict[str, dict[str, Any]] = {
    scenario["name"]: scenario
    for path in sorted(DRIVERS.glob("scenarios/*.json"))
    for scenario in json.loads(path.read_text())
}
PROGRAMS = {
    "python": [sys.executable, str(DRIVERS / "python_client.py")],
    "typescript": ["node", str(DRIVERS / "typescript_client.mjs")],
}
END_SECONDS = 60.0


class Program:
    """A process that uses a client."""

    def __init__(self, client: str) -> None:
        paths = [str(ROOT / "clients/python/src"), str(ROOT)]
        self._process = subprocess.Popen(
            PROGRAMS[client],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def do(self, ms: int, given: dict[str, Any]) -> Any:
        """Have it do something; what came of that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**given, "time": ms}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process ended: {self._process.wait()}"
        return json.loads(line)["result"]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self) -> int:
        """Let it end; its exit code."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return self._process.wait(END_SECONDS)

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        return self._process.wait(END_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


class World:
    """A stack, a network, and a machine with programs."""

    def __init__(self, scenario: Mapping[str, Any], client: str, stack: Stack, state: Path) -> None:
        self.scenario, self.client, self.stack, self.state = scenario, client, stack, state
        self.proxy = Proxy(stack)
        self.key = stack.sell({**SALE, **scenario.get("sell", {})})
        self.error_ms = seconds(scenario.get("clock", "PT0S")) * 1000
        self.chance = random.Random(SOAK_ROUND)
        self.known: dict[str, Any] = {}
        self.programs: list[Program] = []
        self.program = self.start()

    def start(self) -> Program:
        """Another program with the same state."""
        program = Program(self.client)
        self.programs.append(program)
        opened = self.scenario.get("client", {})
        given = {"do": "open", "url": self.proxy.url, "licenseKey": self.key, **opened}
        program.do(self.machine_ms, {**given, "state": str(self.state)})
        return program

    @property
    def machine_ms(self) -> int:
        """What the machine's clock says."""
        return self.stack.ms + self.error_ms

    def run(self, steps: list[dict[str, Any]], number: int = 0) -> None:
        """Do all steps of a scenario; `#` in a name is the number of a repetition."""
        for step in steps:
            if "repeat" in step:
                for repetition in range(step["repeat"]):
                    self.run(step["steps"], repetition)
            elif "do" in step:
                self._do(step, number)
            else:
                [(name, value)] = step.items()
                getattr(self, f"_{name}")(value)

    def _do(self, step: dict[str, Any], number: int) -> None:
        given = {
            name: self._filled(value, number)
            for name, value in step.items()
            if name not in ("expect", "as")
        }
        result = self.program.do(self.machine_ms, given)
        if "as" in step:
            self.known[step["as"]] = result
        if "expect" in step:
            expected = step["expect"]
            shown = result
            if isinstance(expected, dict) and isinstance(result, dict):
                shown = {name: result.get(name) for name in expected}
            assert shown == expected, (step, result, self.proxy.seen[-6:])
        elif isinstance(result, dict):
            assert "error" not in result, (step, result)

    def _filled(self, value: Any, number: int) -> Any:
        if not isinstance(value, str):
            return value
        return self.known[value[1:]] if value.startswith("$") else value.replace("#", str(number))

    # --- What happens to the program ------------------------------------------------------------

    def _crash(self, _: bool) -> None:
        self.program.kill()

    def _end(self, code: int) -> None:
        assert self.program.finish() == code

    def _terminate(self, _: bool) -> None:
        self.program.signal(signal.SIGTERM)

    def _ended(self, name: str) -> None:
        assert self.program.ended() == -signal.Signals[name]

    def _restart(self, _: bool) -> None:
        self.program.kill()
        self.program = self.start()

    def _second(self, _: bool) -> None:
        self.program = self.start()

    def _first(self, _: bool) -> None:
        self.program = self.programs[0]

    def _clock(self, period: str) -> None:
        self.error_ms += seconds(period) * 1000

    # --- What happens to the network and the stack ----------------------------------------------

    def _pass(self, period: str) -> None:
        self.stack.ms += seconds(period) * 1000

    def _network(self, state: str) -> None:
        self.proxy.is_down = {"up": False, "down": True}[state]

    def _faults(self, faults: list[str]) -> None:
        self.proxy.faults = list(faults)

    def _randomFaults(self, count: int) -> None:  # noqa: N802 - as scenarios have it
        quick = [fault for fault in FAULTS if fault != "hung"]
        self.proxy.faults = self.chance.choices(quick, k=self.chance.randrange(count + 1))

    def _hold(self, _: bool) -> None:
        self.proxy.holds = True

    def _held(self, _: bool) -> None:
        assert self.proxy.held.wait(END_SECONDS)

    def _letGo(self, _: bool) -> None:  # noqa: N802 - as scenarios have it
        self.proxy.let_go.set()

    def _status(self, status: str) -> None:
        self.stack.set_status(status)

    def _revoke(self, _: bool) -> None:
        self.stack.revoke()

    def _others(self, seat_ids: list[str]) -> None:
        """Other people take seats."""
        for seat_id in seat_ids:
            given = {"do": "take", "seat": seat_id}
            assert "error" not in self.program.do(self.machine_ms, given)

    def _stack(self, expected: dict[str, Any]) -> None:
        counts = self.stack.counts()
        shown = {name: counts[name] for name in expected}
        assert shown == expected, self.proxy.seen[-6:]

    def close(self) -> None:
        """End everything."""
        for program in self.programs:
            program.kill()
        self.proxy.close()
        self.stack.close()


@contextlib.contextmanager
def world_of(
    scenario: Mapping[str, Any], client: str, stack: Stack, state: Path
) -> Iterator[World]:
    """The world of a scenario, which ends with it."""
    world = World(scenario, client, stack, state)
    try:
        yield world
    finally:
        world.close()
