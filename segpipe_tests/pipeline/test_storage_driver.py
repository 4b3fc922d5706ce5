"""A PostgreSQL driver that is not installed is told in plain words, at each door."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.errors import ConfigError
from segpipe.pipeline.storage_driver import check_storage_driver
from segpipe_tests.deals import make_deal

URL = "storage: {postgres: {postgres_url: 'SCHEME://somebody@127.0.0.1:1/dagster'}}\n"
ADVICE = "write postgresql+psycopg2:// in its place"


def call(home: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        cwd=home,
        env=os.environ | {"DAGSTER_HOME": str(home), "SEGPIPE_ROOT": str(home / "data")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text(URL.replace("SCHEME", "postgresql"))
    make_deal(tmp_path / "data", "lot")
    return tmp_path


def test_segpipe_run_says_what_to_write(home: Path) -> None:
    done = call(home, "-c", "from segpipe.cli.app import main; main()", "run", "lot")
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    assert ADVICE in said
    assert "Traceback" not in done.stderr


def test_a_code_server_says_it_when_it_loads_the_definitions(home: Path) -> None:
    done = call(home, "-c", "import segpipe.definitions")
    assert done.returncode != 0
    assert ADVICE in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("settings", "scheme"),
    [
        (URL.replace("SCHEME", "postgresql"), "postgresql"),
        ("storage: {postgres: {postgres_url: {env: TRIED_URL}}}", "postgresql"),
        (
            "storage: {postgres: {postgres_db: {username: u, db_name: d}}}",
            "postgresql",
        ),
        (
            "run_storage: {module: dagster_postgres.run_storage, class: PostgresRunStorage, "
            "config: {postgres_db: {scheme: postgresql+psycopg, username: u}}}",
            "postgresql+psycopg",
        ),
    ],
)
def test_wherever_the_scheme_stands(
    tmp_path: Path, settings: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIED_URL", "postgresql://u@h/d")
    (tmp_path / "dagster.yaml").write_text(settings)
    with pytest.raises(ConfigError, match="which is not installed") as told:
        check_storage_driver(tmp_path)
    assert told.value.message.startswith(f"{scheme}:// ")


@pytest.mark.parametrize(
    "settings",
    [
        URL.replace("SCHEME", "postgresql+psycopg2"),
        "storage: {sqlite: {base_dir: data}}",
        "storage: {postgres: {postgres_url: {env: NOT_SET_ANYWHERE}}}",
        "storage: [",
        "telemetry: {enabled: false}",
        "",
    ],
)
def test_what_can_work_is_left_alone(tmp_path: Path, settings: str) -> None:
    (tmp_path / "dagster.yaml").write_text(settings)
    check_storage_driver(tmp_path)
    check_storage_driver(tmp_path / "nowhere")
