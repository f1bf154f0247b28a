"""The container files, checked without a Docker engine: what they name exists, and every service
is bounded, watched and unprivileged.
"""

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


class Replaced(dict[str, Any]):
    """A mapping or list behind !override: it takes the place of what it would be merged with."""


class ComposeLoader(yaml.SafeLoader):
    pass


RESET = object()
ComposeLoader.add_constructor("!reset", lambda loader, node: RESET)
ComposeLoader.add_constructor(
    "!override", lambda loader, node: Replaced(value=value_of(loader, node))
)


def value_of(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


def merged(base: Any, over: Any) -> Any:
    """Merge as Compose does: mappings by key, lists appended, the rest replaced."""
    if isinstance(over, Replaced):
        return over["value"]
    if isinstance(base, dict) and isinstance(over, dict):
        result = {**base}
        for key, value in over.items():
            if value is RESET:
                result.pop(key, None)
            else:
                result[key] = merged(result.get(key), value)
        return result
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *over]
    return over


def load(name: str) -> dict[str, Any]:
    return yaml.load((ROOT / name).read_text(), ComposeLoader)


BASE = load("compose.yaml")
PRODUCTION = merged(BASE, load("compose.production.yaml"))
PRODUCTION["services"] = {
    name: service
    for name, service in PRODUCTION["services"].items()
    if "profiles" not in service  # such a service starts only when it is asked for
}
SERVICES = [
    pytest.param(service, id=f"{file}-{name}")
    for file, content in (("base", BASE), ("production", PRODUCTION))
    for name, service in content["services"].items()
]


