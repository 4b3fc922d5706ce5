"""The studio from the command line."""

from typing import Annotated, Literal

import typer

from segpipe.cli.console import say
from segpipe.cli.options import ROOT, Root
from segpipe.errors import ConfigError

_EXTRA = "pip install 'segpipe[studio]'"


def studio(
    root: Root = ROOT,
    host: Annotated[
        str,
        typer.Option(
            help="Any but a loopback address needs a login: a token in SEGPIPE_STUDIO_TOKEN, or a "
            "proxy."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 3000,
    login: Annotated[
        Literal["off", "token", "proxy"] | None,
        typer.Option(help="By default token where one is set, else off."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="A name by which browsers reach it; may be repeated."),
    ] = None,
    proxy_address: Annotated[
        list[str] | None,
        typer.Option(help="Where the trusted proxy is; this machine by default."),
    ] = None,
    proxy_header: Annotated[
        str, typer.Option(help="The header in which the proxy names the person.")
    ] = "X-Forwarded-User",
    no_daemon: Annotated[
        bool, typer.Option("--no-daemon", help="Dagster's daemon runs elsewhere.")
    ] = False,
    dagster_url: Annotated[
        str | None, typer.Option(help="Dagster's webserver, where it runs elsewhere.")
    ] = None,
) -> None:
    """Open the web studio, with Dagster behind the same login, until stopped."""
    try:
        from segpipe.studio.run_studio import run_studio  # noqa: PLC0415
        from segpipe.studio.studio_settings import LoginKind, StudioSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"the studio needs {error.name}: {_EXTRA}") from error
    settings = StudioSettings(
        root=root,
        host=host,
        port=port,
        login=LoginKind(login) if login else None,
        allowed_hosts=tuple(allowed_host or ()),
        proxy_header=proxy_header,
        daemon=not no_daemon,
        dagster_url=dagster_url,
        **({"proxy_addresses": tuple(proxy_address)} if proxy_address else {}),
    )
    run_studio(settings, lambda address: say(f"segpipe studio: {address}"))
