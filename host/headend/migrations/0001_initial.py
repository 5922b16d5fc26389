"""Schema 1: the first that has a number."""

from django.db import migrations, models

from host.headend.engine_sql import engine_sql, stamp

_TABLES = """
CREATE TABLE records (
    concentrator bigint NOT NULL, seq bigint NOT NULL, t2000 bigint NOT NULL, kind int NOT NULL,
    flags int NOT NULL, "row" int NOT NULL, payload {blob} NOT NULL, received_at bigint NOT NULL,
    PRIMARY KEY (concentrator, seq)
) {keyed};
CREATE TABLE readings (
    day int NOT NULL, meter varchar(12) NOT NULL, t2000 bigint NOT NULL,
    concentrator bigint NOT NULL, seq bigint NOT NULL, account varchar(12) NOT NULL,
    debit_fen bigint NOT NULL, residue_e7 bigint NOT NULL, residue_e11 int NOT NULL,
    status int NOT NULL, used_wh bigint NOT NULL, registers_wh text NOT NULL,
    PRIMARY KEY (day, meter, t2000)
) {keyed};
CREATE TABLE freezes (
    day int NOT NULL, meter varchar(12) NOT NULL, t2000 bigint NOT NULL,
    concentrator bigint NOT NULL, seq bigint NOT NULL, account varchar(12) NOT NULL,
    registers_wh text NOT NULL,
    PRIMARY KEY (day, meter, t2000)
) {keyed};
CREATE TABLE items (
    day int NOT NULL, meter varchar(12) NOT NULL, t2000 bigint NOT NULL,
    identifier varchar(8) NOT NULL, concentrator bigint NOT NULL, seq bigint NOT NULL,
    account varchar(12) NOT NULL, "values" text NOT NULL,
    PRIMARY KEY (day, meter, t2000, identifier)
) {keyed};
CREATE INDEX items_account ON items (account, identifier, t2000)
"""


