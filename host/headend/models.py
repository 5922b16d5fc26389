"""The tables of the head-end, as Django models.

People, money, devices and permissions are ordinary models. Records, readings, freezes and items
are many and have keys of several columns: their tables are made per engine in `migrations` and
written by the plain SQL of `host.headend.posting`, as all that comes from devices is.

Times of devices are `t2000`: seconds since 2000-01-01, local standard time. Times of the station
end in `_at`: seconds since 1970, UTC. Money is in fen, energy in Wh, lists are JSON as text.
"""

from typing import Any

from django.db import models

_ACCOUNT_DIGITS = 12


def _number(default: int | None = 0, **told: Any) -> Any:
    """Return a whole number with a default of the database itself; None: it has no default."""
    if default is not None:
        told["db_default"] = default
    return models.BigIntegerField(**told)


def _maybe() -> Any:
    """Return a number that may not be known."""
    return models.BigIntegerField(null=True)


def _text(size: int = 64, default: str = "") -> Any:
    return models.CharField(max_length=size, db_default=default)


def _account() -> Any:
    return models.CharField(max_length=_ACCOUNT_DIGITS)


class Station(models.Model):
    """The station itself: one row.

    schema       number of the newest migration
    zone         the zone of its clock, a name of the time zone database
    restored_at  when this database took the place of a newer one, null: never
    question_fen, limit_fen, day_limit_fen
                 a sale above the first is asked about, above the second it is refused; the third
                 is the most that one account buys in a day
    file_number  of the SQLite file in its file system: another one has a copy of it, 0: not known
    page_url     where households reach their own pages, "": nowhere
    hotline, pay_at
                 the telephone that they may call, and where they can pay
    link_key     the key of the links to those pages, as hexadecimal digits
    """

    schema = _number()
    zone = _text(64, "Asia/Shanghai")
    restored_at = _maybe()
    question_fen = _number(100_000)
    limit_fen = _number(10_000_000)
    day_limit_fen = _number(20_000_000)
    file_number = _number()
    page_url = _text(200)
    hotline = _text(64)
    pay_at = _text(400)
    link_key = _text(64)

    class Meta:
        db_table = "station"


class Concentrator(models.Model):
    """The newest record of a concentrator and other facts about it.

    wanted_seq                        records up to here are missing that no standing has made up
                                      for, 0: none are
    journal, base, epoch              the journal on record, what its numbers are stored plus, and
                                      the newest epoch of its messages
    refused_journal                   another one that was heard and refused
    key_print                         the fingerprint of the key of that message, never the key
    rolled_records                    how many records `headend retain` has deleted
    rolled_readings                   of them readings, less the readings it has deleted
    """

    concentrator = _number(None, primary_key=True)
    acked_seq = _number()
    last_number = _number()
    wanted_seq = _number()
    first_seq = _number()
    next_seq = _number()
    seen_at = _maybe()
    received_at = _maybe()
    address = _text()
    firmware = _text()
    journal = _text(16)
    base = _number()
    epoch = _number()
    refused_journal = _text(16)
    key_print = _text(16)
    capacity = _number()
    meters_check = _number()
    clock_offset_s = _maybe()
    refused = _text(200)
    refused_at = _maybe()
    rolled_records = _number()
    rolled_readings = _number()

    class Meta:
        db_table = "concentrators"


class Journal(models.Model):
    """A journal that a concentrator had before; its records are stored from `base` + 1 on."""

    concentrator = _number(None)
    base = _number(None)
    journal = _text(16)
    acked_seq = _number()

    class Meta:
        db_table = "journals"
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "base"), name="journals_once"),
        )


class Gap(models.Model):
    """Numbers without a record: `host.frames.packing.Reason` says why, 0: no reason is known."""

    concentrator = _number(None)
    first_seq = _number(None)
    last_seq = _number(None)
    reasons = _number()
    resolved_at = _maybe()
    resolved_by = _text()
    resolution = _text(200)

    class Meta:
        db_table = "gaps"
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "first_seq"), name="gaps_once"),
        )


class Meter(models.Model):
    """A row of a concentrator's table of meters."""

    concentrator = _number(None)
    row = _number(None)
    address = _text(_ACCOUNT_DIGITS)
    account = _account()
    tariff = _number()
    line = _number()
    standard = _number()
    active = _number()
    speed = _number()
    seq = _number()

    class Meta:
        db_table = "meters"
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "row"), name="meters_once"),
        )
        indexes = (models.Index(fields=("address",), name="meters_address"),)


