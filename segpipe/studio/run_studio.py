"""The studio as a process."""

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn

from segpipe.studio.studio_app import create_studio_app
from segpipe.studio.studio_settings import StudioSettings
from segpipe.studio.studio_state import Studio
from segpipe.web.connections import MAX_HEAD_BYTES, protocol_within

_KEEPALIVE_S = 30
_REFUSED_WEBSOCKET = "ASGI callable returned without completing handshake."


class StudioServer(uvicorn.Server):
    """A server that says where it is once it answers.

    Args:
        config: How it serves.
        studio: What it serves.
        tell: Is told the address.
    """

    def __init__(self, config: uvicorn.Config, studio: Studio, tell: Callable[[str], None]) -> None:
        super().__init__(config)
        self._studio = studio
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell the address."""
        await super().startup(sockets)
        if self.started:
            self._tell(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: whoever listens for what runs do is let go first, as they would stay for ever."""
        await self._studio.runs.close()
        await super().shutdown(sockets)

    @property
    def address(self) -> str:
        """Where people find it."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def build_studio_server(
    settings: StudioSettings, tell: Callable[[str], None] = lambda _: None
) -> StudioServer:
    """The server of a studio, ready to run.

    Args:
        settings: Those of the studio.
        tell: Is told the address once it answers.

    Raises:
        ConfigError: A setting cannot work.
    """
    app = create_studio_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        timeout_keep_alive=_KEEPALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
        server_header=False,
        proxy_headers=False,
        access_log=False,
        log_config=None,
        lifespan="on",
        http=protocol_within(settings.connection_limits),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    return StudioServer(config, app.state.studio, tell)


def _is_no_refused_websocket(record: logging.LogRecord) -> bool:
    """Uvicorn (0.54) takes a websocket that was refused with a status for a fault of the app."""
    return record.getMessage() != _REFUSED_WEBSOCKET


def run_studio(settings: StudioSettings, tell: Callable[[str], None]) -> None:
    """Run the studio until the process is told to stop (SIGINT, SIGTERM).

    Args:
        settings: Those of the studio.
        tell: Is told the address once it answers.

    Raises:
        ConfigError: A setting cannot work.
        SystemExit: The address is taken.
    """
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn.error").addFilter(_is_no_refused_websocket)
    asyncio.run(build_studio_server(settings, tell).serve())
