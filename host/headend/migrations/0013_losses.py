"""Schema 13: feeders, what each district and account is fed by and when, supply meters."""

from django.db import migrations, models

from host.headend.engine_sql import engine_sql, stamp

# Day numbers count from 2000-01-01. What is known has held since the first.
_KNOWN = """
    INSERT INTO feeders (feeder, station) SELECT feeder, max(station) FROM districts
    WHERE feeder <> '' GROUP BY feeder;
    INSERT INTO feeds (district, feeder, since_day) SELECT district, feeder, 0 FROM districts
    WHERE feeder <> '';
    INSERT INTO connections (account, district, since_day, until_day)
    SELECT account, district, 0,
    CASE WHEN closed_at IS NULL THEN NULL ELSE (closed_at - 946684800) / 86400 + 1 END
    FROM contracts WHERE district <> ''
"""


def _id() -> models.BigAutoField:
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


class Migration(migrations.Migration):
    dependencies = (("station", "0012_channels"),)

    operations = [
        migrations.CreateModel(
            name="Feeder",
            fields=[
                ("feeder", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("name", models.CharField(db_default="", max_length=128)),
                ("station", models.CharField(db_default="", max_length=64)),
                ("target_e4", models.BigIntegerField(db_default=800)),
            ],
            options={
                "db_table": "feeders",
            },
        ),
        migrations.AddField("District", "rated_kva", models.BigIntegerField(db_default=0)),
        migrations.AddField("District", "target_e4", models.BigIntegerField(db_default=930)),
        migrations.AddField("District", "technical_e4", models.BigIntegerField(null=True)),
        migrations.CreateModel(
            name="Connection",
            fields=[
                ("id", _id()),
                ("account", models.CharField(max_length=12)),
                ("district", models.CharField(max_length=32)),
                ("phase", models.CharField(db_default="", max_length=3)),
                ("distance_m", models.BigIntegerField(db_default=0)),
                ("since_day", models.BigIntegerField()),
                ("until_day", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "connections",
                "indexes": [models.Index(fields=["district"], name="connections_district")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "since_day"), name="connections_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Feed",
            fields=[
                ("id", _id()),
                ("district", models.CharField(max_length=32)),
                ("feeder", models.CharField(max_length=64)),
                ("since_day", models.BigIntegerField()),
                ("until_day", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "feeds",
                "indexes": [models.Index(fields=["feeder"], name="feeds_feeder")],
                "constraints": [
                    models.UniqueConstraint(fields=("district", "since_day"), name="feeds_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="SupplyMeter",
            fields=[
                ("id", _id()),
                ("account", models.CharField(max_length=12)),
                ("level", models.CharField(db_default="", max_length=16)),
                ("place", models.CharField(db_default="", max_length=64)),
                ("ct", models.BigIntegerField(db_default=1)),
                ("pt", models.BigIntegerField(db_default=1)),
                ("since_day", models.BigIntegerField()),
                ("until_day", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "supply_meters",
                "indexes": [models.Index(fields=["level", "place"], name="supply_meters_place")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "since_day"), name="supply_meters_once"
                    )
                ],
            },
        ),
        engine_sql({"sqlite": _KNOWN, "postgresql": _KNOWN}),
        migrations.RemoveField("District", "feeder"),
        stamp(13),
    ]
