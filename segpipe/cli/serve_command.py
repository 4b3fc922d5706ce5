"""The inference service from the command line."""

from typing import Annotated, Literal

import typer

from segpipe.errors import ConfigError

_EXTRA = "pip install 'segpipe[serve]'"


def serve(
    model: Annotated[
        Literal["classical", "sam3"],
        typer.Option(help="classical needs no weights; sam3 needs a checkpoint."),
    ] = "classical",
    checkpoint: Annotated[
        str | None,
        typer.Option(help="The weights of sam3: a folder, or repository@revision."),
    ] = None,
    refiner: Annotated[
        str,
        typer.Option(
            help="What refines masks for POST /v1/segment: none, grabcut, or by its kind one that "
            "needs a checkpoint, such as hq_sam. While it is not loaded, masks stay coarse."
        ),
    ] = "grabcut",
    refiner_checkpoint: Annotated[
        str | None,
        typer.Option(help="The weights of the refiner: a folder, or repository@revision."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Any but a loopback address needs a token in SEGPIPE_SERVER_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8000,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="An origin whose pages may call the service; may be repeated."),
    ] = None,
) -> None:
    """Serve a model to the backend 'internal' and to other clients, until stopped."""
    try:
        # Here alone: web frameworks and torch are slow to import, and no other command needs them.
        from segpipe.server.run import serve as serve_model  # noqa: PLC0415
        from segpipe.server.settings import ServerSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(f"the service needs {error.name}: {_EXTRA}") from error
    settings = ServerSettings(host=host, port=port, cors_origins=cors_origin or [])
    serve_model(
        model,
        checkpoint,
        settings,
        refiner=refiner,
        refiner_checkpoint=refiner_checkpoint,
    )
