"""The key that tests look for everywhere it must not be."""

import pytest

KEY = "canary-0123456789abcdef"


@pytest.fixture(autouse=True)
def _key_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
