"""The service's endpoints."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, FastAPI, Form, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Json

from segpipe.detection import Candidate, SegmentationResult
from segpipe.refiners.refiner import Refiner
from segpipe.segmenters.segmenter import Segmenter
from segpipe.server import inpaint_endpoint, outline_endpoint
from segpipe.server.inpaint_endpoint import Filling
from segpipe.server.metrics import CountRequests, Metrics
from segpipe.server.openapi import RETRY_AFTER, describe, problems, readings
from segpipe.server.photo_forms import (
    LABELS,
    POINTS,
    Labels,
    Photo,
    Places,
    PngResponse,
    read_upload,
)
from segpipe.server.prompt_requests import require_few, require_something, to_points, to_prompt
from segpipe.server.server_settings import ServerSettings
from segpipe.server.service import ModelLoader, Service
from segpipe.vision.image import RgbImage
from segpipe.vision.mask_codecs import to_base64, to_png
from segpipe.web.bounded_requests import Bounds, FormRoute
from segpipe.web.guards import LimitBody, RequireToken
from segpipe.web.problems import UNAUTHORIZED, UNAVAILABLE, add_problem_handlers
from segpipe.wire.inference import (
    Encoding,
    Health,
    Readings,
    Segments,
    WirePrompt,
    WireSize,
    encode_mask,
)
from segpipe.wire.wire_prompts import thresholds_of

_HEALTH, _MASK, _SEGMENT, _METRICS = "/health", "/predict/mask", "/segment", "/metrics"
_OPEN_PATHS = frozenset({_HEALTH})
_PATHS = frozenset(
    {_HEALTH, _MASK, _SEGMENT, _METRICS, outline_endpoint.PATH, inpaint_endpoint.PATH}
)

_MULTIMASK = "Answer with three readings of the points, ranked by score."
_PROMPT = "What to look for, as JSON."


class PrometheusResponse(Response):
    """Counters in Prometheus' text format."""

    media_type = CONTENT_TYPE_LATEST


def create_app(
    load: ModelLoader,
    settings: ServerSettings | None = None,
    refiner: Refiner | None = None,
    filling: Filling | None = None,
) -> FastAPI:
    """Build the service around a model.

    The model is loaded in the background once the app starts, so the port answers at once:
    readiness is ``GET /health``. Then the refiner is; the service answers without it.

    Args:
        load: Gives the model; called once, in a worker thread.
        settings: Address, bounds and guards.
        refiner: The refiner; it loads what it needs when it is first asked.
        filling: What fills holes for ``POST /v1/inpaint``; None is OpenCV.

    Raises:
        ConfigError: The address can be reached from elsewhere, and no token is set; or no header
            can carry the token.
    """
    settings = settings or ServerSettings()
    token = settings.read_token()
    metrics = Metrics()
    service = Service(load, settings, metrics, refiner)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.aclose()

    app = FastAPI(
        title="segpipe inference",
        description="One segmentation model for many pipelines.",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.bounds = Bounds(
        service.admitted, settings.upload_timeout_s, settings.request_timeout_s
    )
    add_problem_handlers(app)
    _add_endpoints(app, service, metrics, settings)
    app.include_router(outline_endpoint.build_router(service, settings, metrics))
    app.include_router(inpaint_endpoint.build_router(service, settings, filling or Filling()))
    describe(app, needs_token=token is not None, open_paths=_OPEN_PATHS)

    # The last added is the outermost: counted, then CORS, then the token, then the size.
    app.add_middleware(LimitBody, max_bytes=settings.max_upload_bytes)
    if token:
        app.add_middleware(RequireToken, token=token, open_paths=_OPEN_PATHS)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
    app.add_middleware(CountRequests, metrics=metrics, paths=_PATHS)
    return app


def _add_endpoints(
    app: FastAPI, service: Service, metrics: Metrics, settings: ServerSettings
) -> None:
    @app.get(
        _HEALTH,
        operation_id="health",
        summary="Whether the model is loaded",
        responses={
            UNAVAILABLE: {
                "model": Health,
                "description": "There is no model (yet)",
                "headers": RETRY_AFTER,
            }
        },
    )
    async def health(response: Response) -> Health:
        answer = service.health
        if not answer.model_loaded:
            response.status_code = UNAVAILABLE
            response.headers["Retry-After"] = str(service.retry_after_s)
        return answer

    @app.get(
        _METRICS,
        operation_id="metrics",
        summary="Counters for Prometheus",
        response_class=PrometheusResponse,
        responses=problems(UNAUTHORIZED),
    )
    async def show_metrics() -> PrometheusResponse:
        return PrometheusResponse(generate_latest(metrics.registry))

    models = APIRouter(route_class=FormRoute)

    @models.post(
        _MASK,
        operation_id="predict_mask",
        summary="The mask of what points mean",
        response_class=PngResponse,
        responses={
            200: {
                "description": "The best mask as PNG; with multimask the three readings as JSON",
                "content": readings(),
            },
            **problems(),
        },
    )
    async def predict_mask(
        request: Request,
        image: Photo,
        points: Annotated[Json[Places], Form(description=POINTS)],
        labels: Annotated[Json[Labels], Form(description=LABELS, validate_default=True)] = "[1]",  # type: ignore[assignment]
        multimask: Annotated[bool, Form(description=_MULTIMASK)] = False,
    ) -> Response:
        require_few(len(points), settings.max_points)
        given = labels if "labels" in await request.form() else None

        async def candidates(model: Segmenter, photo: RgbImage) -> tuple[Candidate, ...]:
            return await model.candidates(photo, to_points(points, given, photo))

        found = await service.ask(partial(read_upload, image), candidates)
        if multimask:
            ranked = await asyncio.to_thread(_to_readings, found, service.name)
            return JSONResponse(ranked.model_dump())
        return PngResponse(await asyncio.to_thread(to_png, found[0].mask))

    @models.post(
        _SEGMENT,
        operation_id="segment",
        summary="Everything that a prompt means",
        responses=problems(),
    )
    async def segment(
        image: Photo, prompt: Annotated[Json[WirePrompt], Form(description=_PROMPT)]
    ) -> Segments:
        require_few(len(prompt.points), settings.max_points)

        async def find(model: Segmenter, photo: RgbImage) -> SegmentationResult:
            asked = to_prompt(prompt, photo)
            require_something(asked, model, everything=settings.everything)
            return await model.segment(photo, asked, thresholds_of(prompt))

        result = await service.ask(partial(read_upload, image), find)
        return await asyncio.to_thread(_to_segments, result, prompt.encoding, service.name)

    app.include_router(models)


def _to_readings(candidates: tuple[Candidate, ...], model: str) -> Readings:
    mask = candidates[0].mask
    return Readings(
        image=WireSize(width=mask.image_width, height=mask.image_height),
        scores=[float(candidate.score) for candidate in candidates],
        masks=[to_base64(candidate.mask) for candidate in candidates],
        model=model,
    )


def _to_segments(result: SegmentationResult, encoding: Encoding, model: str) -> Segments:
    found = [one for one in result.detections if one.trace_of is None]  # a trace is no item
    return Segments(
        image=WireSize(width=result.image_width, height=result.image_height),
        boxes=[list(map(float, one.box)) for one in found],
        scores=[float(one.score) for one in found],
        labels=[one.label for one in found],
        masks=[encode_mask(one.mask, encoding) if one.mask else None for one in found],
        model=model,
        elapsed_ms=result.elapsed_ms,
    )
