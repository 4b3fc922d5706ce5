"""Settings of the studio as a process: where it listens, who may come in, how much it takes."""

from enum import StrEnum

from pydantic import Field

from segpipe.errors import ConfigError
from segpipe.secret_names import is_this_machine, read_secret
from segpipe.settings import Settings
from segpipe.store.layout import DEFAULT_ROOT
from segpipe.studio.roles import Role
from segpipe.web.connections import ConnectionLimits

_BYTES_PER_MB = 1_000_000
_EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - told apart, not listened on
TOKEN_VARIABLES = {
    Role.ADMIN: "SEGPIPE_STUDIO_TOKEN",
    Role.REVIEWER: "SEGPIPE_STUDIO_REVIEWER_TOKEN",
    Role.VIEWER: "SEGPIPE_STUDIO_VIEWER_TOKEN",
}
"""The environment variables with the token of each role."""


class LoginKind(StrEnum):
    """Who tells who somebody is."""

    OFF = "off"
    """Nobody: whoever reaches the address is an admin. On a loopback address only."""
    TOKEN = "token"  # noqa: S105 - the word
    """A token that people enter."""
    PROXY = "proxy"
    """A proxy in front, in a header."""


class StudioSettings(Settings):
    """How the studio listens, who may come in, and what it starts beside itself."""

    root: str = Field(default=DEFAULT_ROOT, description="The data root, a folder or a URL.")
    host: str = Field(
        default="127.0.0.1",
        description="The address to listen on; any but a loopback one needs a login.",
    )
    port: int = Field(default=3000, ge=0, le=65535, description="0 takes a free one.")
    login: LoginKind | None = Field(
        default=None,
        description="off, token or proxy. By default token where one is set, else off.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names by which browsers may reach it, beside the address it listens on.",
    )
    proxy_header: str = Field(
        default="X-Forwarded-User", description="The header in which the proxy names the person."
    )
    proxy_role_header: str = Field(
        default="X-Forwarded-Role",
        description="The header in which it gives the role; without it: viewer.",
    )
    proxy_addresses: tuple[str, ...] = Field(
        default=("127.0.0.1", "::1"), description="Where the proxy is; nobody else is believed."
    )
    session_hours: float = Field(default=12, gt=0, description="How long a login lasts.")
    daemon: bool = Field(
        default=True, description="Start Dagster's daemon, which runs what is asked for."
    )
    dagster: bool = Field(default=True, description="Show Dagster's own pages under /dagster.")
    dagster_url: str | None = Field(
        default=None,
        description="Dagster's webserver where it runs elsewhere; then none is started here.",
    )
    max_upload_mb: float = Field(
        default=64, gt=0, description="Largest photo that is taken, in 10^6 bytes."
    )
    max_files_per_upload: int = Field(
        default=200, ge=1, description="Photos at most that one form without JavaScript brings."
    )
    max_form_mb: float = Field(
        default=512, gt=0, description="Photos of one such form all together, in 10^6 bytes."
    )
    upload_timeout_s: float = Field(
        default=600, gt=0, description="Time for a photo to arrive whole."
    )
    request_timeout_s: float = Field(
        default=120, gt=0, description="Time for the answer to what takes work."
    )
    picture_memory_mb: float = Field(
        default=128, gt=0, description="Memory for pictures that are made once, in 10^6 bytes."
    )
    pictures_at_once: int = Field(
        default=2, ge=1, description="Pictures that are made at once; others wait."
    )
    shutdown_timeout_s: int = Field(
        default=10, ge=0, description="Time for what is under way to finish at a shutdown."
    )

    @property
    def max_upload_bytes(self) -> int:
        """Largest photo."""
        return int(self.max_upload_mb * _BYTES_PER_MB)

    @property
    def max_form_bytes(self) -> int:
        """Photos of one form."""
        return int(self.max_form_mb * _BYTES_PER_MB)

    @property
    def connection_limits(self) -> ConnectionLimits:
        """What connections may take."""
        return ConnectionLimits()

    @property
    def hosts(self) -> frozenset[str]:
        """The names by which it may be reached, in small letters.

        Raises:
            ConfigError: It listens on every address, and no name is given.
        """
        names = {name.lower() for name in self.allowed_hosts}
        if self.host in _EVERYWHERE and not names:
            raise ConfigError(
                f"it would listen on every address of this machine ({self.host!r}): name the "
                "hosts by which browsers reach it with --allowed-host",
                field="allowed_hosts",
            )
        if self.host not in _EVERYWHERE:
            names.add(self.host.lower().strip("[]"))
        if is_this_machine(self.host) or self.host in _EVERYWHERE:
            names |= {"localhost", "127.0.0.1", "::1"}
        return frozenset(names)

    def login_kind(self) -> LoginKind:
        """Who tells who somebody is.

        Raises:
            ConfigError: Other machines can reach it, and there would be no login; or a token is to
                be entered, and none is set.
        """
        kind = self.login
        if kind is None:
            kind = LoginKind.TOKEN if self.read_tokens() else LoginKind.OFF
        if kind is LoginKind.OFF and not is_this_machine(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines: set the environment variable "
                f"{TOKEN_VARIABLES[Role.ADMIN]} to a token, or listen on 127.0.0.1",
                field="host",
            )
        if kind is LoginKind.TOKEN and not self.read_tokens():
            names = ", ".join(TOKEN_VARIABLES.values())
            raise ConfigError(f"no token is set: set one of {names}", field="login")
        return kind

    def read_tokens(self) -> dict[Role, str]:
        """The token of each role that has one; raises ConfigError where no header carries it."""
        found = {
            role: read_secret(name, what="token", field="login")
            for role, name in TOKEN_VARIABLES.items()
        }
        return {role: token for role, token in found.items() if token}
