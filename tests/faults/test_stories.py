"""Stories amid faults (see `tests/soak`): a few of those that `make soak` plays by the thousand."""

from pathlib import Path

import pytest

from functions.deliver import deliveries
from tests.soak import search, story
from tests.soak.play import Outcome
from tests.support.sampling import IS_SOAK, SOAK_ROUND

COUNT = 60 if IS_SOAK else 16
SEEDS = [f"{max(SOAK_ROUND, 0)}.{number}" for number in range(COUNT)]
KEPT = sorted(search.STORIES.glob("*.json"))


def test_no_story_ends_badly() -> None:
    total = Outcome.none()
    for seed in SEEDS:
        found = search.play_seed(seed)
        assert not found.violation, f"seed {seed}: {found.violation}"
        total = total.plus(found.outcome)
    # So that this says something: each kind of fault was met, and each kind of answer given.
    assert total.faulted > 50 * COUNT
    assert min(total.met[fault] for fault in ("lost", "crash after", "conflict", "partial")) > 0
    for name in ("takeSeat 201", "takeSeat 200", "takeSeat 409", "releaseSeat 204"):
        assert total.answers[name] > COUNT, name
    for name in ("consumeUsage 200", "consumeUsage 409", "updateEntitlement 200"):
        assert total.answers[name] > COUNT // 2, name


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.stem))
def test_what_was_found_once_is_not_found_again(path: Path) -> None:
    found = search.play_story(search.read(path))
    assert not found.violation, found.violation


def test_a_story_is_played_the_same_way_again() -> None:
    one = story.make("again", 60)
    first, second = search.play_story(one), search.play_story(story.Story.of(one.to_json()))
    assert not first.violation
    assert first.outcome == second.outcome


def test_a_slip_is_found_and_its_story_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here: a webhook that failed is not sent again."""
    monkeypatch.setattr(deliveries, "next_wait", lambda *_: None)
    bad = next(
        one
        for one in (story.make(f"slip-{number}", 40) for number in range(100))
        if search.play_story(one).violation
    )
    small = search.small(bad, lambda each: bool(search.play_story(each).violation))
    assert len(small.steps) < len(bad.steps) / 2
    assert "the endpoint did not get" in search.play_story(small).violation
    monkeypatch.undo()
    assert not search.play_story(small).violation
