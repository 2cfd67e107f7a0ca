"""Auditing: how well does a run's supernet, or any cheaper score, rank architectures? A sample is trained alone to find out.

    from nas.audit import audit

    print(*audit("runs/mine", architectures=32).verdict, sep="\\n")

Importing this loads neither PyTorch nor Optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.audit.pipeline import Audited


def audit(run: str | Path, *, data: Any = None, progress: bool = False, **options: Any) -> Audited:
    """Audit a run, as `python -m nas.audit --run RUN` does; it continues an audit that was interrupted.

    Args:
        run: directory of a search, or of a supernet's training.
        data: the run's data set, where that was a caller's own object.
        progress: whether progress and the verdict are printed.
        options: the fields of `nas.audit.config.AuditConfig`, which are the command's options.

    Raises:
        UserError: what is asked for cannot be, in one line that says what was expected.
    """
    from nas.audit.config import AuditConfig
    from nas.audit.pipeline import run_audit
    from nas.cli.console import open_console
    from nas.cli.plan import refuse_dry_run

    refuse_dry_run(options)
    config = AuditConfig(run=Path(run), **options)
    audited = run_audit(config, open_console(progress), data)
    assert audited is not None
    return audited
