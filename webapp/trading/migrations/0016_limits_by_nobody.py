from django.db import migrations


class Migration(migrations.Migration):
    """Who changed a limit was never written there; it stands in the change of its setting."""

    dependencies = [("trading", "0015_no_last_seen")]

    operations = [migrations.RemoveField("risklimit", "created_by")]
