"""A second factor keeps what is left of its recovery codes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0008_more_limits")]
    operations = [
        migrations.AddField(
            model_name="secondfactor",
            name="recovery",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="SHA-256 of each recovery code that is left.",
            ),
        ),
    ]
