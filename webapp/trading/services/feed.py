"""Controls of the replay."""

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction

from webapp.trading.models import Feed
from webapp.trading.selectors.status import account_default
from webapp.trading.services import system

SPEED_MIN, SPEED_MAX = 0.01, 1000.0


@transaction.atomic
def feed_control(
    *,
    feed_id: int,
    now: datetime,
    bars_per_second: float | None = None,
    paused: bool | None = None,
    restart: bool = False,
) -> Feed:
    """Change speed or pause, or ask the trader to close all positions and replay from the start.

    Raises:
        ValidationError: the feed is no replay, the speed is outside 0.01 to 1000 bars a second,
            or the replay is asked to begin again at a venue whose ledger cannot.
    """
    feed = (
        Feed.objects.select_for_update(of=("self",), no_key=True)
        .select_related("instrument")
        .get(pk=feed_id)
    )
    if not feed.is_replay:
        raise ValidationError("The prices are the venue's own: there is no replay to control.")
    if bars_per_second is not None:
        if not SPEED_MIN <= bars_per_second <= SPEED_MAX:
            raise ValidationError(
                {"bars_per_second": f"must be {SPEED_MIN} to {SPEED_MAX}, was {bars_per_second}"}
            )
        feed.bars_per_second = bars_per_second
    if paused is not None:
        feed.paused = paused
    if restart:
        account = account_default()
        if account is not None and account.kind == "oanda-local":
            raise ValidationError(
                {
                    "restart": "the venue's ledger cannot go back in time; for a new replay stop "
                    "SEP and choose another folder with SEP_VAR_PATH"
                }
            )
        feed.restart_requested = True
        feed.paused = False
    feed.save(update_fields=["bars_per_second", "paused", "restart_requested", "updated_at"])
    system.status_changed(now=now)
    return feed