class Account(models.Model):
    """An account as its concentrator has reported it; records of others change nothing of it.

    row           -1: it was moved to its concentrator, which has not told of it yet
    relay         0 closed, 1 open, null: not known yet
    doubt         reason of the newest FAULT, until a reading is believed or billing resumed
    untold        the concentrator does not know what it bought, and takes no card of it
    standing_due  the database was restored, and the concentrator has not told since what it knows
    """

    account = models.CharField(max_length=_ACCOUNT_DIGITS, primary_key=True)
    concentrator = _number()
    row = _number()
    meter = _text(_ACCOUNT_DIGITS)
    credit_fen = _number()
    debit_fen = _number()
    residue_e7 = _number()
    residue_e11 = _number()
    used_wh = _number()
    relay = _maybe()
    policy = _maybe()
    readings = _number()
    last_t2000 = _maybe()
    order = _number()
    header_mac = _text(16)
    debt_fen = _number()
    debt_week = _number()
    debt_week_fen = _number()
    household = _number()
    grade = _number()
    multiplier = _number(1)
    guard = _number()
    stopped = _number()
    doubt = _number()
    corrected_fen = _number()
    power_limit_w = _number()
    period = _number()
    quota = _number()
    free = _number()
    since_t2000 = _number()
    relay_wanted = _number()
    registers_wh = _text(200, "[]")
    read_t2000 = _number()
    untold = _number()
    standing_due = _number()

    class Meta:
        db_table = "accounts"
        indexes = (models.Index(fields=("concentrator",), name="accounts_concentrator"),)


class _Told(models.Model):
    """The common fields of rows that a concentrator's record about an account makes."""

    concentrator = _number(None)
    seq = _number(None)
    t2000 = _number(None)
    account = _account()

    class Meta:
        abstract = True
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "seq"), name="%(class)s_once"),
        )
        indexes = (models.Index(fields=("account", "t2000"), name="%(class)s_account"),)


class Standing(_Told):
    """A standing that was sent to a concentrator and taken over, or that it reported."""

    source = _number()
    order = _number()
    header_mac = _text(16)
    credit_fen = _number()
    debit_fen = _number()

    class Meta(_Told.Meta):
        db_table = "standings"


class TopUp(_Told):
    """Money that a device took: a purchase, or a refund, which is below 0.

    `books_fen` is the balance from all records before it, to be compared with the balance that the
    device reported.
    """

    order = _number()
    amount_fen = _number()
    credit_fen = _number()
    balance_fen = _number()
    books_fen = _number()
    uid = _text(16)
    source = _number()
    key_version = _number()
    repaid_fen = _number()
    header_mac = _text(16)

    class Meta(_Told.Meta):
        db_table = "top_ups"


class Relay(_Told):
    """A move of a relay that was intended or made."""

    desired = _number()
    stage = _number()
    reason = _number()
    status = _number()
    balance_fen = _number()

    class Meta(_Told.Meta):
        db_table = "relays"


class Policy(_Told):
    """A change of an account's state in the policy."""

    new = _number()
    old = _number()
    reason = _number()
    balance_fen = _number()

    class Meta(_Told.Meta):
        db_table = "policies"


class Alarm(_Told):
    """Other reports of a device: faults, refused cards, silent meters, starts, clock settings."""

    kind = _text(24)
    detail = models.TextField(db_default="{}")

    class Meta(_Told.Meta):
        db_table = "alarms"


class Quarantine(models.Model):
    """Records of a row that tell of an account which belongs to another concentrator.

    They change nothing of the account until a person moves it, or dismisses them.

    account              the account that they tell of
    meter                address of the row's meter at the first of them
    first_seq, last_seq  the first and the newest of them
    records, readings, payments
                         how many they are, and how many of them are readings and of money
    taken                1: they were posted to the account when it was moved
    """

    concentrator = _number(None)
    row = _number(None)
    account = _account()
    meter = _text(_ACCOUNT_DIGITS)
    first_seq = _number(None)
    last_seq = _number(None)
    records = _number()
    readings = _number()
    payments = _number()
    found_at = _number()
    resolved_at = _maybe()
    resolved_by = _text()
    resolution = _text(200)
    taken = _number()

    class Meta:
        db_table = "quarantine"
        constraints = (
            models.UniqueConstraint(
                fields=("concentrator", "row", "first_seq"), name="quarantine_once"
            ),
        )
        indexes = (models.Index(fields=("account",), name="quarantine_account"),)


class Finding(models.Model):
    """A difference that is open until a person has resolved it.

    `what` is JSON: a text of `host.words.marked`, and the values of its fields.
    """

    concentrator = _number(None)
    seq = _number(None)
    kind = _text(24)
    account = _text(_ACCOUNT_DIGITS)
    what = models.TextField()
    found_at = _number()
    resolved_at = _maybe()
    resolved_by = _text()
    resolution = _text(200)

    class Meta:
        db_table = "findings"
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "seq", "what"), name="findings_once"),
        )


class Order(models.Model):
    """A sale, or below 0 a refund, under the number of which an account redeems it.

    reference    of the program that made the list, null: none
    voided_at    when it was taken back: it does not count any more
    supersedes   the first order in the place of which it counts, 0: none
    """

    account = _account()
    order = _number(None)
    amount_fen = _number(None)
    sold_at = _number()
    cashier = _text()
    channel = _text(32, "counter")
    reference = models.CharField(max_length=64, null=True, unique=True)
    carded_at = _maybe()
    voided_at = _maybe()
    voided_by = _text()
    void_reason = _text(200)
    supersedes = _number()

    class Meta:
        db_table = "orders"
        constraints = (
            models.UniqueConstraint(
                fields=("account", "order"),
                condition=models.Q(voided_at__isnull=True),
                name="orders_once",
            ),
        )
        indexes = (models.Index(fields=("sold_at",), name="orders_sold_at"),)


