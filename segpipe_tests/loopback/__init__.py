"""A real HTTP server on this machine that answers, and misbehaves, by a script."""

from segpipe_tests.loopback.reply import Reply, json_reply
from segpipe_tests.loopback.server import Loopback, Received

__all__ = ["Loopback", "Received", "Reply", "json_reply"]
