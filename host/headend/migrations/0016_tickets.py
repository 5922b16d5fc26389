"""Schema 16: tickets of alarms."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


def _number(default: int = 0) -> models.BigIntegerField:
    return models.BigIntegerField(db_default=default)


def _text(size: int = 64) -> models.CharField:
    return models.CharField(db_default="", max_length=size)


class Migration(migrations.Migration):
    dependencies = (("station", "0015_ledger"),)

    operations = [
        migrations.CreateModel(
            name="Ticket",
            fields=[
                ("ticket", models.BigIntegerField(primary_key=True, serialize=False)),
                ("kind", _text(24)),
                ("key", _text(32)),
                ("account", _text(12)),
                ("concentrator", _number()),
                ("place", _text(200)),
                ("what", _text(500)),
                ("priority", _number(3)),
                ("opened_at", _number()),
                ("opened_by", _text()),
                ("due_at", _number()),
                ("who", _text()),
                ("closed_at", models.BigIntegerField(null=True)),
                ("closed_by", _text()),
                ("done", _text(500)),
                ("parts", _text(200)),
                ("outcome", _text(16)),
            ],
            options={
                "db_table": "tickets",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("kind", "key"),
                        name="tickets_once",
                    )
                ],
                "indexes": [models.Index(fields=["closed_at"], name="tickets_closed")],
            },
        ),
        stamp(16),
    ]
