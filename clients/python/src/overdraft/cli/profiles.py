"""Profiles: the address of a stack in a file, its API key in the system's keyring."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import keyring
import keyring.errors
import platformdirs

SERVICE = "overdraft"


class ProfileError(Exception):
    """The command cannot begin; the message says what to do."""


class Profile(NamedTuple):
    """Where a stack is, and with which key."""

    name: str
    url: str
    api_key: str


def folder() -> Path:
    """Where profiles are: `OVERDRAFT_CONFIG`, or the user's folder of settings."""
    given = os.environ.get("OVERDRAFT_CONFIG")
    return (
        Path(given) if given else Path(platformdirs.user_config_dir("overdraft", appauthor=False))
    )


def is_safe(url: str) -> bool:
    """Whether a key may be sent there: by https, or to this machine."""
    parts = urlsplit(url)
    is_here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    return parts.scheme == "https" or is_here


def _file() -> Path:
    return folder() / "profiles.json"


def stored() -> dict[str, Any]:
    """The profiles: `{"default": name, "profiles": {name: {"url": …}}}`.

    Raises:
        ProfileError: the file cannot be read.
    """
    try:
        found = json.loads(_file().read_text("utf-8"))
        known = {str(name): {"url": each["url"]} for name, each in found["profiles"].items()}
        if not all(isinstance(each["url"], str) for each in known.values()):
            raise TypeError("an address is no text")
        default = found["default"] if found["default"] in known else None
        return {"default": default, "profiles": known}
    except FileNotFoundError:
        return {"default": None, "profiles": {}}
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise ProfileError(
            f"{_file()} cannot be read ({error}): correct or remove it, and log in again"
        ) from None


def _write(profiles: dict[str, Any]) -> None:
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = _file().with_suffix(".new")
    temporary.write_text(json.dumps(profiles, indent=2) + "\n", "utf-8")
    temporary.replace(_file())


def add(name: str, url: str, api_key: str) -> None:
    """Store a profile, and make it the default.

    Raises:
        ProfileError: this system has no keyring.
    """
    with _keyring():
        keyring.set_password(SERVICE, name, api_key)
    profiles = stored()
    profiles["profiles"][name] = {"url": url}
    _write({**profiles, "default": name})


def remove(name: str) -> None:
    """Forget a profile and its key.

    Raises:
        ProfileError: there is none of this name.
    """
    profiles = stored()
    if profiles["profiles"].pop(name, None) is None:
        raise ProfileError(f"there is no profile {name}")
    with _keyring(), contextlib.suppress(keyring.errors.PasswordDeleteError):
        keyring.delete_password(SERVICE, name)
    if profiles["default"] == name:
        profiles["default"] = next(iter(profiles["profiles"]), None)
    _write(profiles)


def chosen(name: str | None) -> Profile:
    """The profile to use: by name, by the environment, or the default one.

    Raises:
        ProfileError: there is none, or its key is gone.
    """
    url, api_key = os.environ.get("OVERDRAFT_URL"), os.environ.get("OVERDRAFT_API_KEY")
    name = name or os.environ.get("OVERDRAFT_PROFILE")
    if name is None and (url or api_key):
        if not (url and api_key):
            missing = "OVERDRAFT_API_KEY" if url else "OVERDRAFT_URL"
            raise ProfileError(f"{missing} is not set: an address and a key go together")
        if not is_safe(url):
            raise ProfileError("OVERDRAFT_URL: an address begins with https://")
        return Profile("environment", url, api_key)
    profiles = stored()
    name = name or profiles["default"]
    if name is None:
        raise ProfileError(
            "log in first: overdraft login (or set OVERDRAFT_URL and OVERDRAFT_API_KEY)"
        )
    if name not in profiles["profiles"]:
        known = ", ".join(sorted(profiles["profiles"])) or "none"
        raise ProfileError(f"there is no profile {name} (there are: {known}): overdraft login")
    with _keyring():
        found = keyring.get_password(SERVICE, name)
    if not found:
        raise ProfileError(f"the keyring has no key of {name}: overdraft login --profile {name}")
    return Profile(name, profiles["profiles"][name]["url"], found)


@contextlib.contextmanager
def _keyring() -> Iterator[None]:
    try:
        yield
    except (keyring.errors.InitError, keyring.errors.NoKeyringError) as error:
        raise ProfileError(
            "this system has no keyring to store a key in: set OVERDRAFT_URL and OVERDRAFT_API_KEY"
        ) from error
    except keyring.errors.KeyringError as error:
        raise ProfileError(f"the keyring failed: {error}") from error
