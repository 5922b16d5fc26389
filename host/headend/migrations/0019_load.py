"""Schema 19: groups of accounts that give up their supply in turn, and what was shed."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


def _number() -> models.BigIntegerField:
    return models.BigIntegerField(db_default=0)


def _text(size: int = 64) -> models.CharField:
    return models.CharField(db_default="", max_length=size)


class Migration(migrations.Migration):
    dependencies = (("station", "0018_months"),)

    operations = [
        migrations.CreateModel(
            name="LoadGroup",
            fields=[
                ("account", models.CharField(max_length=12, primary_key=True, serialize=False)),
                ("district", models.CharField(max_length=32)),
                ("group", _number()),
            ],
            options={
                "db_table": "load_groups",
                "indexes": [models.Index(fields=["district"], name="load_groups_district")],
            },
        ),
        migrations.CreateModel(
            name="Shedding",
            fields=[
                ("shedding", models.BigIntegerField(primary_key=True, serialize=False)),
                ("district", models.CharField(max_length=32)),
                ("groups", _text()),
                ("since_at", _number()),
                ("until_at", _number()),
                ("notice_t2000", _number()),
                ("state", _text(16)),
                ("given_at", _number()),
                ("given_by", _text()),
                ("reason", _text(200)),
                ("cut_job", _number()),
                ("restore_job", _number()),
                ("left_alone", models.TextField(db_default="{}")),
            ],
            options={
                "db_table": "sheddings",
                "indexes": [models.Index(fields=["state"], name="sheddings_state")],
            },
        ),
        stamp(19),
    ]