class Package(models.Model):
    """A product for concentrators, which goes to them before they are told to try it.

    name     the beginning of the SHA-256 of its list of files, as FIRMWARE records have it
    files    the list, each file in its order, and the signature: JSON of base64
    """

    name = models.CharField(max_length=16, primary_key=True)
    version = _text()
    counter = _number()
    files = models.TextField(db_default="")

    class Meta:
        db_table = "packages"


class Product(models.Model):
    """What a concentrator has said of the product that it runs: a FIRMWARE record."""

    concentrator = _number(None)
    seq = _number(None)
    stage = _number()
    name = _text(16)
    version = _text()
    counter = _number()
    told_at = _number()

    class Meta:
        db_table = "products"
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "seq"), name="products_once"),
        )


class Job(models.Model):
    """Commands that were given together.

    stages      for a product: per cent of the concentrators that each stage reaches, "5,25,100"
    stage       the stage that is under way, from 0 on
    patience_s  within this time each has to report that the product is healthy
    why         of a job that was stopped by itself: "back" or "silent", and the concentrator
    """

    job = models.BigIntegerField(primary_key=True)
    name = _text()
    given_at = _number()
    given_by = _text()
    reason = _text(200)
    state = _text(16)
    stages = _text()
    stage = _number()
    patience_s = _number()
    why = _text(300)

    class Meta:
        db_table = "jobs"


class Command(models.Model):
    """A line of the console's language for a concentrator, and what became of it.

    number    above that of all commands before it to the same concentrator
    order     of the account that it credits, 0: none
    job       of its group, 0: none
    again     1: it was given again under another number
    image     of the tariff that it puts in force, as hexadecimal digits: it goes there before it
    package   that it puts on trial, and which goes there before it
    stage     of its job, in which it is sent
    """

    concentrator = _number(None)
    number = _number(None)
    account = _text(_ACCOUNT_DIGITS)
    order = _number()
    text = _text(300)
    job = _number()
    state = _text(16)
    answer = models.TextField(db_default="")
    given_at = _number()
    given_by = _text()
    reason = _text(200)
    expires_at = _number()
    sent_at = _maybe()
    ended_at = _maybe()
    again = _number()
    image = models.TextField(db_default="")
    stage = _number()
    package = _text(16)

    class Meta:
        db_table = "commands"
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "number"), name="commands_once"),
        )
        indexes = (
            models.Index(fields=("state",), name="commands_state"),
            models.Index(fields=("account",), name="commands_account"),
            models.Index(fields=("job",), name="commands_job"),
        )


class District(models.Model):
    """What one transformer feeds, with the station above it; `Feed` says which feeder feeds it.

    rated_kva       of its transformer, 0: not known
    target_e4       the most of what is supplied that may be lost, in hundredths of a per cent
    technical_e4    what of it is lost by wires and transformer as a person has entered it, null:
                    it is estimated
    """

    district = models.CharField(max_length=32, primary_key=True)
    name = _text(128)
    station = _text()
    rated_kva = _number()
    target_e4 = _number(930)
    technical_e4 = _maybe()

    class Meta:
        db_table = "districts"


class Feeder(models.Model):
    """A line of 10 kV that feeds districts; `target_e4` as of a district."""

    feeder = models.CharField(max_length=64, primary_key=True)
    name = _text(128)
    station = _text()
    target_e4 = _number(800)

    class Meta:
        db_table = "feeders"


class Feed(models.Model):
    """The days in which a feeder feeds a district, counted from 2000-01-01.

    until_day   the first on which it does not any more, null: it still does
    """

    district = models.CharField(max_length=32)
    feeder = models.CharField(max_length=64)
    since_day = _number(None)
    until_day = _maybe()

    class Meta:
        db_table = "feeds"
        constraints = (
            models.UniqueConstraint(fields=("district", "since_day"), name="feeds_once"),
        )
        indexes = (models.Index(fields=("feeder",), name="feeds_feeder"),)


class Connection(models.Model):
    """The days in which an account is on a district's line, as of `Feed`.

    phase       A, B, C or ABC, "": not known
    distance_m  along the line from the transformer, 0: not known
    """

    account = _account()
    district = models.CharField(max_length=32)
    phase = _text(3)
    distance_m = _number()
    since_day = _number(None)
    until_day = _maybe()

    class Meta:
        db_table = "connections"
        constraints = (
            models.UniqueConstraint(fields=("account", "since_day"), name="connections_once"),
        )
        indexes = (models.Index(fields=("district",), name="connections_district"),)


