"""Close everything is a row that stands until nothing is left."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q, UniqueConstraint


class Migration(migrations.Migration):
    dependencies = [("trading", "0001_squashed_0011_guaranteed_stops")]

    operations = [
        migrations.CreateModel(
            name="Closing",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reason", models.CharField(max_length=300)),
                ("asked_by", models.CharField(max_length=150)),
                ("asked_at", models.DateTimeField()),
                (
                    "after_order",
                    models.BigIntegerField(
                        default=0, help_text="The newest order when it was asked for."
                    ),
                ),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_because", models.CharField(blank=True, default="", max_length=300)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="closings",
                        to="trading.brokeraccount",
                    ),
                ),
                (
                    "strategy",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: all of the account.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="closings",
                        to="trading.strategy",
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "constraints": [
                    UniqueConstraint(
                        condition=Q(ended_at__isnull=True, strategy__isnull=True),
                        fields=["account"],
                        name="closing_is_open_once_an_account",
                    ),
                    UniqueConstraint(
                        condition=Q(ended_at__isnull=True),
                        fields=["strategy"],
                        name="closing_is_open_once_a_strategy",
                    ),
                ],
            },
        ),
    ]
