"""Let nothing that is looked at all the time read all that ever happened."""

from decimal import Decimal

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

import webapp.trading.fields

_NUMBER = {"sqlite": "json_extract(data, '$.id')", "postgresql": "(data ->> 'id')::bigint"}


def name_subjects(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Write which order each event of orders is about; the rules of the log let this column be."""
    number = _NUMBER[schema_editor.connection.vendor]
    schema_editor.execute(f"UPDATE trading_eventlog SET subject = {number} WHERE stream = 'orders'")


def leave(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Nothing is to be undone: the column goes."""


class Migration(migrations.Migration):
    dependencies = [("trading", "0017_source_of_strategies")]

    operations = [
        migrations.AddField(
            model_name="eventlog",
            name="subject",
            field=models.BigIntegerField(
                blank=True,
                help_text="The key of the order that an event of orders is about.",
                null=True,
            ),
        ),
        migrations.RunPython(name_subjects, leave),
        migrations.AddIndex(
            model_name="eventlog",
            index=models.Index(
                condition=models.Q(("subject__isnull", False)),
                fields=["subject", "seq"],
                name="event_by_subject",
            ),
        ),
        migrations.AddIndex(
            model_name="charge",
            index=models.Index(fields=["account", "time"], name="charge_by_account_and_time"),
        ),
        migrations.AddIndex(
            model_name="fill",
            index=models.Index(fields=["account", "time"], name="fill_by_account_and_time"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["account", "sent_at"], name="order_by_account_and_send"),
        ),
        migrations.AddIndex(
            model_name="performancesnapshot",
            index=models.Index(fields=["account", "-drawdown"], name="snapshot_by_drawdown"),
        ),
        migrations.AddIndex(
            model_name="performancesnapshot",
            index=models.Index(
                models.F("account"),
                models.OrderBy(models.F("realised_pl") + models.F("open_pl"), descending=True),
                name="snapshot_by_made",
            ),
        ),
        migrations.CreateModel(
            name="AccountTotals",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "last_fill",
                    models.BigIntegerField(
                        default=0, help_text="Fills up to this key are counted."
                    ),
                ),
                (
                    "last_charge",
                    models.BigIntegerField(default=0, help_text="The same of charges."),
                ),
                (
                    "realised",
                    webapp.trading.fields.SumField(
                        default=Decimal("0"), help_text="Fills and charges, less fees."
                    ),
                ),
                (
                    "transferred",
                    webapp.trading.fields.SumField(
                        default=Decimal("0"), help_text="Money that came or went."
                    ),
                ),
                (
                    "trades",
                    models.PositiveIntegerField(
                        default=0, help_text="Fills that realised something."
                    ),
                ),
                ("wins", models.PositiveIntegerField(default=0)),
                (
                    "newest_fill",
                    models.DateTimeField(blank=True, help_text="Market time.", null=True),
                ),
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="totals",
                        to="trading.brokeraccount",
                    ),
                ),
            ],
            options={"verbose_name_plural": "account totals"},
        ),
    ]
