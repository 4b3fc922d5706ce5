"""Only known variables are read for secrets, and their values go to known places alone."""

import pytest

from segpipe.errors import ConfigError
from segpipe.secret_names import (
    NAMES_VARIABLE,
    read_secret,
    require_secret_name,
    require_secret_origin,
)

SEGMIND = "https://api.segmind.com"


def send(name: str, url: str) -> None:
    require_secret_origin(name, url, default=SEGMIND, field="endpoint")


def test_names_are_those_of_segpipe_and_what_the_environment_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SEGMIND_API_KEY", "SEGPIPE_SERVER_TOKEN"):
        assert require_secret_name(name, field="api_key_env") == name
    with pytest.raises(ConfigError, match=NAMES_VARIABLE) as caught:
        require_secret_name("AWS_SECRET_ACCESS_KEY", field="api_key_env")
    assert caught.value.field == "api_key_env"

    monkeypatch.setenv(NAMES_VARIABLE, " MY_KEY , OTHER=https://gpu.example.org,")
    assert require_secret_name("MY_KEY", field="x") == "MY_KEY"
    assert require_secret_name("OTHER", field="x") == "OTHER"


def test_a_key_that_stands_for_a_name_is_not_repeated() -> None:
    for key in ("SG_0123456789abcdef", "sk-live-0123", "ALL_CAPITALS_LIKE_A_NAME"):
        with pytest.raises(ConfigError, match="replace that key") as caught:
            require_secret_name(key, field="api_key_env")
        assert key not in str(caught.value)


def test_values_go_to_their_origins_and_to_this_machine_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url in (
        SEGMIND,
        f"{SEGMIND}:443/v1",
        "http://127.0.0.1:8000",
        "http://[::1]:9",
        "http://localhost",
    ):
        send("SEGMIND_API_KEY", url)
    for url in ("https://evil.example.org", "https://api.segmind.com.evil.org", f"{SEGMIND}:8443"):
        with pytest.raises(
            ConfigError, match=f"{NAMES_VARIABLE} to SEGMIND_API_KEY=https"
        ) as caught:
            send("SEGMIND_API_KEY", url)
        assert caught.value.field == "endpoint"

    monkeypatch.setenv(NAMES_VARIABLE, "SEGMIND_API_KEY=https://proxy.example.org:8443,MY_KEY")
    send("SEGMIND_API_KEY", "https://proxy.example.org:8443/segmind")
    send("SEGMIND_API_KEY", SEGMIND)
    send("MY_KEY", SEGMIND)
    with pytest.raises(ConfigError):
        send("MY_KEY", "https://proxy.example.org:8443")


def test_a_secret_that_no_header_carries_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for value in ("two words", "clé", "a\nb"):
        monkeypatch.setenv("MY_TOKEN", value)
        with pytest.raises(ConfigError, match="token in the environment variable MY_TOKEN") as bad:
            read_secret("MY_TOKEN", what="token", field="token_env")
        assert bad.value.field == "token_env"
        assert value not in str(bad.value)
    for value, read in ((" abc ", "abc"), (" ", None)):
        monkeypatch.setenv("MY_TOKEN", value)
        assert read_secret("MY_TOKEN", what="token", field="token_env") == read
