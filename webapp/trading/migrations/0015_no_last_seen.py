from django.db import migrations


class Migration(migrations.Migration):
    """Drop what no look-up reads: all before the last applied transaction is in the books anyway."""

    dependencies = [("trading", "0014_orders_by_state")]

    operations = [migrations.RemoveField(model_name="order", name="last_txn_id_seen")]