class SupplyMeter(models.Model):
    """The days in which a meter without a customer measures what a place is supplied with.

    account     under which its concentrator has it; nothing is ever sold to it
    level       "district": the sum meter of one, "feeder": a gate meter of one
    ct, pt      ratios of its transformers
    """

    account = _account()
    level = _text(16)
    place = _text(64)
    ct = _number(1)
    pt = _number(1)
    since_day = _number(None)
    until_day = _maybe()

    class Meta:
        db_table = "supply_meters"
        constraints = (
            models.UniqueConstraint(fields=("account", "since_day"), name="supply_meters_once"),
        )
        indexes = (models.Index(fields=("level", "place"), name="supply_meters_place"),)


class LoadGroup(models.Model):
    """The group of an account that gives up its supply in turn with the others of its district."""

    account = models.CharField(max_length=_ACCOUNT_DIGITS, primary_key=True)
    district = models.CharField(max_length=32)
    group = _number()

    class Meta:
        db_table = "load_groups"
        indexes = (models.Index(fields=("district",), name="load_groups_district"),)


class Shedding(models.Model):
    """A span in which groups of a district are without supply, see `host.headend.shedding`.

    groups       numbers with a comma between them
    notice_t2000 when the households were told, 0: the newest notice of each counts
    cut_job, restore_job
                 the jobs that were given for it, 0: none yet
    left_alone   JSON: how many accounts of the groups keep their supply, by the reason
    """

    shedding = models.BigIntegerField(primary_key=True)
    district = models.CharField(max_length=32)
    groups = _text()
    since_at = _number()
    until_at = _number()
    notice_t2000 = _number()
    state = _text(16)
    given_at = _number()
    given_by = _text()
    reason = _text(200)
    cut_job = _number()
    restore_job = _number()
    left_alone = models.TextField(db_default="{}")

    class Meta:
        db_table = "sheddings"
        indexes = (models.Index(fields=("state",), name="sheddings_state"),)


class Customer(models.Model):
    """A person or a business that buys; one may have several accounts.

    credit_class   A, B, C or D, "": none yet; the accounts have the grace of their class
    class_reason   why the class is another one than the rule says, "": it is the rule's
    """

    customer = models.CharField(max_length=32, primary_key=True)
    name = _text(128)
    phone = _text(32)
    address = _text(200)
    persons = _number()
    kind = _text(16, "resident")
    credit_class = _text(16)
    class_reason = _text(200)

    class Meta:
        db_table = "customers"
        indexes = (models.Index(fields=("name",), name="customers_name"),)


class Contract(models.Model):
    """An account of a customer, in the district that feeds it; `closed_at` null: it is open.

    room     what a landlord calls it, "": it is no room
    tariff   the number of the price that it is to have, 0: the register does not say
    """

    account = models.CharField(max_length=_ACCOUNT_DIGITS, primary_key=True)
    customer = models.CharField(max_length=32)
    district = _text(32)
    opened_at = _number()
    closed_at = _maybe()
    room = _text(32)
    tariff = _number()

    class Meta:
        db_table = "contracts"
        indexes = (models.Index(fields=("customer",), name="contracts_customer"),)


class Device(models.Model):
    """A meter of the ledger, and the account at which it is installed, "": at none.

    ct, pt                    ratios of its transformers as their plates have them, like 200/5 or
                              40, "": there is none, or only the product is known
    multiplier                current ratio times voltage ratio: what is billed
    installed, verified       days as YYYY-MM-DD, "": not known
    due, exchange_due         days by which it is to be verified and to be exchanged
    """

    address = models.CharField(max_length=_ACCOUNT_DIGITS, primary_key=True)
    account = _text(_ACCOUNT_DIGITS)
    type = _text()
    manufacturer = _text()
    multiplier = _number(1)
    installed = _text(10)
    verified = _text(10)
    due = _text(10)
    ct = _text(16)
    pt = _text(16)
    exchange_due = _text(10)

    class Meta:
        db_table = "devices"
        indexes = (models.Index(fields=("account",), name="devices_account"),)


class StagedEntry(models.Model):
    """A row of a list that is brought in parts and then taken at once into the register.

    list       a name that no other list has
    staged_at  when it was brought: what nobody takes is deleted after a while
    """

    list = _text(32)
    staged_at = _number()
    account = _account()
    customer = _text(32)
    name = _text(128)
    phone = _text(32)
    address = _text(200)
    persons = _number()
    kind = _text(16)
    credit_class = _text(16)
    district = _text(32)
    meter = _text(_ACCOUNT_DIGITS)
    ct = _text(16)
    pt = _text(16)
    multiplier = _number(1)
    type = _text()
    manufacturer = _text()
    installed = _text(10)
    verified = _text(10)
    due = _text(10)
    exchange_due = _text(10)
    tariff = _number()

    class Meta:
        db_table = "staged_entries"
        constraints = (
            models.UniqueConstraint(fields=("list", "account"), name="staged_entries_once"),
        )


class Refusal(models.Model):
    """Messages that were refused, by the number that each claimed to come from."""

    concentrator = _number(None)
    reason = _text(24)
    count = _number()
    last_at = _number()
    address = _text()

    class Meta:
        db_table = "refusals"
        constraints = (
            models.UniqueConstraint(fields=("concentrator", "reason"), name="refusals_once"),
        )


