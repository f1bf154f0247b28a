"""Whether this build fits the database and the processes beside it; if not, nothing is traded."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from webapp.trading.models import ProcessHeartbeat

# A process that beat so lately lives; one that ended is forgotten after it.
LIVES = timedelta(seconds=15)


def misfit(*, now: datetime) -> str:
    """Return why this build must not trade now, "" if it may."""
    loader = MigrationLoader(connection)
    known, applied = set(loader.disk_migrations), set(loader.applied_migrations)
    if missing := sorted(known - applied):
        return (
            f"the database lacks {len(missing)} changes of this build, the first is "
            f"{'.'.join(missing[0])}: run manage.py migrate"
        )
    # An older one that is not known was made one with others since.
    newest = dict(sorted(known))
    if unknown := sorted(one for one in applied if one[1] > newest.get(one[0], one[1])):
        return f"the database is of a newer build, with {'.'.join(unknown[-1])}: update this one"
    others = ProcessHeartbeat.objects.filter(beat_at__gt=now - LIVES).exclude(
        build=settings.SEP_BUILD
    )
    # Another trader is the lease's business; the last one may have beaten just before it ended.
    other = others.exclude(name__in=("trader", "relay")).order_by("name").first()
    if other is not None:
        return (
            f"{other.name} runs build {other.build}, this is {settings.SEP_BUILD}: "
            "start all processes of one build"
        )
    return ""
