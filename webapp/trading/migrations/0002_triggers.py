from django.db import migrations

from webapp.trading import triggers


class Migration(migrations.Migration):
    dependencies = [("trading", "0001_initial")]
    operations = [migrations.RunPython(triggers.install, triggers.remove)]