class Paper(models.Model):
    """An entry in the life of an account; it stays, and only a later one undoes it.

    amount_fen   the money that it moved outside of orders, as one that was written off
    undoes       the entry that this one takes back, 0: none
    detail       JSON: what was before, what is now, registers in Wh
    """

    account = _account()
    at = _number()
    kind = _text(24)
    by = _text()
    reason = _text(200)
    amount_fen = _number()
    undoes = _number()
    detail = models.TextField(db_default="{}")

    class Meta:
        db_table = "papers"
        indexes = (models.Index(fields=("account",), name="papers_account"),)


class Installation(models.Model):
    """A time in which a meter measured an account, with its registers at both ends in Wh."""

    account = _account()
    meter = _text(_ACCOUNT_DIGITS)
    multiplier = _number(1)
    since_at = _number()
    until_at = _maybe()
    first_wh = _text(200, "[]")
    last_wh = _text(200, "[]")

    class Meta:
        db_table = "installations"
        indexes = (
            models.Index(fields=("account",), name="installations_account"),
            models.Index(fields=("meter",), name="installations_meter"),
        )


class Card(models.Model):
    """A card that was handed out; `until_at` null: it is the one of its account."""

    uid = models.CharField(max_length=16, primary_key=True)
    account = _account()
    since_at = _number()
    until_at = _maybe()
    why = _text(200)

    class Meta:
        db_table = "cards"
        indexes = (models.Index(fields=("account",), name="cards_account"),)


class Approval(models.Model):
    """What a cashier asked a second person for; it is used once.

    what       "sale" or another action of money
    decision   "approved" or "refused", "": none yet
    """

    what = _text(24)
    account = _account()
    amount_fen = _number()
    asked_at = _number()
    asked_by = _text()
    reason = _text(200)
    decided_at = _maybe()
    decided_by = _text()
    decision = _text(16)
    used_at = _maybe()

    class Meta:
        db_table = "approvals"
        indexes = (models.Index(fields=("account",), name="approvals_account"),)


class Shift(models.Model):
    """A cashier's time at a drawer, from its opening to its count.

    float_fen       the cash in the drawer at the opening
    expected_fen    what the books say is in it at the close
    counted_fen     what was in it
    audit_digest    head of the audit log at the close
    """

    cashier = _text()
    opened_at = _number()
    float_fen = _number()
    closed_at = _maybe()
    closed_by = _text()
    expected_fen = _number()
    counted_fen = _number()
    reason = _text(200)
    handed_to = _text()
    audit_digest = _text()

    class Meta:
        db_table = "shifts"
        constraints = (
            models.UniqueConstraint(
                fields=("cashier",),
                condition=models.Q(closed_at__isnull=True),
                name="shifts_once",
            ),
        )


class CashMove(models.Model):
    """Cash that went into a drawer, or below 0 out of it, beside that of sales.

    order    of the refund that was paid out, 0: none
    """

    shift = _number()
    at = _number()
    by = _text()
    kind = _text(24)
    amount_fen = _number()
    account = _text(_ACCOUNT_DIGITS)
    order = _number()
    reason = _text(200)

    class Meta:
        db_table = "cash_moves"
        constraints = (
            models.UniqueConstraint(
                fields=("account", "order"),
                condition=models.Q(order__gt=0),
                name="cash_moves_once",
            ),
        )
        indexes = (models.Index(fields=("shift",), name="cash_moves_shift"),)


class Audit(models.Model):
    """An action that moved money or a relay, or changed who may; none is changed or deleted.

    door     through which it came: cli, page, lease
    digest   SHA-256 over the entry before and this one
    """

    number = models.BigIntegerField(primary_key=True)
    at = _number()
    door = _text(16)
    person = _text()
    action = _text(32)
    account = _text(_ACCOUNT_DIGITS)
    amount_fen = _number()
    detail = models.TextField(db_default="{}")
    digest = _text()

    class Meta:
        db_table = "audit"
        indexes = (models.Index(fields=("account",), name="audit_account"),)


class Lease(models.Model):
    """Order numbers that a counter without a network sells under until it is back.

    quota_fen     the most that it sells
    sold_fen      what it has sold, once it is back
    counted_fen   the cash that it brought
    digest        head of its log at its return
    laptop        code of the computer on which alone its file sells
    reason        why it brought another sum than it sold
    """

    lease = models.BigIntegerField(primary_key=True)
    counter = _text()
    quota_fen = _number()
    leased_at = _number()
    leased_by = _text()
    expires_at = _number()
    state = _text(16)
    ended_at = _maybe()
    ended_by = _text()
    sold_fen = _number()
    counted_fen = _number()
    digest = _text()
    laptop = _text(32)
    reason = _text(200)

    class Meta:
        db_table = "leases"


class LeasedOrder(models.Model):
    """The numbers of an account that belong to a lease, and to no other while it is out."""

    lease = _number(None)
    account = _account()
    first_order = _number(None)
    last_order = _number(None)

    class Meta:
        db_table = "leased_orders"
        constraints = (
            models.UniqueConstraint(fields=("lease", "account"), name="leased_orders_once"),
        )
        indexes = (models.Index(fields=("account",), name="leased_orders_account"),)


