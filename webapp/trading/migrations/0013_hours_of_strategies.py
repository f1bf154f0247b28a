"""A strategy enters within its hours."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0012_closings")]

    operations = [
        migrations.AddField(
            model_name="strategy",
            name="session",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Enters only within hours: mon-fri 08:00-17:00 Europe/London. "
                "Empty: always.",
                max_length=200,
            ),
        ),
    ]
