"""Guaranteed stops that somebody placed at the venue are kept as what they are."""

from django.db import migrations, models
from django.db.models import CheckConstraint, Q

from webapp.trading import triggers

PROTECTIVE = ["GUARANTEED_STOP_LOSS", "STOP_LOSS", "TAKE_PROFIT", "TRAILING_STOP_LOSS"]
TYPES = ["MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED", "STOP_LOSS", "TAKE_PROFIT",
         "TRAILING_STOP_LOSS", "GUARANTEED_STOP_LOSS"]  # fmt: skip


class Migration(migrations.Migration):

    dependencies = [("trading", "0010_sides_of_positions")]

    operations = [
        # SQLite makes the table anew, without the triggers on it.
        migrations.RunPython(triggers.remove, triggers.install),
        migrations.RemoveConstraint(model_name="order", name="order_type_is_known"),
        migrations.RemoveConstraint(model_name="order", name="order_protective_only_reduces"),
        migrations.AlterField(
            model_name="order",
            name="type",
            field=models.CharField(max_length=24, choices=[(name, name) for name in TYPES]),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=CheckConstraint(
                condition=Q(type__in=sorted(TYPES)), name="order_type_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=CheckConstraint(
                condition=Q(reduce_only=True, type__in=PROTECTIVE) | ~Q(type__in=PROTECTIVE),
                name="order_protective_only_reduces",
            ),
        ),
        migrations.RunPython(triggers.install, triggers.remove),
    ]
