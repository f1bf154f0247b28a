import django.db.models.deletion
from django.db import migrations, models

ACCOUNT = models.ForeignKey(
    "trading.BrokerAccount",
    db_index=False,
    on_delete=django.db.models.deletion.PROTECT,
    related_name="orders",
)


class Migration(migrations.Migration):
    """Let no look at open orders, or at one of the venue's, read all orders of the account.

    SQLite prefers the index of the account alone, because its rows come in order; it goes, and the
    others begin with the account too. Dropped by hand: Django would make the table anew for it and
    lose the table's triggers.
    """

    dependencies = [("trading", "0013_hours_of_strategies")]

    operations = [
        migrations.RemoveIndex(model_name="order", name="order_open_by_account"),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["account", "state"], name="order_by_account_and_state"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["account", "venue_order_id"], name="order_by_venue_id"),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.AlterField("order", "account", ACCOUNT)],
            database_operations=[
                migrations.RunSQL(
                    "DROP INDEX IF EXISTS trading_order_account_id_2113cd4c",
                    "CREATE INDEX trading_order_account_id_2113cd4c ON trading_order (account_id)",
                )
            ],
        ),
    ]
