"""Schema 14: providers' settings, planned outages, complaints, how long data is kept."""

from typing import Any

from django.db import migrations, models

from host.headend.engine_sql import stamp


def _number() -> Any:
    return models.BigIntegerField(db_default=0)


def _maybe() -> Any:
    return models.BigIntegerField(null=True)


def _text(size: int = 64) -> Any:
    return models.CharField(db_default="", max_length=size)


def _key() -> Any:
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


class Migration(migrations.Migration):
    dependencies = (("station", "0013_losses"),)

    operations = [
        migrations.AddField("channel", "settings", _text(300)),
        migrations.AddField("payment", "code", _text(600)),
        migrations.AddField("payment", "asked_at", _number()),
        migrations.CreateModel(
            name="Outage",
            fields=[
                ("id", _key()),
                ("level", _text(16)),
                ("place", _text()),
                ("since_at", _number()),
                ("until_at", _number()),
                ("reason", _text(200)),
                ("entered_at", _number()),
                ("entered_by", _text()),
                ("changed", _number()),
                ("told", _number()),
                ("state", _text(16)),
                ("ended_at", _maybe()),
                ("ended_by", _text()),
                ("resolution", _text(200)),
            ],
            options={
                "db_table": "outages",
                "indexes": [models.Index(fields=["ended_at"], name="outages_ended")],
            },
        ),
        migrations.CreateModel(
            name="Complaint",
            fields=[
                ("id", _key()),
                ("account", _text(12)),
                ("place", _text(200)),
                ("kind", _text(24)),
                ("what", _text(500)),
                ("contact", _text(128)),
                ("entered_at", _number()),
                ("by", _text()),
                ("due_at", _number()),
                ("closed_at", _maybe()),
                ("closed_by", _text()),
                ("resolution", _text(300)),
                ("reopened", _number()),
            ],
            options={
                "db_table": "complaints",
                "indexes": [
                    models.Index(fields=["closed_at"], name="complaints_closed"),
                    models.Index(fields=["account"], name="complaints_account"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Retention",
            fields=[
                (
                    "kind",
                    models.CharField(max_length=24, primary_key=True, serialize=False),
                ),
                ("days", _number()),
            ],
            options={"db_table": "retentions"},
        ),
        stamp(14),
    ]
