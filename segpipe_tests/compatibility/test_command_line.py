"""The commands and their options, by name."""

from typing import Any

import click
import typer
from typer.testing import CliRunner

from segpipe.cli.app import app
from segpipe_tests.compatibility.doors import check_pin


def names(command: Any) -> dict[str, Any]:
    """The parameters of a command, or the commands of a group."""
    context = click.Context(command)
    told: dict[str, Any] = {
        "options": sorted(
            name
            for one in command.params
            if one.param_type_name == "option"
            for name in [*one.opts, *one.secondary_opts]
        ),
        "arguments": [one.name for one in command.params if one.param_type_name == "argument"],
    }
    if hasattr(command, "list_commands"):
        told["commands"] = {
            name: names(command.get_command(context, name))
            for name in sorted(command.list_commands(context))
        }
    return told


def test_commands_and_options_have_their_names() -> None:
    check_pin("command-line", names(typer.main.get_command(app)), may_grow=True)


def test_help_lists_every_command() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    for name in names(typer.main.get_command(app))["commands"]:
        assert f" {name} " in said
