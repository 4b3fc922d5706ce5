"""The Dagster instance of a data root, which several commands may open at once."""

import platform
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
import yaml

from segpipe.cli.instance import open_instance, packaged_settings
from segpipe.cli.lease import COMMAND_LINE, HOST_TAG, LEASE_TAG, STARTED_BY_TAG
from segpipe.pipeline.defs import build_defs
from segpipe_tests.cli.conftest import Cli
from segpipe_tests.cli.terminals import PROGRAM, environment
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.goods import goods_photo

PATIENCE_S = 60.0
REPOSITORY = Path(__file__).parents[2]
COMMANDS = 4
OPEN = """
import sys
from pathlib import Path
from segpipe.cli.instance import add_partitions, open_instance
sys.stdin.read(1)
with open_instance(sys.argv[1]) as instance:
    add_partitions(instance, [sys.argv[2]])
"""


def test_commands_that_start_at_once_on_a_new_root_share_one_instance(tmp_path: Path) -> None:
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path), f"lot-{number}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(COMMANDS)
    ]
    for command in commands:
        assert command.stdin
        command.stdin.write(b"!")
        command.stdin.flush()
    said = [command.communicate()[1].decode() for command in commands]
    assert [(command.returncode, text) for command, text in zip(commands, said, strict=True)] == [
        (0, "")
    ] * COMMANDS


def test_the_command_lines_own_instance_has_the_projects_pools_retries_and_monitoring(
    cli: Cli, root: Path, photos: list[Path]
) -> None:
    cli("add", "lot", *map(str, photos))
    with open_instance(root) as instance:
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 2
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
    own = yaml.safe_load((root / "dagster" / "dagster.yaml").read_text())
    checkout = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())
    assert {name: checkout[name] for name in own} == own == packaged_settings()
    assert set(checkout) - set(own) == {"storage", "local_artifact_storage", "compute_logs"}


def test_a_database_that_cannot_be_used_is_told_in_plain_words(
    cli: Cli, root: Path, photos: list[Path]
) -> None:
    cli("add", "lot", *map(str, photos))
    database = root / "dagster" / "history" / "runs.db"
    for breaks in (partial(database.write_bytes, b"no database" * 1000), database.mkdir):
        database.unlink(missing_ok=True)
        breaks()
        result = cli("run")
        assert result.exit_code == 1
        assert f"Dagster's database in {root / 'dagster'} cannot be used" in result.stderr
        for raw in ("Traceback", "sqlalche.me", "SELECT", "PRAGMA"):
            assert raw not in result.output


def test_a_disk_that_is_full_under_the_database_is_told_in_plain_words(root: Path) -> None:
    make_deal(root, "lot")
    # The kernel refuses every byte behind the limit of a file, as a full disk does.
    full = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (32_768, 32_768))\n"
    done = subprocess.run(
        [sys.executable, "-c", full + PROGRAM[-1], "run", "lot"],
        env=environment(root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"Dagster's database in {root / 'dagster'} cannot be used" in done.stderr
    assert "free space" in done.stderr
    for raw in ("Traceback", "sqlalche.me", "SELECT", "PRAGMA"):
        assert raw not in done.stdout + done.stderr


def test_a_file_in_the_place_of_dagsters_folder_is_told_with_its_path(
    cli: Cli, root: Path, photos: list[Path]
) -> None:
    root.mkdir()
    (root / "dagster").write_text("no folder")
    result = cli("add", "lot", *map(str, photos))
    assert result.exit_code == 1
    assert str(root / "dagster") in result.stderr
    assert "Errno" not in result.stderr


@pytest.fixture
def many_photos(root: Path) -> None:
    """A deal that keeps a run busy for some seconds."""
    photo = goods_photo(3)
    put_photos(root, "lot", {f"{number:03}.png": photo for number in range(400)})


def start(root: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """A ``segpipe run`` that has begun with its deal."""
    process = subprocess.Popen(
        [*PROGRAM, "run", *arguments],
        env=environment(root),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + PATIENCE_S
    while not list((root / "deals").glob("*/runs/*")):
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return process


def statuses(root: Path) -> list[dg.DagsterRunStatus]:
    with dg.DagsterInstance.from_config(str(root / "dagster")) as instance:
        return [run.status for run in instance.get_runs()]


@pytest.mark.usefixtures("many_photos")
def test_a_killed_run_is_marked_failed_by_the_next_command_and_a_living_one_is_not(
    cli: Cli, root: Path, photos: list[Path]
) -> None:
    process = start(root)
    assert statuses(root) == [dg.DagsterRunStatus.STARTED]
    beside = cli("add", "other", str(photos[0]))
    assert beside.exit_code == 0
    assert "was killed" not in beside.stderr
    assert process.poll() is None, "the run must still live"
    assert statuses(root) == [dg.DagsterRunStatus.STARTED]

    process.kill()
    process.wait()
    assert statuses(root) == [dg.DagsterRunStatus.STARTED]
    after = cli("add", "other", str(photos[1]))
    assert "was killed; it is marked failed now" in after.stderr
    assert statuses(root) == [dg.DagsterRunStatus.FAILURE]
    assert list((root / "dagster" / "leases").iterdir()) == []
    assert "was killed" not in cli("add", "other", str(photos[1])).stderr


@pytest.mark.usefixtures("many_photos")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_or_a_closed_terminal_ends_a_run_amid_a_deal(
    root: Path, number: signal.Signals
) -> None:
    process = start(root)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 130
    assert not list((root / "deals").glob("*/commits/*/*"))
    (status,) = statuses(root)
    assert status in {dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
    assert list((root / "dagster" / "leases").iterdir()) == []


def test_runs_of_other_machines_are_left_alone(root: Path) -> None:
    make_deal(root, "lot", (1,))
    job = build_defs().resolve_job_def("find_all_everything")
    with open_instance(root) as instance:
        tags = {STARTED_BY_TAG: COMMAND_LINE, LEASE_TAG: str(root / "dagster/leases/x.lock")}
        for host in ("another", platform.node()):
            instance.create_run_for_job(
                job, status=dg.DagsterRunStatus.STARTED, tags={**tags, HOST_TAG: host}
            )
    with open_instance(root) as instance:
        found = {run.tags[HOST_TAG]: run.status for run in instance.get_runs()}
    assert found == {
        "another": dg.DagsterRunStatus.STARTED,
        platform.node(): dg.DagsterRunStatus.FAILURE,
    }
