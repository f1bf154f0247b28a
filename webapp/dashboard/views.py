"""The page, the way in and the way out."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from webapp.dashboard.assets import NotBuiltError, read_assets

THEMES = ("light", "dark")


def theme_of(request: HttpRequest) -> dict[str, str]:
    """Return the theme that the person chose; empty follows the operating system."""
    chosen = request.COOKIES.get("sep_theme", "")
    return {"theme": chosen if chosen in THEMES else ""}


@require_safe
@never_cache
@login_required
def page(request: HttpRequest, **address: str) -> HttpResponse:
    """Answer with the dashboard at any of its addresses, or with 503 while it is not built."""
    try:
        assets = read_assets()
    except NotBuiltError as error:
        return render(request, "dashboard/not_built.html", {"reason": str(error)}, status=503)
    return render(request, "dashboard/page.html", {"assets": assets, **theme_of(request)})


class Login(LoginView):
    """The login form; whoever is logged in goes straight to the page."""

    template_name = "dashboard/login.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        """Add the theme to the form's context."""
        return {**super().get_context_data(**kwargs), **theme_of(self.request)}
