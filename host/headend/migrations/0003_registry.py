"""Schema 3: districts, customers, their accounts and the ledger of meters."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0002_day_limit"),)

    operations = [
        migrations.CreateModel(
            name="District",
            fields=[
                ("district", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("name", models.CharField(db_default="", max_length=128)),
                ("feeder", models.CharField(db_default="", max_length=64)),
                ("station", models.CharField(db_default="", max_length=64)),
            ],
            options={
                "db_table": "districts",
            },
        ),
        migrations.CreateModel(
            name="Contract",
            fields=[
                ("account", models.CharField(max_length=12, primary_key=True, serialize=False)),
                ("customer", models.CharField(max_length=32)),
                ("district", models.CharField(db_default="", max_length=32)),
                ("opened_at", models.BigIntegerField(db_default=0)),
                ("closed_at", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "contracts",
                "indexes": [models.Index(fields=["customer"], name="contracts_customer")],
            },
        ),
        migrations.CreateModel(
            name="Customer",
            fields=[
                ("customer", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("name", models.CharField(db_default="", max_length=128)),
                ("phone", models.CharField(db_default="", max_length=32)),
                ("address", models.CharField(db_default="", max_length=200)),
                ("persons", models.BigIntegerField(db_default=0)),
                ("kind", models.CharField(db_default="resident", max_length=16)),
                ("credit_class", models.CharField(db_default="", max_length=16)),
            ],
            options={
                "db_table": "customers",
                "indexes": [models.Index(fields=["name"], name="customers_name")],
            },
        ),
        migrations.CreateModel(
            name="Device",
            fields=[
                ("address", models.CharField(max_length=12, primary_key=True, serialize=False)),
                ("account", models.CharField(db_default="", max_length=12)),
                ("type", models.CharField(db_default="", max_length=64)),
                ("manufacturer", models.CharField(db_default="", max_length=64)),
                ("multiplier", models.BigIntegerField(db_default=1)),
                ("installed", models.CharField(db_default="", max_length=10)),
                ("verified", models.CharField(db_default="", max_length=10)),
                ("due", models.CharField(db_default="", max_length=10)),
            ],
            options={
                "db_table": "devices",
                "indexes": [models.Index(fields=["account"], name="devices_account")],
            },
        ),
        stamp(3),
    ]