class Tenancy(models.Model):
    """A time in which a tenant lives in a room, with the books of its account at both ends.

    order    that settles the balance at the end, 0: none was needed
    """

    tenancy = models.BigIntegerField(primary_key=True)
    account = _account()
    name = _text(128)
    phone = _text(32)
    since_at = _number()
    until_at = _maybe()
    opened_by = _text()
    closed_by = _text()
    first_wh = _text(200, "[]")
    last_wh = _text(200, "[]")
    first_credit_fen = _number()
    first_debit_fen = _number()
    last_credit_fen = _number()
    last_debit_fen = _number()
    order = _number()

    class Meta:
        db_table = "tenancies"
        constraints = (
            models.UniqueConstraint(
                fields=("account",),
                condition=models.Q(until_at__isnull=True),
                name="tenancies_once",
            ),
        )
        indexes = (models.Index(fields=("account",), name="tenancies_account"),)


class DepositMove(models.Model):
    """Money of a tenant's deposit: taken, above 0, set off against a debt, or returned."""

    tenancy = _number(None)
    at = _number()
    by = _text()
    kind = _text(24)
    amount_fen = _number()
    reason = _text(200)

    class Meta:
        db_table = "deposit_moves"
        indexes = (models.Index(fields=("tenancy",), name="deposit_moves_tenancy"),)


class Ticket(models.Model):
    """Work that an alarm asks for.

    kind, key  of its alarm: a kind of finding and its number, or silent and the concentrator
    account    "": it is no household's
    priority   1: at once, 2: soon, 3: later
    who        does it, "": nobody yet
    done       what was done; parts: what was put in; outcome: how it ended
    batch      of devices that are due: what their batch is called, "": it is of none
    """

    ticket = models.BigIntegerField(primary_key=True)
    kind = _text(24)
    key = _text(32)
    account = _text(_ACCOUNT_DIGITS)
    concentrator = _number()
    place = _text(200)
    what = _text(500)
    priority = _number(3)
    opened_at = _number()
    opened_by = _text()
    due_at = _number()
    who = _text()
    closed_at = _maybe()
    closed_by = _text()
    done = _text(500)
    parts = _text(200)
    outcome = _text(16)
    batch = _text()

    class Meta:
        db_table = "tickets"
        constraints = (
            models.UniqueConstraint(
                fields=("kind", "key"),
                condition=models.Q(closed_at__isnull=True),
                name="tickets_once",
            ),
        )
        indexes = (models.Index(fields=("closed_at",), name="tickets_closed"),)


class MonthFigures(models.Model):
    """The figures of a month, YYYY-MM, as its report told them first.

    Later reports compare with them: what is overdue is not known afterwards, and readings may have
    been deleted by then.
    """

    month = models.CharField(max_length=7, primary_key=True)
    figures = models.TextField(db_default="{}")
    kept_at = _number()

    class Meta:
        db_table = "month_figures"


class User(models.Model):
    """A person who signs in at the pages.

    role         what this person may do: a name of `host.headend.users.ROLES`
    password     its hash by argon2, with its salt
    closed_at    when the name was taken away, null: it may sign in
    """

    user = models.CharField(max_length=64, primary_key=True)
    role = _text(16)
    password = _text(200)
    made_at = _number()
    closed_at = _maybe()

    class Meta:
        db_table = "users"


class Session(models.Model):
    """A person who is signed in; `token` is the hash of what the browser has."""

    token = models.CharField(max_length=64, primary_key=True)
    user = _text()
    begun_at = _number()
    seen_at = _number()

    class Meta:
        db_table = "sessions"
        indexes = (models.Index(fields=("user",), name="sessions_user"),)


class SignInTry(models.Model):
    """Attempts to sign in under a name or from an address that have failed one after another."""

    place = models.CharField(max_length=100, primary_key=True)
    failures = _number()
    last_at = _number()

    class Meta:
        db_table = "sign_in_tries"


class Channel(models.Model):
    """A program that sells for the station: a bank, a shop's POS, a machine, a provider.

    rights          what it may do, separated by blanks
    secret          the key of its signatures, as hexadecimal digits
    settings        the file of a provider's numbers and keys, "": it has none
    sale_limit_fen, day_limit_fen
                    the most of one sale, and of all its sales of a day
    """

    channel = models.CharField(max_length=20, primary_key=True)
    kind = _text(16)
    rights = _text(100)
    secret = _text(64)
    settings = _text(300)
    sale_limit_fen = _number()
    day_limit_fen = _number()
    made_at = _number()
    stopped_at = _maybe()
    why = _text(200)

    class Meta:
        db_table = "channels"


class ChannelNonce(models.Model):
    """A nonce that a channel has used, with the moment that its call has told."""

    channel = models.CharField(max_length=20)
    nonce = models.CharField(max_length=64)
    at = _number()

    class Meta:
        db_table = "channel_nonces"
        constraints = (
            models.UniqueConstraint(fields=("channel", "nonce"), name="channel_nonces_once"),
        )
        indexes = (models.Index(fields=("at",), name="channel_nonces_at"),)


