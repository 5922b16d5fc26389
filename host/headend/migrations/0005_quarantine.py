"""Schema 5: what is told of others' accounts waits, and a reading has its concentrator."""

from django.db import migrations, models

from host.headend.engine_sql import engine_sql, stamp

# The concentrator is part of the keys: none can take the place of a reading of another one.
_SQLITE = """
CREATE TABLE readings_keyed (
    day int NOT NULL, meter varchar(12) NOT NULL, t2000 bigint NOT NULL,
    concentrator bigint NOT NULL, seq bigint NOT NULL, account varchar(12) NOT NULL,
    debit_fen bigint NOT NULL, residue_e7 bigint NOT NULL, residue_e11 int NOT NULL,
    status int NOT NULL, used_wh bigint NOT NULL, registers_wh text NOT NULL,
    PRIMARY KEY (day, meter, t2000, concentrator)
) WITHOUT ROWID;
INSERT INTO readings_keyed SELECT * FROM readings;
CREATE TABLE freezes_keyed (
    day int NOT NULL, meter varchar(12) NOT NULL, t2000 bigint NOT NULL,
    concentrator bigint NOT NULL, seq bigint NOT NULL, account varchar(12) NOT NULL,
    registers_wh text NOT NULL,
    PRIMARY KEY (day, meter, t2000, concentrator)
) WITHOUT ROWID;
INSERT INTO freezes_keyed SELECT * FROM freezes;
CREATE TABLE items_keyed (
    day int NOT NULL, meter varchar(12) NOT NULL, t2000 bigint NOT NULL,
    identifier varchar(8) NOT NULL, concentrator bigint NOT NULL, seq bigint NOT NULL,
    account varchar(12) NOT NULL, "values" text NOT NULL,
    PRIMARY KEY (day, meter, t2000, concentrator, identifier)
) WITHOUT ROWID;
INSERT INTO items_keyed SELECT * FROM items;
DROP TABLE readings;
DROP TABLE freezes;
DROP TABLE items;
ALTER TABLE readings_keyed RENAME TO readings;
ALTER TABLE freezes_keyed RENAME TO freezes;
ALTER TABLE items_keyed RENAME TO items;
CREATE INDEX items_account ON items (account, identifier, t2000)
"""
_POSTGRESQL = """
ALTER TABLE readings DROP CONSTRAINT readings_pkey,
    ADD PRIMARY KEY (day, meter, t2000, concentrator);
ALTER TABLE freezes DROP CONSTRAINT freezes_pkey,
    ADD PRIMARY KEY (day, meter, t2000, concentrator);
ALTER TABLE items DROP CONSTRAINT items_pkey,
    ADD PRIMARY KEY (day, meter, t2000, concentrator, identifier)
"""


class Migration(migrations.Migration):
    dependencies = (("station", "0004_journals"),)

    operations = [
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("row", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("meter", models.CharField(db_default="", max_length=12)),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
                ("records", models.BigIntegerField(db_default=0)),
                ("readings", models.BigIntegerField(db_default=0)),
                ("payments", models.BigIntegerField(db_default=0)),
                ("found_at", models.BigIntegerField(db_default=0)),
                ("resolved_at", models.BigIntegerField(null=True)),
                ("resolved_by", models.CharField(db_default="", max_length=64)),
                ("resolution", models.CharField(db_default="", max_length=200)),
                ("taken", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "quarantine",
                "indexes": [models.Index(fields=["account"], name="quarantine_account")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("concentrator", "row", "first_seq"), name="quarantine_once"
                    )
                ],
            },
        ),
        engine_sql({"sqlite": _SQLITE, "postgresql": _POSTGRESQL}),
        stamp(5),
    ]
