"""Owners: alive as long as the very process runs that made the record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

from nas.runs.process_id import ProcessId, is_alive, this_process_id

MAKES_A_RECORD = """
import json, sys
from dataclasses import asdict
from nas.runs.process_id import this_process_id
print(json.dumps(asdict(this_process_id())), flush=True)
sys.stdin.read()
"""


def test_this_process_is_alive() -> None:
    assert is_alive(this_process_id())
    assert this_process_id() == this_process_id()


def test_a_record_outlives_its_owner_but_does_not_vouch_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", MAKES_A_RECORD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        owner = ProcessId(**json.loads(other.stdout.readline()))
        assert owner.pid == other.pid
        assert is_alive(owner)
        other.kill()
        # Dead, and its end not yet read: the number is still taken.
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert is_alive(owner) is False
    assert is_alive(owner) is False


def test_a_number_that_is_used_again_is_another_process() -> None:
    mine = this_process_id()
    assert is_alive(replace(mine, started=mine.started - 60)) is False


def test_of_another_host_nothing_can_be_told() -> None:
    assert is_alive(replace(this_process_id(), host="elsewhere")) is None
    assert ProcessId(**json.loads(json.dumps(asdict(this_process_id())))) == this_process_id()
