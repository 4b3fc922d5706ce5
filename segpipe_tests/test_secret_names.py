"""Only known variables are read for secrets, and their values go to known places alone."""

import stat
from pathlib import Path

import pytest

from segpipe.errors import ConfigError
from segpipe.secret_file import FILE_VARIABLE
from segpipe.secret_names import (
    NAMES_VARIABLE,
    SecretPlace,
    enter_secret,
    place_of_secret,
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


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of what people enter; it is not there yet."""
    path = tmp_path / "home" / "segpipe" / "secrets.json"
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    return path


def read_key() -> str | None:
    return read_secret("SEGMIND_API_KEY", what="key", field="api_key_env")


def test_what_somebody_enters_is_kept_for_this_user_alone_and_the_environment_comes_before(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (read_key(), place_of_secret("SEGMIND_API_KEY")) == (None, None)
    enter_secret("SEGMIND_API_KEY", "sg-canary", data_root=tmp_path / "data")
    enter_secret("SEGPIPE_SERVER_TOKEN", "other", data_root=None)
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert stat.S_IMODE(secrets.parent.stat().st_mode) == 0o700
    assert (read_key(), place_of_secret("SEGMIND_API_KEY")) == ("sg-canary", SecretPlace.FILE)
    monkeypatch.setenv("SEGMIND_API_KEY", "sg-mine")
    assert (read_key(), place_of_secret("SEGMIND_API_KEY")) == (
        "sg-mine",
        SecretPlace.ENVIRONMENT,
    )
    names = {path.name for path in secrets.parent.iterdir()}
    assert names <= {"secrets.json", ".secrets.json.lock"}


def test_a_file_or_folder_that_others_can_read_is_refused(secrets: Path) -> None:
    enter_secret("SEGMIND_API_KEY", "sg-canary", data_root=None)
    for path, mode in ((secrets, 0o640), (secrets, 0o604), (secrets.parent, 0o755)):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        for work in (
            read_key,
            lambda: enter_secret("SEGMIND_API_KEY", "sg-other", data_root=None),
        ):
            with pytest.raises(ConfigError, match="others can read") as caught:
                work()
            assert "sg-" not in str(caught.value)
        path.chmod(before)
    assert read_key() == "sg-canary"


def test_what_is_no_secret_is_not_kept(secrets: Path) -> None:
    for name, value in (
        ("SEGMIND_API_KEY", "****"),
        ("SEGMIND_API_KEY", "two words"),
        ("SEGMIND_API_KEY", ""),
        ("PATH", "sg-canary"),
    ):
        with pytest.raises(ConfigError) as caught:
            enter_secret(name, value, data_root=None)
        assert "sg-canary" not in str(caught.value)
    with pytest.raises(ConfigError, match="outside of the data root"):
        enter_secret("SEGMIND_API_KEY", "sg-canary", data_root=secrets.parents[2])
    assert not secrets.exists()


def test_a_damaged_file_is_told_without_its_text(secrets: Path) -> None:
    enter_secret("SEGMIND_API_KEY", "sg-canary", data_root=None)
    for text in ('{"SEGMIND_API_KEY": "sg-can', '["sg-canary"]', '{"SEGMIND_API_KEY": 1}'):
        secrets.write_text(text)
        with pytest.raises(ConfigError, match="enter the keys anew") as caught:
            read_key()
        assert "sg-can" not in str(caught.value)
        assert caught.value.__cause__ is None
