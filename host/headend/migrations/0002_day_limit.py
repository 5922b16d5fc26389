"""Schema 2: a limit of what one account buys in a day."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0001_initial"),)

    operations = [
        migrations.AddField(
            model_name="station",
            name="day_limit_fen",
            field=models.BigIntegerField(db_default=20_000_000),
        ),
        stamp(2),
    ]
