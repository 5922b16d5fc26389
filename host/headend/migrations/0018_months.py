"""Schema 18: batches of tickets for devices that are due, and the figures of months as told."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0017_notices"),)

    operations = [
        migrations.AddField(
            model_name="ticket",
            name="batch",
            field=models.CharField(db_default="", max_length=64),
        ),
        migrations.CreateModel(
            name="MonthFigures",
            fields=[
                ("month", models.CharField(max_length=7, primary_key=True, serialize=False)),
                ("figures", models.TextField(db_default="{}")),
                ("kept_at", models.BigIntegerField(db_default=0)),
            ],
            options={"db_table": "month_figures"},
        ),
        stamp(18),
    ]
