"""What the models share: how an operation is driven, and how long a machine is run."""

import itertools
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from shared.dynamodb.client import DynamoDBClient
from shared.dynamodb.requests import Pause
from tests.support.sampling import IS_SOAK

SOAK_EXAMPLES = 3


class Lost(Exception):
    """Stands for a process that ended."""


def drive(
    dynamodb: DynamoDBClient,
    operation: Any,
    now: Callable[[], int],
    lose: int | None = None,
    crash: int | None = None,
) -> Any:
    """Drive an operation at a time (Unix seconds). At request `lose` the first answer is lost and
    the client repeats it; after request `crash` the process is gone."""
    reply: Any = None
    numbers = itertools.count()
    while True:
        try:
            request = operation.send(reply)
        except StopIteration as stop:
            return stop.value
        if isinstance(request, Pause):
            reply = now() * 1000
            continue
        number = next(numbers)
        if number == lose:
            dynamodb.execute(request)
        reply = dynamodb.execute(request)
        if number == crash:
            operation.close()
            raise Lost


def run_machine(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run a model; EXAMPLES= gives other and more examples, SHRINK=1 looks for a smaller one."""
    usual = examples * SOAK_EXAMPLES if IS_SOAK else examples
    run = settings(
        max_examples=int(os.environ.get("EXAMPLES", usual)),
        stateful_step_count=steps,
        deadline=None,
        derandomize="EXAMPLES" not in os.environ and not IS_SOAK,
        # A shrunk example is worth minutes only to somebody who looks at it.
        phases=[Phase.generate, *([Phase.shrink] if "SHRINK" in os.environ else [])],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(machine, settings=run)
