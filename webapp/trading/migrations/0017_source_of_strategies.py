"""A strategy may be a class: its source is kept beside what its rule says of it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0016_limits_by_nobody")]

    operations = [
        migrations.AddField(
            model_name="strategy",
            name="source",
            field=models.TextField(
                blank=True,
                default="",
                help_text="Of the class that decides, empty where the rule does. Its hash is in "
                "the rule.",
            ),
        ),
        migrations.AlterField(
            model_name="strategy",
            name="rule",
            field=models.JSONField(
                help_text="Checked by sep_engine.signals.Rule.from_json; of a class, "
                "a StrategyRule."
            ),
        ),
    ]
