"""The page's frame: who gets it, what it loads, and what the error pages say."""

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from webapp.dashboard import views
from webapp.dashboard.assets import Assets, NotBuiltError, read_assets

pytestmark = pytest.mark.django_db

MANIFEST = """{"src/app/main.tsx": {"file": "assets/main-1.js", "css": ["assets/main-2.css"]}}"""


@pytest.fixture
def person(client: Client) -> Client:
    user = User.objects.create_user("ada", password="a long pass phrase")
    client.force_login(user)
    return client


def built(monkeypatch: pytest.MonkeyPatch) -> None:
    assets = Assets(script="dashboard/assets/main-1.js", styles=("dashboard/assets/main-2.css",))
    monkeypatch.setattr(views, "read_assets", lambda: assets)


def test_a_stranger_is_sent_to_the_login(client: Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 302
    assert answer["Location"] == "/login?next=/"


def test_the_page_loads_what_was_built(person: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    built(monkeypatch)
    answer = person.get("/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert '<script type="module" src="/static/dashboard/assets/main-1.js"></script>' in text
    assert '<link rel="stylesheet" href="/static/dashboard/assets/main-2.css">' in text
    assert 'data-user="ada"' in text
    assert 'data-staff="no"' in text


@pytest.mark.parametrize("address", ["/orders/17", "/reconciliation"])
def test_orders_and_books_have_addresses_of_their_own(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 302
    assert response["Location"] == f"/login?next={address}"


def test_a_page_that_is_not_built_says_how_to_build_it(
    person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Assets:
        raise NotBuiltError("the dashboard is not built: run `make client`")

    monkeypatch.setattr(views, "read_assets", missing)
    answer = person.get("/")
    assert answer.status_code == 503
    assert "run `make client`" in answer.content.decode()


def test_the_page_holds_no_script_of_its_own(
    person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The content security policy refuses any script that is not a file of ours.
    built(monkeypatch)
    assert person.get("/").content.decode().count("<script") == 1


@pytest.mark.parametrize(
    ("cookie", "drawn"),
    [("dark", ' data-theme="dark"'), ("light", ' data-theme="light"'), ('"><script>', "")],
)
def test_the_chosen_theme_is_drawn_at_once(client: Client, cookie: str, drawn: str) -> None:
    client.cookies["sep_theme"] = cookie
    assert f'<html lang="en"{drawn}>' in client.get("/login").content.decode()


def test_a_wrong_password_says_no_more_than_that(client: Client) -> None:
    User.objects.create_user("ada", password="a long pass phrase")
    answers = [
        client.post("/login", {"username": name, "password": "wrong"}).content.decode()
        for name in ("ada", "nobody")
    ]
    alerts = [text[text.index('role="alert"') :].split("</p>")[0] for text in answers]
    assert alerts[0] == alerts[1]


def test_logging_out_needs_a_form_and_ends_at_the_login(person: Client) -> None:
    assert person.get("/logout").status_code == 405
    assert person.post("/logout")["Location"] == "/login"
    assert person.get("/").status_code == 302


def test_an_unknown_page_leads_back(client: Client) -> None:
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert "There is no such page" in answer.content.decode()


def test_the_manifest_names_the_files(tmp_path: Path) -> None:
    (tmp_path / ".vite").mkdir()
    (tmp_path / ".vite" / "manifest.json").write_text(MANIFEST)
    assert read_assets(tmp_path) == Assets(
        script="dashboard/assets/main-1.js", styles=("dashboard/assets/main-2.css",)
    )


@pytest.mark.parametrize("manifest", [None, "{", "{}"])
def test_a_missing_or_broken_manifest_is_a_page_that_is_not_built(
    tmp_path: Path, manifest: str | None
) -> None:
    if manifest is not None:
        (tmp_path / ".vite").mkdir()
        (tmp_path / ".vite" / "manifest.json").write_text(manifest)
    with pytest.raises(NotBuiltError, match="run `make client`"):
        read_assets(tmp_path)
