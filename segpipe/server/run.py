"""The service as a process."""

import asyncio
import logging
import socket
from functools import partial

import uvicorn
from fastapi import FastAPI

from segpipe.refiners.refiner import Refiner
from segpipe.server.app import create_app
from segpipe.server.models import ModelName, load
from segpipe.server.refiners import build
from segpipe.server.service import ModelLoader, Service
from segpipe.server.settings import ServerSettings
from segpipe.web.connections import MAX_HEAD_BYTES, protocol_within
from segpipe.web.log_limit import LimitRepeats

_KEEPALIVE_S = 30  # longer than clients keep an idle connection, so that they are the ones to close
_BACKLOG = 128


class ModelServer(uvicorn.Server):
    """A server that says so when it is going down, while it finishes what is under way."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new requests on open connections, and let the others finish within the limit."""
        app = self.config.app
        if isinstance(app, FastAPI):
            service: Service = app.state.service
            service.stop()
        await super().shutdown(sockets)


def build_server(
    load_model: ModelLoader, settings: ServerSettings, refiner: Refiner | None = None
) -> ModelServer:
    """The server of a model and perhaps a refiner, ready to run.

    Raises:
        ConfigError: The address can be reached from elsewhere, and no token is set.
    """
    return ModelServer(
        uvicorn.Config(
            create_app(load_model, settings, refiner),
            host=settings.host,
            port=settings.port,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEPALIVE_S,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
            server_header=False,
            access_log=False,
            log_config=None,
            lifespan="on",
            http=protocol_within(settings.connection_limits),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
    )


def serve(
    model: ModelName,
    checkpoint: str | None = None,
    settings: ServerSettings | None = None,
    *,
    refiner: str = "grabcut",
    refiner_checkpoint: str | None = None,
) -> None:
    """Serve a model until the process is told to stop (SIGINT, SIGTERM).

    Args:
        model: ``classical`` or ``sam3``.
        checkpoint: The weights of ``sam3``: a folder, or a repository with its revision, as in
            ``facebook/sam3@<commit>``.
        settings: Address, bounds and guards.
        refiner: The kind of the refiner for ``POST /v1/segment``.
        refiner_checkpoint: Its weights, where it has any, given as those of ``sam3`` are.

    Raises:
        ConfigError: The address can be reached from elsewhere, and no token is set; or there is
            no such refiner.
        SystemExit: The address is taken.
    """
    settings = settings or ServerSettings()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(LimitRepeats(settings.log_lines_per_minute))
    load_model = partial(load, model, checkpoint, threads=settings.in_model)
    server = build_server(load_model, settings, build(refiner, refiner_checkpoint))
    asyncio.run(server.serve())
