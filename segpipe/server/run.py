"""The service as a process."""

import asyncio
import logging
import socket
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from segpipe.inpainters.build_inpainter import build_inpainter
from segpipe.refiners.build_refiner import build_refiner
from segpipe.refiners.refiner import NoneConfig, Refiner
from segpipe.segmenters.build_segmenter import build_segmenter
from segpipe.segmenters.local_data import LocalData
from segpipe.server.inpaint_endpoint import Filling
from segpipe.server.serve_config import ServeConfig
from segpipe.server.server_settings import ServerSettings
from segpipe.server.service import ModelLoader, Service
from segpipe.server.service_app import create_app
from segpipe.web.connections import MAX_HEAD_BYTES, protocol_within
from segpipe.web.log_limit import LimitRepeats
from segpipe.web.photo_uploads import give_large_blocks_back

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
    load_model: ModelLoader,
    settings: ServerSettings,
    refiner: Refiner | None = None,
    filling: Filling | None = None,
) -> ModelServer:
    """The server of a model, perhaps a refiner, and what fills holes, ready to run.

    Raises:
        ConfigError: The address can be reached from elsewhere, and no token is set.
    """
    return ModelServer(
        uvicorn.Config(
            create_app(load_model, settings, refiner, filling),
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


def serve(config: ServeConfig) -> None:
    """Serve a model until the process is told to stop (SIGINT, SIGTERM).

    Args:
        config: What is served, and how. Weights are loaded once the port answers.

    Raises:
        ConfigError: The address can be reached from elsewhere, and no token is set; or a setting
            of the segmenter cannot work.
        SystemExit: The address is taken.
    """
    settings = config.server_settings
    give_large_blocks_back()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(LimitRepeats(settings.log_lines_per_minute))
    segmenter = build_segmenter(
        config.segmenter, LocalData(Path(config.data_folder)), threads=settings.in_model
    )
    refiner = None if isinstance(config.refiner, NoneConfig) else build_refiner(config.refiner)
    filling = Filling(build_inpainter(config.inpainter), config.erase)
    server = build_server(lambda: segmenter, settings, refiner, filling)
    asyncio.run(server.serve())
