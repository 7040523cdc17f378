"""The page of the Python API names what exists, and all of the public API of training."""

from __future__ import annotations

import importlib
import re

import nextchar_client
import nextchar_training
from tests.support.pages import ROOT

DOCUMENTED = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)


def exists(path: str) -> bool:
    module, _, name = path.rpartition(".")
    return hasattr(importlib.import_module(module), name)


def test_every_object_of_the_api_page_exists() -> None:
    assert DOCUMENTED
    assert not [path for path in DOCUMENTED if not exists(path)]


def test_the_api_page_has_every_public_name_of_training() -> None:
    assert set(nextchar_training.__all__) <= {path.rpartition(".")[2] for path in DOCUMENTED}


def test_the_api_page_has_every_public_name_of_the_client() -> None:
    named = {path.rpartition(".")[2] for path in DOCUMENTED}
    for path in DOCUMENTED:
        if path.startswith("nextchar_client") and path.rpartition(".")[2].islower():  # a whole module
            named |= set(vars(importlib.import_module(path)))
    assert set(nextchar_client.__all__) <= named
