"""Schema 4: the journals of a concentrator are told apart."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0003_registry"),)

    operations = [
        migrations.AddField(
            model_name="concentrator",
            name="base",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="concentrator",
            name="capacity",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="concentrator",
            name="epoch",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="concentrator",
            name="meters_check",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="concentrator",
            name="refused_journal",
            field=models.CharField(db_default="", max_length=16),
        ),
        migrations.CreateModel(
            name="Journal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("base", models.BigIntegerField()),
                ("journal", models.CharField(db_default="", max_length=16)),
                ("acked_seq", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "journals",
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "base"), name="journals_once")
                ],
            },
        ),
        stamp(4),
    ]
