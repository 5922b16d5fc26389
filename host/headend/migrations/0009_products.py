"""Schema 9: products for concentrators, and what they say of those that they run."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0008_counter"),)

    operations = [
        migrations.CreateModel(
            name="Package",
            fields=[
                (
                    "name",
                    models.CharField(max_length=16, primary_key=True, serialize=False),
                ),
                ("version", models.CharField(db_default="", max_length=64)),
                ("counter", models.BigIntegerField(db_default=0)),
                ("files", models.TextField(db_default="")),
            ],
            options={"db_table": "packages"},
        ),
        migrations.CreateModel(
            name="Product",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("stage", models.BigIntegerField(db_default=0)),
                ("name", models.CharField(db_default="", max_length=16)),
                ("version", models.CharField(db_default="", max_length=64)),
                ("counter", models.BigIntegerField(db_default=0)),
                ("told_at", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "products",
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "seq"), name="products_once")
                ],
            },
        ),
        migrations.AddField(
            model_name="job",
            name="stages",
            field=models.CharField(db_default="", max_length=64),
        ),
        migrations.AddField(
            model_name="job",
            name="stage",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="job",
            name="patience_s",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="job",
            name="why",
            field=models.CharField(db_default="", max_length=300),
        ),
        migrations.AddField(
            model_name="command",
            name="stage",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="command",
            name="package",
            field=models.CharField(db_default="", max_length=16),
        ),
        stamp(9),
    ]