class Migration(migrations.Migration):
    initial = True

    dependencies: list[tuple[str, str]] = []

    operations = [
        migrations.CreateModel(
            name="Freeze",
            fields=[
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day",
                        "meter",
                        "t2000",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("day", models.BigIntegerField()),
                ("meter", models.CharField(db_default="", max_length=12)),
                ("t2000", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("registers_wh", models.TextField()),
            ],
            options={
                "db_table": "freezes",
                "abstract": False,
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Item",
            fields=[
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day",
                        "meter",
                        "t2000",
                        "identifier",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("day", models.BigIntegerField()),
                ("meter", models.CharField(db_default="", max_length=12)),
                ("t2000", models.BigIntegerField()),
                ("identifier", models.CharField(db_default="", max_length=8)),
                ("account", models.CharField(max_length=12)),
                ("values", models.TextField()),
            ],
            options={
                "db_table": "items",
                "abstract": False,
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Reading",
            fields=[
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "day",
                        "meter",
                        "t2000",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("day", models.BigIntegerField()),
                ("meter", models.CharField(db_default="", max_length=12)),
                ("t2000", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("debit_fen", models.BigIntegerField()),
                ("residue_e7", models.BigIntegerField()),
                ("residue_e11", models.BigIntegerField()),
                ("status", models.BigIntegerField()),
                ("used_wh", models.BigIntegerField()),
                ("registers_wh", models.TextField()),
            ],
            options={
                "db_table": "readings",
                "abstract": False,
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Record",
            fields=[
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "concentrator",
                        "seq",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("t2000", models.BigIntegerField()),
                ("kind", models.BigIntegerField()),
                ("flags", models.BigIntegerField()),
                ("row", models.BigIntegerField()),
                ("payload", models.BinaryField()),
                ("received_at", models.BigIntegerField()),
            ],
            options={
                "db_table": "records",
                "abstract": False,
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="Concentrator",
            fields=[
                ("concentrator", models.BigIntegerField(primary_key=True, serialize=False)),
                ("acked_seq", models.BigIntegerField(db_default=0)),
                ("last_number", models.BigIntegerField(db_default=0)),
                ("wanted_seq", models.BigIntegerField(db_default=0)),
                ("first_seq", models.BigIntegerField(db_default=0)),
                ("next_seq", models.BigIntegerField(db_default=0)),
                ("seen_at", models.BigIntegerField(null=True)),
                ("received_at", models.BigIntegerField(null=True)),
                ("address", models.CharField(db_default="", max_length=64)),
                ("firmware", models.CharField(db_default="", max_length=64)),
                ("journal", models.CharField(db_default="", max_length=16)),
                ("clock_offset_s", models.BigIntegerField(null=True)),
                ("refused", models.CharField(db_default="", max_length=200)),
                ("refused_at", models.BigIntegerField(null=True)),
                ("rolled_records", models.BigIntegerField(db_default=0)),
                ("rolled_readings", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "concentrators",
            },
        ),
        migrations.CreateModel(
            name="Station",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("schema", models.BigIntegerField(db_default=0)),
                ("zone", models.CharField(db_default="Asia/Shanghai", max_length=64)),
                ("restored_at", models.BigIntegerField(null=True)),
                ("question_fen", models.BigIntegerField(db_default=100000)),
                ("limit_fen", models.BigIntegerField(db_default=10000000)),
            ],
            options={
                "db_table": "station",
            },
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                ("account", models.CharField(max_length=12, primary_key=True, serialize=False)),
                ("concentrator", models.BigIntegerField(db_default=0)),
                ("row", models.BigIntegerField(db_default=0)),
                ("meter", models.CharField(db_default="", max_length=12)),
                ("credit_fen", models.BigIntegerField(db_default=0)),
                ("debit_fen", models.BigIntegerField(db_default=0)),
                ("residue_e7", models.BigIntegerField(db_default=0)),
                ("residue_e11", models.BigIntegerField(db_default=0)),
                ("used_wh", models.BigIntegerField(db_default=0)),
                ("relay", models.BigIntegerField(null=True)),
                ("policy", models.BigIntegerField(null=True)),
                ("readings", models.BigIntegerField(db_default=0)),
                ("last_t2000", models.BigIntegerField(null=True)),
                ("order", models.BigIntegerField(db_default=0)),
                ("header_mac", models.CharField(db_default="", max_length=16)),
                ("debt_fen", models.BigIntegerField(db_default=0)),
                ("debt_week", models.BigIntegerField(db_default=0)),
                ("debt_week_fen", models.BigIntegerField(db_default=0)),
                ("household", models.BigIntegerField(db_default=0)),
                ("grade", models.BigIntegerField(db_default=0)),
                ("multiplier", models.BigIntegerField(db_default=1)),
                ("guard", models.BigIntegerField(db_default=0)),
                ("stopped", models.BigIntegerField(db_default=0)),
                ("doubt", models.BigIntegerField(db_default=0)),
                ("corrected_fen", models.BigIntegerField(db_default=0)),
                ("power_limit_w", models.BigIntegerField(db_default=0)),
                ("period", models.BigIntegerField(db_default=0)),
                ("quota", models.BigIntegerField(db_default=0)),
                ("free", models.BigIntegerField(db_default=0)),
                ("since_t2000", models.BigIntegerField(db_default=0)),
                ("relay_wanted", models.BigIntegerField(db_default=0)),
                ("registers_wh", models.CharField(db_default="[]", max_length=200)),
                ("read_t2000", models.BigIntegerField(db_default=0)),
                ("untold", models.BigIntegerField(db_default=0)),
                ("standing_due", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "accounts",
                "indexes": [models.Index(fields=["concentrator"], name="accounts_concentrator")],
            },
        ),
        migrations.CreateModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("t2000", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("kind", models.CharField(db_default="", max_length=24)),
                ("detail", models.TextField(db_default="{}")),
            ],
            options={
                "db_table": "alarms",
                "abstract": False,
                "indexes": [models.Index(fields=["account", "t2000"], name="alarm_account")],
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "seq"), name="alarm_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Finding",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("kind", models.CharField(db_default="", max_length=24)),
                ("account", models.CharField(db_default="", max_length=12)),
                ("what", models.TextField()),
                ("found_at", models.BigIntegerField(db_default=0)),
                ("resolved_at", models.BigIntegerField(null=True)),
                ("resolved_by", models.CharField(db_default="", max_length=64)),
                ("resolution", models.CharField(db_default="", max_length=200)),
            ],
            options={
                "db_table": "findings",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("concentrator", "seq", "what"), name="findings_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Gap",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField()),
                ("reasons", models.BigIntegerField(db_default=0)),
                ("resolved_at", models.BigIntegerField(null=True)),
                ("resolved_by", models.CharField(db_default="", max_length=64)),
                ("resolution", models.CharField(db_default="", max_length=200)),
            ],
            options={
                "db_table": "gaps",
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "first_seq"), name="gaps_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Meter",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("row", models.BigIntegerField()),
                ("address", models.CharField(db_default="", max_length=12)),
                ("account", models.CharField(max_length=12)),
                ("tariff", models.BigIntegerField(db_default=0)),
                ("line", models.BigIntegerField(db_default=0)),
                ("standard", models.BigIntegerField(db_default=0)),
                ("active", models.BigIntegerField(db_default=0)),
                ("speed", models.BigIntegerField(db_default=0)),
                ("seq", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "meters",
                "indexes": [models.Index(fields=["address"], name="meters_address")],
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "row"), name="meters_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("account", models.CharField(max_length=12)),
                ("order", models.BigIntegerField()),
                ("amount_fen", models.BigIntegerField()),
                ("sold_at", models.BigIntegerField(db_default=0)),
                ("cashier", models.CharField(db_default="", max_length=64)),
                ("channel", models.CharField(db_default="counter", max_length=32)),
                ("reference", models.CharField(max_length=64, null=True, unique=True)),
                ("carded_at", models.BigIntegerField(null=True)),
                ("voided_at", models.BigIntegerField(null=True)),
                ("voided_by", models.CharField(db_default="", max_length=64)),
                ("void_reason", models.CharField(db_default="", max_length=200)),
                ("supersedes", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "orders",
                "indexes": [models.Index(fields=["sold_at"], name="orders_sold_at")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("voided_at__isnull", True)),
                        fields=("account", "order"),
                        name="orders_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Policy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("t2000", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("new", models.BigIntegerField(db_default=0)),
                ("old", models.BigIntegerField(db_default=0)),
                ("reason", models.BigIntegerField(db_default=0)),
                ("balance_fen", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "policies",
                "abstract": False,
                "indexes": [models.Index(fields=["account", "t2000"], name="policy_account")],
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "seq"), name="policy_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Relay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("t2000", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("desired", models.BigIntegerField(db_default=0)),
                ("stage", models.BigIntegerField(db_default=0)),
                ("reason", models.BigIntegerField(db_default=0)),
                ("status", models.BigIntegerField(db_default=0)),
                ("balance_fen", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "relays",
                "abstract": False,
                "indexes": [models.Index(fields=["account", "t2000"], name="relay_account")],
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "seq"), name="relay_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Standing",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("t2000", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("source", models.BigIntegerField(db_default=0)),
                ("order", models.BigIntegerField(db_default=0)),
                ("header_mac", models.CharField(db_default="", max_length=16)),
                ("credit_fen", models.BigIntegerField(db_default=0)),
                ("debit_fen", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "standings",
                "abstract": False,
                "indexes": [models.Index(fields=["account", "t2000"], name="standing_account")],
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "seq"), name="standing_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("seq", models.BigIntegerField()),
                ("t2000", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("order", models.BigIntegerField(db_default=0)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("credit_fen", models.BigIntegerField(db_default=0)),
                ("balance_fen", models.BigIntegerField(db_default=0)),
                ("books_fen", models.BigIntegerField(db_default=0)),
                ("uid", models.CharField(db_default="", max_length=16)),
                ("source", models.BigIntegerField(db_default=0)),
                ("key_version", models.BigIntegerField(db_default=0)),
                ("repaid_fen", models.BigIntegerField(db_default=0)),
                ("header_mac", models.CharField(db_default="", max_length=16)),
            ],
            options={
                "db_table": "top_ups",
                "abstract": False,
                "indexes": [models.Index(fields=["account", "t2000"], name="topup_account")],
                "constraints": [
                    models.UniqueConstraint(fields=("concentrator", "seq"), name="topup_once")
                ],
            },
        ),
        engine_sql(
            {
                "sqlite": _TABLES.format(blob="blob", keyed="WITHOUT ROWID"),
                # Half of each page is left for what readings change of an account, so that no
                # index has to follow.
                "postgresql": _TABLES.format(blob="bytea", keyed="")
                + "; ALTER TABLE accounts SET (fillfactor = 50)",
            }
        ),
        stamp(1),
    ]
