"""The inference service from the command line."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from segpipe.errors import ConfigError

_EXTRA = "pip install 'segpipe[serve]'"


def serve(
    config: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file with all settings: server, segmenter, refiner, data_folder. The "
            "other options come before it.",
            dir_okay=False,
        ),
    ] = None,
    model: Annotated[
        Literal["classical", "sam3"] | None,
        typer.Option(help="classical (the default) needs no weights; sam3 needs a checkpoint."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help="The weights of sam3: a folder, or repository@revision."),
    ] = None,
    refiner: Annotated[
        str | None,
        typer.Option(
            help="What refines masks for POST /v1/segment: none, grabcut (the default), or by its "
            "kind one with weights, such as hq_sam. While it is not loaded, masks stay coarse."
        ),
    ] = None,
    refiner_checkpoint: Annotated[
        str | None,
        typer.Option(help="The weights of the refiner: a folder, or repository@revision."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="127.0.0.1 by default. Any but a loopback address needs a token in "
            "SEGPIPE_SERVER_TOKEN."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="8000 by default.")] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="An origin whose pages may call the service; may be repeated."),
    ] = None,
) -> None:
    """Serve a model to the backend 'internal' and to other clients, until stopped."""
    try:
        # Here alone: web frameworks and torch are slow to import, and no other command needs them.
        from segpipe.server import serve_config  # noqa: PLC0415
        from segpipe.server.run import serve as serve_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"the service needs {error.name}: {_EXTRA}") from error
    settings = serve_config.read_serve_config(config) if config else serve_config.ServeConfig()
    serve_model(
        serve_config.with_options(
            settings,
            model=model,
            checkpoint=checkpoint,
            refiner=refiner,
            refiner_checkpoint=refiner_checkpoint,
            host=host,
            port=port,
            cors_origins=cors_origin or None,
        )
    )
