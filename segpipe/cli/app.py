"""The commands by name. What a command needs is imported when it is called, not before."""

import importlib
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from segpipe.cli.completion import ALL, CompletedCommand
from segpipe.cli.console import never_fail_on_characters, told_errors

_COMPUTING = frozenset({"run", "try", "compare", "serve", "erase"})
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


class _Listed(NamedTuple):
    """Where a command is, what it does, an example, and how many words at first are deals."""

    module: str
    function: str
    help: str
    example: str
    deals: int = 0


COMMANDS = {
    "add": _Listed(
        "add_commands",
        "add",
        "Copy photos into a deal, whole or not at all.",
        "segpipe add spring-lot photos/*.jpg",
        deals=1,
    ),
    "samples": _Listed(
        "add_commands",
        "samples",
        "Add three deals of photos to try segpipe on.",
        "segpipe samples && segpipe run",
    ),
    "prompt": _Listed(
        "prompt_commands",
        "prompt",
        "Say what to look for in a photo, or in all of a deal; with no option, show it.",
        "segpipe prompt spring-lot a.jpg --text ring --box 10,20,300,280",
        deals=1,
    ),
    "prompts": _Listed(
        "prompt_commands",
        "prompts",
        "List what to look for in the photos of a deal, and check that it can be used.",
        "segpipe prompts spring-lot",
        deals=1,
    ),
    "import-prompts": _Listed(
        "prompt_commands",
        "import_prompts",
        "Take over boxes, or the boxes of outlines; all are checked before any is written.",
        "segpipe import-prompts spring-lot labels.json --format coco --mode inside_box",
        deals=1,
    ),
    "run": _Listed(
        "run_command",
        "run",
        "Put deals through every stage that is not up to date, in Dagster.",
        "segpipe run spring-lot --config recursive.yaml",
        deals=ALL,
    ),
    "list": _Listed(
        "show_command",
        "list_deals",
        "List all deals: what is current, what is out of date and why, what failed and why.",
        "segpipe list",
    ),
    "status": _Listed(
        "show_command",
        "status",
        "Tell how all deals stand, as 'list' does, and what waits or is under way in Dagster.",
        "segpipe status --json",
    ),
    "show": _Listed(
        "show_command",
        "show",
        "Show what is current for a deal, photo by photo, and why its last run failed if it did.",
        "segpipe show spring-lot",
        deals=1,
    ),
    "review": _Listed(
        "review_commands",
        "review",
        "Decide about items of a deal; with no option, show how they stand, photo by photo.",
        "segpipe review spring-lot --photo a --reject 3 --reason double --accept-all",
        deals=1,
    ),
    "reviews": _Listed(
        "review_commands",
        "reviews",
        "Tell how far the review of each deal is: how many items stand how.",
        "segpipe reviews --json",
        deals=ALL,
    ),
    "export": _Listed(
        "export_command",
        "export",
        "Export what is current for many deals as labels or cut-outs, whole or not at all.",
        "segpipe export --format coco --out goods.json",
    ),
    "erase": _Listed(
        "erase_command",
        "erase",
        "Take something out of a photo: ask for its mask, fill the hole, write a new picture.",
        "segpipe erase photo.jpg --points 410,260 --out clean.png",
    ),
    "remove": _Listed(
        "remove_command",
        "remove",
        "Remove a deal with its photos, prompts and results, after asking.",
        "segpipe remove spring-lot",
        deals=1,
    ),
    "verify": _Listed(
        "history_commands",
        "verify",
        "Compare every promoted file with the size and sha256 that were recorded for it.",
        "segpipe verify spring-lot",
        deals=1,
    ),
    "versions": _Listed(
        "history_commands",
        "versions",
        "List the kept generations of a deal, to roll back to.",
        "segpipe versions spring-lot",
        deals=1,
    ),
    "rollback": _Listed(
        "history_commands",
        "rollback",
        "Make an older generation of a deal current again, or an older version of one asset.",
        "segpipe rollback spring-lot 3",
        deals=1,
    ),
    "sweep": _Listed(
        "history_commands",
        "sweep",
        "Remove what killed runs left behind, and generations beyond the kept ones.",
        "segpipe sweep --dry-run",
    ),
    "costs": _Listed(
        "history_commands",
        "costs",
        "Show what paid calls have cost, run by run and deal by deal.",
        "segpipe costs spring-lot",
        deals=1,
    ),
    "compare": _Listed(
        "compare_command",
        "compare_sides",
        "Compare settings, or what deals had before and have now, on a sample of photos.",
        "segpipe compare --a saved --b new.yaml --sample 50",
        deals=ALL,
    ),
    "quality": _Listed(
        "quality_command",
        "quality",
        "Measure the deals that are new, and tell whether the last ones differ from those before.",
        "segpipe quality --json",
    ),
    "config": _Listed(
        "config_command",
        "config",
        "Write a file with every setting of a run and its default, for run --config.",
        "segpipe config --out run.yaml",
    ),
    "settings": _Listed(
        "settings_command",
        "settings",
        "Show the settings that runs use, save others, and bring earlier ones back.",
        "segpipe settings set crops.padding_px 4",
    ),
    "try": _Listed(
        "try_command",
        "try_settings",
        "Try settings on one photo, and draw what they find; nothing else is kept.",
        "segpipe try photos/a.jpg --settings try.yaml",
    ),
    "doctor": _Listed(
        "doctor_command",
        "doctor",
        "Check what segpipe works with, and say what to do about what does not work.",
        "segpipe doctor --config run.yaml",
    ),
    "studio": _Listed(
        "studio_command",
        "studio",
        "Open the web studio, with Dagster behind the same login, until stopped.",
        "segpipe studio --port 3000",
    ),
    "serve": _Listed(
        "serve_command",
        "serve",
        "Serve a model to the backend 'internal' and to other clients, until stopped.",
        "segpipe serve --model sam3 --checkpoint weights/sam3",
    ),
}
"""Every command, in the order in which help shows them."""

