"""Draws pages: templates, links that keep the mode, and what is on every page."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from segpipe.prompt import Mode
from segpipe.studio.roles import Person, Role
from segpipe.studio.studio_settings import LoginKind

MODE_PARAMETER = "mode"
MODE_TITLES = {Mode.FIND_ALL: "Find all", Mode.INSIDE_BOX: "Inside boxes"}
_DIGEST_DIGITS = 12
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_LONG_AGO_S = 7 * _DAY_S


@dataclass(frozen=True, slots=True)
class NavigationEntry:
    """A page in the rail on the left.

    Attributes:
        title: What it is called.
        path: Where it is.
        icon: The name of its icon in ``icons.html``.
        role: Who sees it.
        key: The key that goes there after ``g``.
    """

    title: str
    path: str
    icon: str
    role: Role = Role.VIEWER
    key: str = ""


@dataclass(frozen=True, slots=True)
class Banner:
    """What is said above every page, and perhaps what can be done about it.

    Attributes:
        text: What is wrong.
        link: The page that tells more; "" for none.
        button: What the button is called that mends it.
        action: Where the button posts to; "" for no button.
        expected: The generation of settings that the button is about.
        role: Who sees the button.
    """

    text: str
    link: str = ""
    button: str = ""
    action: str = ""
    expected: int | None = None
    role: Role = Role.VIEWER


class Pages:
    """Draws the templates of ``segpipe/studio/templates``.

    Args:
        login: Who tells who somebody is, since a page shows a button to log out.
    """

    def __init__(self, login: LoginKind) -> None:
        self._login = login
        self.navigation: list[NavigationEntry] = []
        self.banners: list[Callable[[], Banner | None]] = []
        """Each may have something to say above every page, such as that a process has died."""
        self._templates = Environment(
            loader=PackageLoader("segpipe.studio"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"static": static_url, "modes": MODE_TITLES, "Role": Role}
        self._templates.filters |= {
            "ago": ago,
            "counted": counted,
            "duration": duration,
            "moment": moment,
            "number": number,
        }

    def draw(
        self, request: Request, template: str, *, status_code: int = 200, **shown: Any
    ) -> HTMLResponse:
        """A page, or a part of one.

        Args:
            request: Who asks, and in which mode.
            template: Its file.
            status_code: Of the answer.
            shown: What the template shows beside what is on every page.
        """
        person: Person | None = request.scope.get("state", {}).get("person")
        mode = mode_of(request)
        text = self._templates.get_template(template).render(
            request=request,
            person=person,
            mode=mode,
            link=Link(mode),
            mode_links={each: _in_mode(request, each) for each in Mode},
            navigation=[
                entry for entry in self.navigation if person and person.role.covers(entry.role)
            ],
            banners=[said for banner in self.banners if (said := banner())] if person else [],
            can_log_out=self._login is LoginKind.TOKEN and person is not None,
            may_review=person is not None and person.role.covers(Role.REVIEWER),
            is_admin=person is not None and person.role.covers(Role.ADMIN),
            is_part=request.headers.get("hx-request") == "true",
            **shown,
        )
        return HTMLResponse(text, status_code, {"Vary": "HX-Request"})


class Link:
    """Makes addresses of the studio's pages; they keep the mode.

    >>> Link(Mode.FIND_ALL)("/deals/{}", "a/b?c", tab="crops")
    '/deals/a%2Fb%3Fc?tab=crops'
    >>> Link(Mode.INSIDE_BOX)("/deals")
    '/deals?mode=inside_box'
    """

    def __init__(self, mode: Mode) -> None:
        self._mode = mode

    def __call__(self, path: str, *ids: object, **query: object) -> str:
        """An address; ids are escaped, and of the query what is None or empty is left out."""
        place = path.format(*(quote(str(one), safe="") for one in ids))
        query = {MODE_PARAMETER: "" if self._mode is Mode.FIND_ALL else self._mode, **query}
        if query[MODE_PARAMETER] == Mode.FIND_ALL:
            query[MODE_PARAMETER] = ""
        given = {name: value for name, value in query.items() if value is not None and value != ""}
        return f"{place}?{urlencode(given, doseq=True)}" if given else place


def mode_of(request: Request) -> Mode:
    """The mode that an address names; ``find_all`` when it names none that there is."""
    given = request.query_params.get(MODE_PARAMETER, "")
    return Mode(given) if given in list(Mode) else Mode.FIND_ALL


def _in_mode(request: Request, mode: Mode) -> str:
    """The address of the same page in a mode, from its beginning."""
    left_out = {MODE_PARAMETER, "after"}
    query = [item for item in request.query_params.multi_items() if item[0] not in left_out]
    query += [] if mode is Mode.FIND_ALL else [(MODE_PARAMETER, mode.value)]
    return request.url.path + (f"?{urlencode(query)}" if query else "")


@cache
def static_url(name: str) -> str:
    """The address of a file under ``static/``, with a digest, so that browsers may keep it."""
    data = resources.files("segpipe.studio").joinpath("static", *name.split("/")).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(data).hexdigest()[:_DIGEST_DIGITS]}"


def number(value: int | None) -> str:
    """A count for people; a dash where there is none.

    >>> number(12345), number(None)
    ('12,345', '-')
    """
    return "-" if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """How long something takes, for people.

    >>> duration(7.2), duration(95), duration(7300), duration(None)
    ('7 s', '1 min 35 s', '2 h 1 min', '-')
    """
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S:,} h {whole % _HOUR_S // _MINUTE_S} min"


def moment(value: datetime | None) -> str:
    """A time for machines and tool tips: in UTC, to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else ""


def counted(count: int, thing: str) -> str:
    """How many of a thing there are, for people.

    >>> counted(1, "photo"), counted(1200, "photo")
    ('1 photo', '1,200 photos')
    """
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def ago(value: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, for people.

    >>> ago(datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 14, 30, tzinfo=UTC))
    '2 h ago'
    """
    if value is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - value).total_seconds()
    if seconds < _MINUTE_S:
        return "just now"
    if seconds < _HOUR_S:
        return f"{int(seconds // _MINUTE_S)} min ago"
    if seconds < _DAY_S:
        return f"{int(seconds // _HOUR_S)} h ago"
    if seconds < _LONG_AGO_S:
        return f"{int(seconds // _DAY_S)} d ago"
    return f"{value:%-d %b %Y}"
