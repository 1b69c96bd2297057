"""`make bootstrap-key`: the first key of a deployment, and the hash that it is given."""

import secrets

from shared.api.auth import BOOTSTRAP_ID, hash_key


def make_key() -> tuple[str, str]:
    """A new bootstrap key and its hash; nothing is stored."""
    key = f"{BOOTSTRAP_ID}.{secrets.token_urlsafe(32)}"
    return key, hash_key(key)


def main() -> None:
    """Print a new key."""
    key, key_hash = make_key()
    print(f"key, for your password manager:   {key}")
    print(f"BootstrapKeyHash, for the stack:  {key_hash}")


if __name__ == "__main__":
    main()
