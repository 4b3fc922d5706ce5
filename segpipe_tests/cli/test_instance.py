"""The Dagster instance of a data root, which several commands may open at once."""

import subprocess
import sys
from pathlib import Path

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
