"""Schema 6: the key of a concentrator's newest message is known by its fingerprint."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0005_quarantine"),)

    operations = [
        migrations.AddField(
            model_name="concentrator",
            name="key_print",
            field=models.CharField(db_default="", max_length=16),
        ),
        stamp(6),
    ]
