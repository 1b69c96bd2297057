"""The client's stack in memory, as an integrator's test uses it."""

from datetime import timedelta

import overdraft
import pytest
from overdraft import Overdraft, Retry
from overdraft.testing import FakeStack


def test_a_client_uses_it(overdraft_stack: FakeStack) -> None:
    """As an integrator's test does."""
    stack = overdraft_stack
    key = stack.sell(1, overdraft=1, usage={"exports": 5})
    client = Overdraft(stack.url, key, transport=stack.transport, clock=stack.clock(), stores=False)
    with client.seat("alice") as seat:
        assert (seat.source, seat.is_overdraft) == ("server", False)
        assert seat._state.lease is not None
        assert client.take("bob").is_overdraft
        with pytest.raises(overdraft.Denied):
            client.take("carol")
        assert len(list(client.held_seats())) == 2
        stack.is_down = True
        stack.pass_time(timedelta(hours=7))
        seat.renew()
        assert seat.source == "server"
    assert client.entitlement is not None
    stack.is_down = False
    assert client.consume("exports", 5).usage.available == 0
    stack.revoke(key)
    with pytest.raises(overdraft.Unauthorized):
        client.entitlement()


def test_a_short_retry_is_enough(overdraft_stack: FakeStack) -> None:
    key = overdraft_stack.sell()
    overdraft_stack.is_down = True
    quick = Retry(attempts=2, base=0.001, longest=0.002)
    client = Overdraft(
        overdraft_stack.url, key, transport=overdraft_stack.transport, stores=False, retry=quick
    )
    with pytest.raises(overdraft.Unavailable):
        client.take("alice")
