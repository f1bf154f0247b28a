"""Keep what the newest trading day made, too: one day may have thousands of fills."""

from decimal import Decimal

from django.db import migrations, models

import webapp.trading.fields


class Migration(migrations.Migration):
    dependencies = [("trading", "0018_what_grows_with_history")]

    operations = [
        migrations.AddField(
            model_name="accounttotals",
            name="day_realised",
            field=webapp.trading.fields.SumField(
                default=Decimal("0"), help_text="What the day made, as realised."
            ),
        ),
        migrations.AddField(
            model_name="accounttotals",
            name="day_start",
            field=models.DateTimeField(
                blank=True,
                help_text="Of the trading day of the newest fill, market time.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="accounttotals",
            name="pass_started",
            field=models.DateTimeField(
                blank=True,
                help_text="When the pass of a replay began that the day is of.",
                null=True,
            ),
        ),
    ]