class ChannelCall(models.Model):
    """The answer of a call that has changed something, for whoever repeats it.

    digest   SHA-256 of method, path and body
    """

    channel = models.CharField(max_length=20)
    key = models.CharField(max_length=64)
    digest = _text(64)
    at = _number()
    answer = models.TextField(db_default="{}")

    class Meta:
        db_table = "channel_calls"
        constraints = (
            models.UniqueConstraint(fields=("channel", "key"), name="channel_calls_once"),
        )


class ChannelCancel(models.Model):
    """A reference under which nothing is sold: it was cancelled before the sale arrived."""

    reference = models.CharField(max_length=64, primary_key=True)
    account = _account()
    amount_fen = _number()
    at = _number()

    class Meta:
        db_table = "channel_cancels"


class Payment(models.Model):
    """A payment at a provider, from its beginning to its sale.

    reference     ours, which the provider repeats
    provider_id   the provider's, "": it has told of none
    paid_fen      what the provider says was paid
    order         of the sale, 0: nothing is sold
    code          what the payer scans or opens, "": the provider has taken nothing yet
    asked_at      when the provider was asked last what became of it
    """

    reference = models.CharField(max_length=32, primary_key=True)
    channel = models.CharField(max_length=20)
    account = _account()
    amount_fen = _number()
    begun_at = _number()
    expires_at = _number()
    state = _text(16)
    provider_id = _text()
    paid_fen = _number()
    paid_at = _maybe()
    order = _number()
    why = _text(200)
    code = _text(600)
    asked_at = _number()

    class Meta:
        db_table = "payments"
        indexes = (
            models.Index(fields=("account",), name="payments_account"),
            models.Index(fields=("channel", "state"), name="payments_state"),
        )
        constraints = (
            models.UniqueConstraint(
                condition=~models.Q(provider_id=""),
                fields=("channel", "provider_id"),
                name="payments_once",
            ),
        )


class StatementLine(models.Model):
    """A line of a provider's statement; `matched` 1: our payment says the same."""

    channel = models.CharField(max_length=20)
    provider_id = models.CharField(max_length=64)
    reference = _text(64)
    amount_fen = _number()
    day = _text(10)
    matched = _number()
    taken_at = _number()

    class Meta:
        db_table = "statement_lines"
        constraints = (
            models.UniqueConstraint(
                fields=("channel", "provider_id"), name="statement_lines_once"
            ),
        )
        indexes = (models.Index(fields=("channel", "day"), name="statement_lines_day"),)


class RechargeBatch(models.Model):
    """Scratch cards of one value that were printed together."""

    batch = _number(None, primary_key=True)
    amount_fen = _number()
    count = _number()
    made_at = _number()
    expires_at = _number()
    blocked_at = _maybe()
    why = _text(200)

    class Meta:
        db_table = "recharge_batches"


class RechargeCard(models.Model):
    """A scratch card; `code_hash` is all that is kept of its code.

    sold_to   the channel or person that sold it, "": it is not sold yet
    order     of the sale for which it was redeemed, 0: it is not
    """

    serial = models.CharField(max_length=16, primary_key=True)
    batch = _number(None)
    code_hash = models.CharField(max_length=64, unique=True)
    sold_at = _maybe()
    sold_to = _text()
    blocked_at = _maybe()
    why = _text(200)
    redeemed_at = _maybe()
    account = _text(_ACCOUNT_DIGITS)
    order = _number()

    class Meta:
        db_table = "recharge_cards"
        indexes = (models.Index(fields=("batch",), name="recharge_cards_batch"),)


class Outage(models.Model):
    """A planned outage of a place.

    level       what the place is: a district, a feeder, a concentrator, or the whole station
    changed     how often place, time or reason were changed, so that those concerned hear again
    told        how many notices were made
    ended_at    when it was closed or called off, null: it is planned or under way
    state       planned, done or called off
    """

    level = _text(16)
    place = _text(64)
    since_at = _number()
    until_at = _number()
    reason = _text(200)
    entered_at = _number()
    entered_by = _text()
    changed = _number()
    told = _number()
    state = _text(16)
    ended_at = _maybe()
    ended_by = _text()
    resolution = _text(200)

    class Meta:
        db_table = "outages"
        indexes = (models.Index(fields=("ended_at",), name="outages_ended"),)


class Complaint(models.Model):
    """What a person has complained of; `closed_at` null: it is open.

    account    of the household, "": of none
    contact    how to reach the person, a personal datum
    reopened   how often it was opened again
    """

    account = _text(_ACCOUNT_DIGITS)
    place = _text(200)
    kind = _text(24)
    what = _text(500)
    contact = _text(128)
    entered_at = _number()
    by = _text()
    due_at = _number()
    closed_at = _maybe()
    closed_by = _text()
    resolution = _text(300)
    reopened = _number()

    class Meta:
        db_table = "complaints"
        indexes = (
            models.Index(fields=("closed_at",), name="complaints_closed"),
            models.Index(fields=("account",), name="complaints_account"),
        )


