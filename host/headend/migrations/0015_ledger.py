"""Schema 15: ratios of transformers apart, days of exchange, agreed prices, lists on their way."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


def _number(default: int = 0) -> models.BigIntegerField:
    return models.BigIntegerField(db_default=default)


def _text(size: int = 64) -> models.CharField:
    return models.CharField(db_default="", max_length=size)


class Migration(migrations.Migration):
    dependencies = (("station", "0014_service"),)

    operations = [
        migrations.AddField(model_name="device", name="ct", field=_text(16)),
        migrations.AddField(model_name="device", name="pt", field=_text(16)),
        migrations.AddField(model_name="device", name="exchange_due", field=_text(10)),
        migrations.AddField(model_name="contract", name="tariff", field=_number()),
        migrations.CreateModel(
            name="StagedEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("list", _text(32)),
                ("staged_at", _number()),
                ("account", models.CharField(max_length=12)),
                ("customer", _text(32)),
                ("name", _text(128)),
                ("phone", _text(32)),
                ("address", _text(200)),
                ("persons", _number()),
                ("kind", _text(16)),
                ("credit_class", _text(16)),
                ("district", _text(32)),
                ("meter", _text(12)),
                ("ct", _text(16)),
                ("pt", _text(16)),
                ("multiplier", _number(1)),
                ("type", _text()),
                ("manufacturer", _text()),
                ("installed", _text(10)),
                ("verified", _text(10)),
                ("due", _text(10)),
                ("exchange_due", _text(10)),
                ("tariff", _number()),
            ],
            options={
                "db_table": "staged_entries",
                "constraints": [
                    models.UniqueConstraint(fields=("list", "account"), name="staged_entries_once")
                ],
            },
        ),
        stamp(15),
    ]
