"""The tests' own PostgreSQL: databases are fresh, and nobody else gets in."""

from urllib.parse import urlsplit

import optuna
import psutil
import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from tests.postgresql import NewDatabase


def test_every_database_is_fresh_and_optuna_works_with_it(postgresql: NewDatabase) -> None:
    first, second = postgresql(), postgresql()
    optuna.create_study(storage=first, study_name="one").add_trial(optuna.trial.create_trial(value=1.0))
    assert optuna.get_all_study_names(second) == []
    assert optuna.load_study(storage=first, study_name="one").best_value == 1.0


def test_it_listens_on_loopback_and_asks_for_a_password(postgresql: NewDatabase) -> None:
    url = postgresql()
    port = urlsplit(url).port
    listening = {one.laddr.ip for one in psutil.net_connections() if one.status == psutil.CONN_LISTEN and one.laddr.port == port}
    assert listening == {"127.0.0.1"}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://tests:guess@127.0.0.1:{port}/postgres")
    with pytest.raises(OperationalError):
        optuna.create_study(storage=f"postgresql://tests:guess@127.0.0.1:{port}/postgres")
