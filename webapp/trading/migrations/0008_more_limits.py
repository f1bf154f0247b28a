"""Accounts made before these limits get them: a limit that is missing denies every entry."""

from decimal import Decimal

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

LIMITS = {
    "order_equity_percent_max": 25,
    "stop_risk_percent_max": 1,
    "leverage_max": 2,
    "currency_exposure_max": 50_000,
    "orders_per_second_max": 50,
    "orders_per_day_max": 100_000,
    "repeat_pause_s": 1,
    "drawdown_percent_max": 10,
    "rollover_pause_min": 0,
    "loss_pause_min": 0,
    "stops_max": 4,
    "stops_window_min": 0,
    "window_loss_max": 300,
    "loss_window_min": 0,
}


def add(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    accounts = apps.get_model("trading", "BrokerAccount")
    limits = apps.get_model("trading", "RiskLimit")
    for account in accounts.objects.all():
        for name, value in LIMITS.items():
            if not limits.objects.filter(account=account, name=name).exists():
                limits.objects.create(account=account, name=name, value=Decimal(value))


class Migration(migrations.Migration):

    dependencies = [("trading", "0007_order_types_and_books")]

    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
