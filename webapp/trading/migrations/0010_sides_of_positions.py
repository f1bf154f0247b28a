"""Both sides of a hedging account, profit in account currency, and trailing stops of a position.

What was realised until now was all in account currency: other instruments could not be traded.
"""

from decimal import Decimal

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from webapp.trading.fields import AmountField


def book(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("trading", "Position").objects.update(booked_pl=models.F("realised_pl"))


class Migration(migrations.Migration):

    dependencies = [("trading", "0009_recovery_codes")]

    operations = [
        migrations.RemoveConstraint(model_name="position", name="position_is_unique"),
        migrations.AddField(
            model_name="brokeraccount",
            name="hedging",
            field=models.BooleanField(
                default=False, help_text="The venue holds long and short side by side."
            ),
        ),
        migrations.AddField(
            model_name="fill",
            name="opened_units",
            field=AmountField(
                null=True,
                blank=True,
                help_text="Of the units those that opened a trade; empty at a venue without "
                "trades.",
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="booked_pl",
            field=AmountField(
                default=Decimal("0"), help_text="Account currency, as the venue booked it."
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="side",
            field=models.CharField(
                max_length=5,
                choices=[("NET", "Net"), ("LONG", "Long"), ("SHORT", "Short")],
                default="NET",
            ),
        ),
        migrations.AddField(
            model_name="position",
            name="trailing_distance",
            field=AmountField(
                null=True,
                blank=True,
                help_text="Of the nearest trailing stop from the best price.",
            ),
        ),
        migrations.AlterField(
            model_name="position",
            name="realised_pl",
            field=AmountField(
                default=Decimal("0"), help_text="Quote currency, against the average price."
            ),
        ),
        migrations.AddConstraint(
            model_name="position",
            constraint=models.UniqueConstraint(
                fields=("account", "instrument", "side"), name="position_is_unique"
            ),
        ),
        migrations.RunPython(book, migrations.RunPython.noop),
    ]
