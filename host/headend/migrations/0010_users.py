"""Schema 10: people who sign in at the pages, their sessions and failed attempts."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0009_products"),)

    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                ("user", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("role", models.CharField(db_default="", max_length=16)),
                ("password", models.CharField(db_default="", max_length=200)),
                ("made_at", models.BigIntegerField(db_default=0)),
                ("closed_at", models.BigIntegerField(null=True)),
            ],
            options={"db_table": "users"},
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                ("token", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("user", models.CharField(db_default="", max_length=64)),
                ("begun_at", models.BigIntegerField(db_default=0)),
                ("seen_at", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "sessions",
                "indexes": [models.Index(fields=["user"], name="sessions_user")],
            },
        ),
        migrations.CreateModel(
            name="SignInTry",
            fields=[
                ("place", models.CharField(max_length=100, primary_key=True, serialize=False)),
                ("failures", models.BigIntegerField(db_default=0)),
                ("last_at", models.BigIntegerField(db_default=0)),
            ],
            options={"db_table": "sign_in_tries"},
        ),
        stamp(10),
    ]
