"""The token that the inference service and its clients share."""

import os
import re

from segpipe.errors import ConfigError

_VISIBLE_ASCII = re.compile(r"[!-~]+")


def read_token(variable: str) -> str | None:
    """The token in an environment variable, without surrounding blanks; None when it has none.

    Raises:
        ConfigError: It has blanks or characters that a header cannot carry (RFC 6750, section
            2.1, allows fewer still); the message names the variable and keeps the token to itself.
    """
    token = os.environ.get(variable, "").strip()
    if token and not _VISIBLE_ASCII.fullmatch(token):
        raise ConfigError(
            f"the token in the environment variable {variable} has blanks or characters outside "
            "ASCII, which no header carries; choose another, such as 32 letters and digits",
            field="token_env",
        )
    return token or None
