"""A PostgreSQL of the tests' own: Debian's package, a cluster in a temporary directory, on loopback, gone when they end."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

NewDatabase = Callable[[], str]
ATTEMPTS = 3
"""Another process may take a free port before PostgreSQL does."""
# Nothing here has to outlive the machine, and nothing but the port may lead in.
SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "", "max_connections": "400"}  # fmt: skip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[NewDatabase]:
    """Makes a fresh, empty database with each call; returns its URL."""
    programs = installed_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running_postgresql(programs) as new_database:
        yield new_database


def installed_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, of the newest version where there are several."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found = shutil.which("initdb")
    others = [Path(found).resolve().parent] if found else []
    return max(folders, key=lambda folder: float(folder.parent.name), default=next(iter(others), None))


@contextmanager
def running_postgresql(programs: Path) -> Iterator[NewDatabase]:
    """Run a cluster, which the calls of what is yielded make databases in."""
    with restartable_postgresql(programs) as (new_database, _):
        yield new_database


@contextmanager
def restartable_postgresql(programs: Path) -> Iterator[tuple[NewDatabase, Callable[[], None]]]:
    """The same, and what restarts it: whoever is connected is cut off."""
    password = secrets.token_hex()
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        data, secret, log = Path(folder, "data"), Path(folder, "password"), Path(folder, "log")
        secret.write_text(password)
        as_owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            # The server refuses to be root.
            as_owner = {"user": "postgres", "group": "postgres", "extra_groups": []}
            for path in (folder, secret):
                shutil.chown(path, "postgres", "postgres")

        def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            # The server inherits what it writes to: a pipe would never end.
            with Path(folder, "output").open("w+") as output:
                done = subprocess.run(
                    [str(programs / program), "-D", str(data), *arguments],
                    cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, **as_owner,
                )  # fmt: skip
                output.seek(0)
                return subprocess.CompletedProcess(done.args, done.returncode, output.read())

        access = ("--username=tests", f"--pwfile={secret}", "--auth=scram-sha-256")
        made = run("initdb", *access, "--no-sync", "--no-locale", "--encoding=UTF8")
        assert made.returncode == 0, made.stdout
        for _ in range(ATTEMPTS):
            port = free_port()
            options = " ".join(f"-c {name}='{value}'" for name, value in {**SETTINGS, "port": port}.items())
            started = run("pg_ctl", "start", "--wait", f"--log={log}", f"--options={options}")
            if started.returncode == 0:
                break
        else:
            raise RuntimeError(f"{started.stdout}{log.read_text()}")
        server, made_names = f"postgresql://tests:{password}@127.0.0.1:{port}", iter(range(10**6))

        def new_database() -> str:
            name = f"database_{next(made_names)}"
            with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return f"{server}/{name}"

        def restart() -> None:
            run("pg_ctl", "restart", "--wait", "--mode=fast", f"--log={log}", f"--options={options}")

        try:
            yield new_database, restart
        finally:
            run("pg_ctl", "stop", "--mode=immediate")


def free_port() -> int:
    """A port of loopback that nobody listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
