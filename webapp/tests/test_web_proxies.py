"""Who is asking is the client, not the proxy in front, and only when the proxy is ours."""

import os
import subprocess
import sys

import pytest

ASK = """
import io, django
from django.core.signals import request_started
from webapp.config.wsgi import application
request_started.connect(lambda environ, **_: print(environ["REMOTE_ADDR"]), weak=False)
application(
    {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/nowhere", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "HTTP_HOST": "localhost", "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(),
        "REMOTE_ADDR": "172.25.0.9", "HTTP_X_FORWARDED_FOR": "203.0.113.7",
    },
    lambda *_: None,
)
"""


@pytest.mark.parametrize(
    ("proxies", "address"),
    [
        ("172.25.0.0/16", "203.0.113.7"),
        ("172.26.0.0/16", "172.25.0.9"),  # a stranger's claim
        ("", "172.25.0.9"),
    ],
)
def test_the_address_is_taken_from_a_trusted_proxy_only(proxies: str, address: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "webapp.config.testing",
            "SEP_TRUSTED_PROXIES": proxies,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"{address}\n", done.stderr
