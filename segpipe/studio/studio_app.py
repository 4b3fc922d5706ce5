"""The studio as one ASGI app: what every request passes, and the routes of pages and API."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from segpipe.studio.api import (
    deals_api,
    pictures_api,
    preview_api,
    prompts_api,
    reviews_api,
    runs_api,
    settings_api,
    trial_api,
)
from segpipe.studio.api_description import describe_api
from segpipe.studio.dagster_gateway import PATH as DAGSTER_PATH
from segpipe.studio.dagster_gateway import ShowDagster
from segpipe.studio.login import RequireLogin
from segpipe.studio.page_problems import add_page_problems
from segpipe.studio.page_templates import NavigationEntry, static_url
from segpipe.studio.pages import (
    annotate_page,
    costs_page,
    deal_page,
    deals_page,
    export_page,
    login_page,
    process_page,
    quality_page,
    review_page,
    runs_page,
    settings_page,
    test_page,
    upload_form,
)
from segpipe.studio.photo_intake import UploadPlaces
from segpipe.studio.request_checks import (
    AddSecurityHeaders,
    LimitBodies,
    RequireKnownHost,
    RequireOwnOrigin,
)
from segpipe.studio.roles import Role
from segpipe.studio.studio_settings import StudioSettings
from segpipe.studio.studio_state import Studio, build_studio
from segpipe.web.bounded_requests import Bounds

API_SCHEMA = "/api/openapi.json"
_MAX_BODY_BYTES = 1_000_000
_FOREVER = "public, max-age=31536000, immutable"

PAGES = (
    login_page,
    deals_page,
    deal_page,
    annotate_page,
    test_page,
    process_page,
    review_page,
    runs_page,
    costs_page,
    quality_page,
    settings_page,
    upload_form,
    export_page,
)
"""The modules of pages. Each has a ``router``; and ``NAVIGATION`` where the rail leads to it."""
API = (
    deals_api,
    pictures_api,
    preview_api,
    prompts_api,
    reviews_api,
    runs_api,
    settings_api,
    trial_api,
)
"""The modules of the API, in the same way."""
BODY_LIMITS: tuple[tuple[str, int], ...] = (
    (f"{DAGSTER_PATH}/.*", 20_000_000),
    (trial_api.PATH, trial_api.MAX_BODY_BYTES),
    (reviews_api.PATH, reviews_api.MAX_BODY_BYTES),
    (runs_api.PATH, runs_api.MAX_BODY_BYTES),
)
"""Paths (patterns of the whole path) that take larger bodies than the rest, and how large."""


class KeptFiles(StaticFiles):
    """Files that a digest in their address tells apart: browsers may keep them for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file."""
        response = await super().get_response(path, scope)
        if scope["query_string"]:
            response.headers["Cache-Control"] = _FOREVER
        return response


def create_studio_app(settings: StudioSettings) -> FastAPI:
    """Build the studio.

    Args:
        settings: Where the deals are, who may come in, and bounds.

    Raises:
        ConfigError: A setting cannot work: see :class:`StudioSettings`.
    """
    hosts = settings.hosts
    studio = build_studio(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(studio.dagster.running())
            await stack.enter_async_context(studio.deals.kept_warm())
            stack.push_async_callback(studio.preview.aclose)
            await stack.enter_async_context(studio.requests.ready())
            yield

    app = FastAPI(
        title="segpipe studio",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=API_SCHEMA,
    )
    app.state.studio = studio
    app.state.bounds = Bounds(
        UploadPlaces().admit, settings.upload_timeout_s, settings.request_timeout_s
    )
    add_page_problems(app, studio.pages)
    _add_routes(app, studio)
    describe_api(app)

    # The last added is the outermost: headers, host, origin, login, size, Dagster.
    app.add_middleware(ShowDagster, gateway=studio.dagster)
    app.add_middleware(
        LimitBodies,
        max_bytes=_MAX_BODY_BYTES,
        of_paths=(*BODY_LIMITS, *_upload_limits(settings)),
    )
    app.add_middleware(RequireLogin, login=studio.login, ask=login_page.ask_to_log_in(studio))
    app.add_middleware(RequireOwnOrigin)
    app.add_middleware(RequireKnownHost, hosts=hosts)
    app.add_middleware(AddSecurityHeaders)
    return app


def _upload_limits(settings: StudioSettings) -> tuple[tuple[str, int], ...]:
    return (
        (r"/api/deals/[^/]+/photos/[^/]+", settings.max_upload_bytes),
        ("/photos", settings.max_form_bytes),
    )


def _add_routes(app: FastAPI, studio: Studio) -> None:
    plain = APIRouter(include_in_schema=False)

    @plain.get("/")
    def start(request: Request) -> RedirectResponse:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/deals{query}")

    @plain.get("/favicon.ico")
    def icon() -> RedirectResponse:
        return RedirectResponse(static_url("icon.svg"))

    @plain.get("/health")
    def health() -> PlainTextResponse:
        return PlainTextResponse("ok")

    app.include_router(plain)
    for module in (*PAGES, *API):
        app.include_router(module.router)
        studio.pages.navigation += getattr(module, "NAVIGATION", ())
    if studio.dagster.has_pages:
        entry = NavigationEntry("Dagster", DAGSTER_PATH, "dagster", role=Role.ADMIN)
        studio.pages.navigation.append(entry)
    folder = str(resources.files("segpipe.studio").joinpath("static"))
    app.mount("/static", KeptFiles(directory=folder), name="static")
