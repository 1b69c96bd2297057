"""Other values of constants."""

import sys

import pytest


def patch_constant(monkeypatch: pytest.MonkeyPatch, package: str, name: str, value: object) -> None:
    """Give a constant another value in every module of a package that has it, by import or its own."""
    entitlement_ids = [
        module
        for module_name, module in sys.modules.items()
        if module_name.startswith(f"{package}.") and hasattr(module, name)
    ]
    assert entitlement_ids, f"{package} has no {name}"
    for module in entitlement_ids:
        monkeypatch.setattr(module, name, value)
