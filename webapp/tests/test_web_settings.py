"""Settings are read strictly; production makes nothing up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from webapp.config import env, valkey_url

ROOT = Path(__file__).resolve().parents[2]
GOOD_KEY = "k3y-" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2
OTHER_KEY = GOOD_KEY[::-1]


def settings_in(tmp_path: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    program = (
        "import webapp.config.settings as s;"
        "print(s.SECRET_KEY, s.SEP_JWT_KEY, s.SESSION_COOKIE_SECURE)"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**clean, "SEP_VAR_PATH": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


PRODUCTION = {
    "SEP_ENV": "production",
    "SECRET_KEY": GOOD_KEY,
    "SEP_JWT_KEY": OTHER_KEY,
    "ALLOWED_HOSTS": "sep.example",
}


def test_production_starts_with_everything_that_it_needs(tmp_path: Path) -> None:
    result = settings_in(tmp_path, **PRODUCTION)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [GOOD_KEY, OTHER_KEY, "True"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY must be a random text"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY must be a random text"),
        ({"SECRET_KEY": "a" * 60}, "SECRET_KEY must be a random text"),
        ({"SEP_JWT_KEY": ""}, "SEP_JWT_KEY must be a random text"),
        ({"SEP_JWT_KEY": GOOD_KEY}, "must differ"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS must name"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS must name hosts"),
        ({"SEP_ENV": "prod"}, "SEP_ENV must be one of local, production"),
        ({"SEP_HTTPS": "yes"}, "SEP_HTTPS must be 0 or 1"),
        ({"SEP_HTTP_THREADS": "many"}, "SEP_HTTP_THREADS must be a whole number"),
        ({"SEP_HTTP_THREADS": "0"}, r"SEP_HTTP_THREADS must be in [1, 64], was 0"),
        ({"SEP_HTTP_THREADS": ""}, "SEP_HTTP_THREADS must be a whole number, was ''"),
        ({"SEP_HTTP_THREADS": "-1"}, r"SEP_HTTP_THREADS must be in [1, 64], was -1"),
        ({"SEP_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "SEP_TRUSTED_PROXIES must be addresses or n"),
        ({"SEP_VAR_PATH": ""}, "SEP_VAR_PATH must name a folder, was ''"),
        ({"SEP_VAR_PATH": "/proc/x"}, "SEP_VAR_PATH cannot be made: "),
        ({"SEP_STATIC_PATH": "/proc/x"}, "SEP_STATIC_PATH cannot be made: "),
        ({"DATABASE_URL": "mysql://u@h/d"}, "DATABASE_URL must be postgresql://user:password@h"),
        ({"DATABASE_URL": "secret"}, "DATABASE_URL must be postgresql://user:password@host/name"),
        ({"DATABASE_URL": "postgresql://u@h"}, "DATABASE_URL must be postgresql://user:password"),
        ({"VALKEY_URL": "http://h"}, "VALKEY_URL must start with"),
        ({"SEP_OANDA_URL": "http://127.0.0.1:8020"}, "SEP_OANDA_TOKEN must be a random text"),
        ({"SEP_HTPS": "1"}, "SEP_HTPS is no setting of SEP, did you mean SEP_HTTPS?"),
    ],
)
def test_production_refuses_to_start_and_says_why(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    result = settings_in(tmp_path, **(PRODUCTION | changes))
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]


def test_a_local_run_makes_its_keys_once_and_keeps_them_to_itself(tmp_path: Path) -> None:
    first, second = settings_in(tmp_path), settings_in(tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    key, token_key, secure = first.stdout.split()
    assert key != token_key
    assert secure == "False"
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    program = "import sys; from pathlib import Path; from webapp.config import env;"
    program += "print(env.secret('NO_SUCH_VARIABLE', kept_in=Path(sys.argv[1])))"
    racers = [
        subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT, stdout=-1)
        for _ in range(4)
    ]
    assert len({racer.communicate()[0] for racer in racers}) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(GOOD_KEY + "\n")
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "key"))
    assert env.secret("SOME_KEY", kept_in=None) == GOOD_KEY
    monkeypatch.setenv("SOME_KEY", GOOD_KEY)
    with pytest.raises(ImproperlyConfigured, match="not both"):
        env.secret("SOME_KEY", kept_in=None)


@pytest.mark.parametrize(
    ("given", "database_1", "celery"),
    [
        ("redis://h:1", "valkey://h:1/1", "redis://h:1/2"),
        ("valkey://u:p@h:1/0", "valkey://u:p@h:1/1", "redis://u:p@h:1/2"),
        ("rediss://h", "valkeys://h/1", "rediss://h/2"),
        (
            "unix:///a/v.sock?db=3",
            "unix:///a/v.sock?db=1",
            "redis+socket:///a/v.sock?virtual_host=2",
        ),
    ],
)
def test_each_client_of_valkey_gets_the_address_that_it_reads(
    given: str, database_1: str, celery: str
) -> None:
    url = valkey_url.canonical(given)
    assert valkey_url.with_database(url, 1) == database_1
    assert valkey_url.for_celery(url, 2) == celery


def test_a_process_that_serves_no_page_reads_none_of_the_admin(tmp_path: Path) -> None:
    program = (
        "import sys, django; django.setup(); import webapp.trading.trader.trader;"
        "print([name for name in sys.modules if name in ('webapp.trading.admin', 'unfold.admin')])"
    )
    settings = {"SEP_VAR_PATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "webapp.config.settings"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"
