"""Schema 7: commands for concentrators, and jobs of them."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0006_key_print"),)

    operations = [
        migrations.CreateModel(
            name="Job",
            fields=[
                ("job", models.BigIntegerField(primary_key=True, serialize=False)),
                ("name", models.CharField(db_default="", max_length=64)),
                ("given_at", models.BigIntegerField(db_default=0)),
                ("given_by", models.CharField(db_default="", max_length=64)),
                ("reason", models.CharField(db_default="", max_length=200)),
                ("state", models.CharField(db_default="", max_length=16)),
            ],
            options={"db_table": "jobs"},
        ),
        migrations.CreateModel(
            name="Command",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("number", models.BigIntegerField()),
                ("account", models.CharField(db_default="", max_length=12)),
                ("order", models.BigIntegerField(db_default=0)),
                ("text", models.CharField(db_default="", max_length=300)),
                ("job", models.BigIntegerField(db_default=0)),
                ("state", models.CharField(db_default="", max_length=16)),
                ("answer", models.TextField(db_default="")),
                ("given_at", models.BigIntegerField(db_default=0)),
                ("given_by", models.CharField(db_default="", max_length=64)),
                ("reason", models.CharField(db_default="", max_length=200)),
                ("expires_at", models.BigIntegerField(db_default=0)),
                ("sent_at", models.BigIntegerField(null=True)),
                ("ended_at", models.BigIntegerField(null=True)),
                ("again", models.BigIntegerField(db_default=0)),
                ("image", models.TextField(db_default="")),
            ],
            options={
                "db_table": "commands",
                "indexes": [
                    models.Index(fields=["state"], name="commands_state"),
                    models.Index(fields=["account"], name="commands_account"),
                    models.Index(fields=["job"], name="commands_job"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("concentrator", "number"), name="commands_once"
                    )
                ],
            },
        ),
        stamp(7),
    ]
