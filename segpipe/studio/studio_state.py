"""What the studio's routes work with: one of each, for as long as it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from segpipe.cli.options import local_folder
from segpipe.segmenters.kept_data import KeptData
from segpipe.store.shared_data import kept_data
from segpipe.store.store import DealStore
from segpipe.studio.audit_log import AuditLog
from segpipe.studio.costs import CostsOfDeals
from segpipe.studio.current_settings import settings_banner
from segpipe.studio.dagster_gateway import DagsterGateway
from segpipe.studio.deal_list import DealList
from segpipe.studio.deal_status import StatusReader
from segpipe.studio.login import Login
from segpipe.studio.page_templates import Banner, Pages
from segpipe.studio.photo_facts import PhotoFacts
from segpipe.studio.photo_preview import PhotoPreview
from segpipe.studio.photo_reviews import PhotoReviews
from segpipe.studio.pictures import Pictures
from segpipe.studio.review_leases import ReviewLeases
from segpipe.studio.run_requests import RunRequests
from segpipe.studio.run_watch import RunWatch
from segpipe.studio.studio_settings import StudioSettings
from segpipe.studio.trials import Trials

_FOLDER = "studio"


@dataclass(frozen=True, slots=True)
class Studio:
    """The parts of a running studio.

    Attributes:
        settings: How it was started.
        store: The deals.
        login: Who may come in.
        pages: Draws pages.
        audit: Where changes are noted.
        pictures: Makes pictures of photos and cut-outs.
        photos: Reads facts of photos.
        preview: Asks the segmenter about photos of deals.
        reviews: Reads the items of photos as reviewers see them.
        leases: Who looks at which items at the moment.
        status: How deals stand.
        deals: The list of all deals.
        costs: What each deal has cost.
        dagster: Dagster's instance, pages and processes.
        trials: Tries settings on one photo.
        requests: Starts and ends runs.
        runs: What runs there are, and how far they are.
        data: Where runs keep answers and accounts.
        folder: For what the studio keeps on this machine.
    """

    settings: StudioSettings
    store: DealStore
    login: Login
    pages: Pages
    audit: AuditLog
    pictures: Pictures
    photos: PhotoFacts
    preview: PhotoPreview
    reviews: PhotoReviews
    leases: ReviewLeases
    status: StatusReader
    deals: DealList
    costs: CostsOfDeals
    dagster: DagsterGateway
    trials: Trials
    requests: RunRequests
    runs: RunWatch
    data: KeptData
    folder: Path


def build_studio(settings: StudioSettings) -> Studio:
    """The parts, as settings say.

    Raises:
        ConfigError: A setting cannot work.
    """
    store = DealStore(settings.root)
    data = kept_data(store.root)
    login = Login(settings)
    folder = local_folder(settings.root) / _FOLDER
    status = StatusReader(store)
    deals = DealList(status)
    pages = Pages(login.kind)
    dagster = DagsterGateway(settings, folder, pages)
    requests = RunRequests(store, dagster)
    pages.banners += [
        lambda: settings_banner(store),
        lambda: _told(dagster.fault()),
        lambda: _told(requests.fault),
    ]
    return Studio(
        settings=settings,
        store=store,
        login=login,
        pages=pages,
        audit=AuditLog(folder),
        pictures=Pictures(
            store,
            memory_bytes=int(settings.picture_memory_mb * 1_000_000),
            at_once=settings.pictures_at_once,
        ),
        photos=PhotoFacts(store),
        preview=PhotoPreview(store, data),
        reviews=PhotoReviews(store),
        leases=ReviewLeases(),
        status=status,
        deals=deals,
        costs=CostsOfDeals(data),
        dagster=dagster,
        trials=Trials(store, data),
        requests=requests,
        runs=RunWatch(dagster, on_settled=deals.forget),
        data=data,
        folder=folder,
    )


def _told(fault: str | None) -> Banner | None:
    return Banner(fault) if fault else None


def studio_of(connection: HTTPConnection) -> Studio:
    """The studio that serves a request."""
    studio: Studio = connection.app.state.studio
    return studio


Serving = Annotated[Studio, Depends(studio_of)]
"""A parameter of a route: the studio."""
