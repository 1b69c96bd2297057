"""The console's page: what it names, and which hosts it may ask."""

import pytest

from functions.portal import console
from functions.portal.page import Look
from shared.openid import Provider, Unreachable
from tests.support.openid import CLIENT, provider

LOOK = Look({"PORTAL_VENDOR_NAME": '"><script>alert(1)</script>', "PORTAL_ACCENT_COLOR": "#123456"})


def policy(answer: object) -> str:
    headers: dict[str, str] = answer.headers  # type: ignore[attr-defined]
    assert headers["x-frame-options"] == "DENY"
    return headers["content-security-policy"]


def test_without_a_provider_the_page_asks_its_own_host_alone() -> None:
    answer = console._render(LOOK, None)
    assert policy(answer).endswith("connect-src 'self'")
    assert 'data-client=""' in answer.body
    assert "<script>alert" not in answer.body


def test_with_a_provider_it_may_ask_the_token_endpoint() -> None:
    with provider() as fake:
        known = Provider(fake.issuer, CLIENT)
        answer = console._render(LOOK, known)
        assert policy(answer).endswith(f"connect-src 'self' {fake.issuer}")
        for text in (f'data-token="{fake.issuer}/token"', f'data-client="{CLIENT}"'):
            assert text in answer.body
        # Read once, and known for an hour, whatever becomes of the provider.
        fake.is_down = True
        assert console._render(LOOK, known).body == answer.body
        assert fake.asked == ["/.well-known/openid-configuration"]


def test_a_provider_that_is_away_is_said_so() -> None:
    with provider() as fake:
        fake.is_down = True
        answer = console._render(LOOK, Provider(fake.issuer, CLIENT))
    assert 'data-issuer="unreachable"' in answer.body
    assert policy(answer).endswith("connect-src 'self'")


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://login.example.com/token", "https://login.example.com"),
        ("https://user@login.example.com:8443/token", "https://login.example.com:8443"),
        ("https://login.example.com; script-src *", ""),
        ("javascript:alert(1)", ""),
        ("", ""),
    ],
)
def test_an_address_cannot_change_the_policy(address: str, origin: str) -> None:
    assert console._origin(address) == origin


def test_an_address_where_nothing_listens_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        Provider("http://127.0.0.1:9", CLIENT).describe()