def test_the_processes_are_those_of_the_architecture() -> None:
    assert set(BASE["services"]) == {
        "api", "beat", "db", "killswitch", "migrate", "nginx", "relay", "trader", "valkey",
        "worker", "ws",
    }  # fmt: skip
    assert set(PRODUCTION["services"]) == set(BASE["services"]) - {"valkey"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_bounded_and_unprivileged(service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[mg]", limits["memory"])
    user = service["user"]
    assert user.split(":")[0] not in ("root", "0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["networks"] == ["sep-network"]
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert "privileged" not in service


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_watched_or_ends_by_itself(service: dict[str, Any]) -> None:
    if service["restart"] == "no":
        # It runs to its end before the others start, so its exit status is its health.
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["restart"] in ("unless-stopped", "always")
        assert service["healthcheck"]["test"][0] == "CMD"
        assert {"interval", "timeout", "retries"} <= set(service["healthcheck"])


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_pinned_to_a_version(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z/]+:\d+(\.\d+)+(-\w+)?|postgres:\d+-alpine", service["image"])


@pytest.mark.parametrize("content", [BASE, PRODUCTION], ids=["base", "production"])
def test_only_nginx_is_reachable_from_outside(content: dict[str, Any]) -> None:
    published = [
        name
        for name, service in content["services"].items()
        if any(not port.startswith("127.0.0.1:") for port in service.get("ports", []))
    ]
    assert published == ["nginx"]
    (subnet,) = content["networks"]["sep-network"]["ipam"]["config"]
    assert subnet == {"subnet": "172.25.0.0/16"}


@pytest.mark.parametrize("content", [BASE, PRODUCTION], ids=["base", "production"])
def test_d5_the_kill_switch_comes_up_alone_for_this_machine_alone(content: dict[str, Any]) -> None:
    service = content["services"]["killswitch"]
    assert service["depends_on"] == {}
    assert service["ports"] == ["127.0.0.1:8001:8001"]
    # The folder with the flag, the token and the kept accounts is the one that the trader reads.
    assert service["volumes"] == content["services"]["trader"]["volumes"]
    assert service["command"][1:3] == ["-m", "webapp.killswitch"]


@pytest.mark.parametrize("content", [BASE, PRODUCTION], ids=["base", "production"])
def test_what_services_name_is_declared(content: dict[str, Any]) -> None:
    for service in content["services"].values():
        assert set(service.get("depends_on", {})) <= set(content["services"])
        assert set(service.get("secrets", [])) <= set(content.get("secrets", {}))
        for volume in service.get("volumes", []):
            source, _, _ = volume.partition(":")
            assert (
                (ROOT / source).is_file()
                if source.startswith(".")
                else source in content["volumes"]
            )
        for value in service.get("environment", {}).values():
            if value.startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_production_keeps_every_secret_out_of_the_environment() -> None:
    for service in PRODUCTION["services"].values():
        for name, value in service.get("environment", {}).items():
            secret = re.search(r"KEY|PASSWORD|DATABASE_URL|VALKEY_URL", name)
            assert not secret or (name.endswith("_FILE") and value.startswith("/run/secrets/"))


def app_commands() -> Iterator[list[str]]:
    """Every command that a container of our own image runs, health checks included."""
    for service in BASE["services"].values():
        if service["image"].startswith("sep:"):
            yield service["command"]
            if not service["healthcheck"].get("disable"):
                yield service["healthcheck"]["test"][1:]


def test_commands_name_programs_and_modules_that_exist() -> None:
    applications = []
    subcommands = set()
    for program, *arguments in app_commands():
        assert (BIN / program).exists(), program
        if arguments[0] == "manage.py":
            subcommands.add(arguments[1])
        applications += [
            word.removeprefix("--app=")
            for word in arguments
            if re.match(r"(--app=)?webapp\.config\.", word)
        ]
        if arguments[0] == "-m":
            assert importlib.util.find_spec(arguments[1]) is not None, arguments[1]
    assert len(applications) == 4  # granian, uvicorn, and Celery twice
    code = ["import django; django.setup()"]
    for application in applications:
        module, _, attribute = application.partition(":")
        code.append(f"import {module}; {module}.{attribute or 'app'}")
    code.append("from django.core.management import get_commands; print(*get_commands())")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "webapp.config.testing"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert subcommands <= set(done.stdout.split())


def production_settings(**environment: str) -> subprocess.CompletedProcess[str]:
    complete = {
        "SEP_ENV": "production",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "SEP_JWT_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "sep.example,127.0.0.1",
        "DATABASE_URL": "postgresql://sep:x@db.invalid/sep",
        "VALKEY_URL": "valkeys://valkey.invalid:6379/0",
    }
    kept = {name: value for name, value in {**complete, **environment}.items() if value}
    return subprocess.run(
        [sys.executable, "-c", "import webapp.config.settings"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SEP_VAR_PATH": os.devnull + "/none", **kept},
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_accepts_what_compose_gives_it(tmp_path: Path) -> None:
    done = production_settings(SEP_VAR_PATH=str(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "changeme"),
        ("SECRET_KEY", "x" * 64),
        ("SEP_JWT_KEY", ""),
        ("ALLOWED_HOSTS", ""),
        ("ALLOWED_HOSTS", "*"),
    ],
)
def test_production_refuses_a_missing_or_weak_setting(
    variable: str, value: str, tmp_path: Path
) -> None:
    done = production_settings(**{variable: value, "SEP_VAR_PATH": str(tmp_path)})
    assert done.returncode != 0
    assert variable in done.stderr


def test_the_image_is_built_in_stages_and_runs_unprivileged() -> None:
    stages = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]
    assert len(stages) > 1
    for base in (stage.split()[0] for stage in stages):
        assert base in ("build", "engine") or re.fullmatch(r"python:3\.\d+-slim-\w+", base)
    assert re.search(r"(?m)^USER 10001:10001$", stages[-1])
    assert "apt-get" not in stages[-1]
    assert not re.search(r"(?m)^ADD ", DOCKERFILE)


def test_the_image_copies_only_what_exists_and_reaches_the_build() -> None:
    reached = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for words in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE):
        *sources, _ = words.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(source.startswith(name) for name in reached), source


@pytest.mark.parametrize("name", ["nginx.conf", "nginx.production.conf"])
def test_nginx_accepts_its_configuration(name: str, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is missing: apt install nginx-light")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=sep.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    # The paths of the container become paths of this machine; nothing else is changed.
    for file in ("common.conf", "routes.conf", name):
        text = (ROOT / "deploy" / "nginx" / file).read_text()
        for inside, here in {
            "/tmp/": f"{tmp_path}/",
            "/etc/nginx/common.conf": tmp_path / "common.conf",
            "/etc/nginx/routes.conf": tmp_path / "routes.conf",
            "/run/secrets/tls_certificate": certificate,
            "/run/secrets/tls_key": key,
        }.items():
            text = text.replace(inside, str(here))
        (tmp_path / file).write_text(text)
    done = subprocess.run(
        [nginx, "-t", "-q", "-c", tmp_path / name, "-p", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