class Retention(models.Model):
    """How long a kind of personal data is kept at this station, where that was changed."""

    kind = models.CharField(max_length=24, primary_key=True)
    days = _number()

    class Meta:
        db_table = "retentions"


class Notice(models.Model):
    """What a household is to be told, once for each event, and what became of it.

    event      the event that it is about; one kind of notice of it is made once
    told       JSON: the values of the text
    title, text
               as it was sent, "": it was not sent yet, or the text is not kept
    due_at     not before this moment
    tries_before
               tries up to this number do not count: it is to be sent again
    rounds     how often all ways have failed one after another
    sent_at    when the newest try began
    way        the way by which it arrived
    proves     1: that it arrived counts for a cut
    """

    kind = _text(16)
    event = _text(80)
    account = _account()
    told = models.TextField(db_default="{}")
    language = _text(2)
    title = _text(100)
    text = models.TextField(db_default="")
    state = _text(16)
    made_at = _number()
    made_by = _text()
    due_at = _number()
    tries_before = _number()
    rounds = _number()
    sent_at = _maybe()
    ended_at = _maybe()
    way = _text(32)
    proves = _number()
    why = _text(200)

    class Meta:
        db_table = "notices"
        constraints = (
            models.UniqueConstraint(fields=("kind", "event", "account"), name="notices_once"),
        )
        indexes = (
            models.Index(fields=("account", "sent_at"), name="notices_account"),
            models.Index(fields=("state", "due_at"), name="notices_state"),
        )


class NoticeTry(models.Model):
    """One sending of a notice by one way; it is noted before it begins.

    outcome   "": it has begun, and nothing is known of its end
    """

    notice = _number(None)
    way = _text(32)
    begun_at = _number()
    ended_at = _maybe()
    outcome = _text(16)
    said = _text(200)

    class Meta:
        db_table = "notice_tries"
        indexes = (models.Index(fields=("notice",), name="notice_tries_notice"),)


class NoticeChoice(models.Model):
    """How a household wants its notices; `refused` are kinds that it does not want."""

    account = models.CharField(max_length=_ACCOUNT_DIGITS, primary_key=True)
    email = _text(100)
    language = _text(2)
    refused = _text(200)
    changed_at = _number()

    class Meta:
        db_table = "notice_choices"


class NoticeMark(models.Model):
    """Up to where the events of a source have been looked at."""

    source = models.CharField(max_length=32, primary_key=True)
    mark = _number()

    class Meta:
        db_table = "notice_marks"


class HouseholdLink(models.Model):
    """The links to a household's page count from this generation on."""

    account = models.CharField(max_length=_ACCOUNT_DIGITS, primary_key=True)
    generation = _number()
    changed_at = _number()
    why = _text(200)

    class Meta:
        db_table = "household_links"


class HouseholdCode(models.Model):
    """A code that was sent to a household, with which its page opens once."""

    account = models.CharField(max_length=_ACCOUNT_DIGITS, primary_key=True)
    digest = _text(64)
    made_at = _number()
    failures = _number()

    class Meta:
        db_table = "household_codes"


class _Unmanaged(models.Model):
    """A table that a migration makes by plain SQL."""

    concentrator = _number(None)
    seq = _number(None)

    class Meta:
        abstract = True
        managed = False


class Record(_Unmanaged):
    """A record as it came; other rows are derived from it in the same transaction."""

    pk = models.CompositePrimaryKey("concentrator", "seq")
    t2000 = _number(None)
    kind = _number(None)
    flags = _number(None)
    row = _number(None)
    payload = models.BinaryField()
    received_at = _number(None)

    class Meta(_Unmanaged.Meta):
        db_table = "records"


class Reading(_Unmanaged):
    """Registers and books of a meter at a time."""

    pk = models.CompositePrimaryKey("day", "meter", "t2000", "concentrator")
    day = _number(None)
    meter = _text(_ACCOUNT_DIGITS)
    t2000 = _number(None)
    account = _account()
    debit_fen = _number(None)
    residue_e7 = _number(None)
    residue_e11 = _number(None)
    status = _number(None)
    used_wh = _number(None)
    registers_wh = models.TextField()

    class Meta(_Unmanaged.Meta):
        db_table = "readings"


class Freeze(_Unmanaged):
    """Registers as a meter froze them at midnight."""

    pk = models.CompositePrimaryKey("day", "meter", "t2000", "concentrator")
    day = _number(None)
    meter = _text(_ACCOUNT_DIGITS)
    t2000 = _number(None)
    account = _account()
    registers_wh = models.TextField()

    class Meta(_Unmanaged.Meta):
        db_table = "freezes"


class Item(_Unmanaged):
    """A meter's values beside its registers, in units of the lowest digit, null: no value."""

    pk = models.CompositePrimaryKey("day", "meter", "t2000", "concentrator", "identifier")
    day = _number(None)
    meter = _text(_ACCOUNT_DIGITS)
    t2000 = _number(None)
    identifier = _text(8)
    account = _account()
    values = models.TextField()

    class Meta(_Unmanaged.Meta):
        db_table = "items"