_CONTEXT = {"help_option_names": ["-h", "--help"]}


class _LazyCommand(TyperCommand):
    """Stands for a command in lists, and becomes it when it is called."""

    def __init__(self, name: str, listed: _Listed) -> None:
        super().__init__(name, help=listed.help)
        self._listed = listed

    def make_context(self, info_name: str | None, *args: Any, **extra: Any) -> Any:
        """A context of the real command; of one that completes words, for a shell."""
        if extra.get("resilient_parsing"):
            words = CompletedCommand(str(self.name), self._load, self._listed.deals)
            return words.make_context(info_name, *args, **extra)
        return self._load().make_context(info_name, *args, **extra)

    @property
    def params(self) -> Any:
        """The parameters of the real command, for those who look at them."""
        return self._load().params

    @params.setter
    def params(self, _: object) -> None:
        """Nothing: they are the real command's."""

    def _load(self) -> TyperCommand:
        listed = self._listed
        function = getattr(importlib.import_module(f"segpipe.cli.{listed.module}"), listed.function)
        alone = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, context_settings=_CONTEXT
        )
        text = "\n\n".join([listed.help, *_further_paragraphs(function)])
        alone.command(self.name, help=text, epilog=f"Example: {listed.example}")(_told(function))
        return cast("TyperCommand", get_command(alone))


class _LazyCommands(TyperGroup):
    """A group whose commands are imported one by one, when they are called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands.update({name: _LazyCommand(name, each) for name, each in COMMANDS.items()})
        self._completes_a_command = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; where a shell completes words of a command, no option of ours is among them."""
        is_command = bool(args) and not args[0].startswith("-")
        self._completes_a_command = ctx.resilient_parsing and is_command
        try:
            return super().parse_args(ctx, args)
        finally:
            self._completes_a_command = False

    def get_params(self, ctx: Any) -> Any:
        """Our options; none where they are not used, as typer imports pydantic to check them."""
        return [] if self._completes_a_command else super().get_params(ctx)


app = typer.Typer(
    name="segpipe",
    cls=_LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib import metadata  # noqa: PLC0415 - slow, and seldom wanted

        typer.echo(f"segpipe {metadata.version('segpipe')}")
        raise typer.Exit


@app.callback()
def segpipe(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Every item out of thousands of photos: deals in, verified crops out."""


def main() -> None:
    """The console script."""
    never_fail_on_characters()
    # To start the threads of a linear algebra that it does not do costs a short command more CPU
    # than a third of its work.
    if not _COMPUTING.intersection(sys.argv[1:2]):
        os.environ.setdefault(_BLAS_THREADS, "1")
    app()


def _told(function: Callable[..., None]) -> Callable[..., None]:
    """A command that ends with a line on stderr where it fails, not with a traceback."""

    @wraps(function)
    def command(**options: Any) -> None:
        with told_errors():
            function(**options)

    return command


def _further_paragraphs(function: Callable[..., None]) -> list[str]:
    """What a command's docstring says after its first sentence, which the list has."""
    return (function.__doc__ or "").split("\n\n")[1:]
