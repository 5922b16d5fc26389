"""A journal read as one household's account, each deduction explained and computed again.

The device's figures come from its records, ours from `Account` and the tariff files; they must be
the same to 1e-11 yuan. After a difference the device's figure counts, so that each is told once.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from host.billing.pricing import Account, HouseholdError, Line, Period, Span, continues
from host.frames.faults import RESUMED_FROM, fault_text
from host.frames.record import Record, RecordKind
from host.frames.tariff import build, image_name
from host.frames.tariff_terms import TariffFile
from host.units import to_datetime, unwrapped_fen
from host.words import _, marked

READING = marked("reading")
_JOINED = 1
_READINGS_BACK = 5  # as many as the device looks back over
_SOURCE_NEW = 2  # of a STANDING: the account has bought nothing anywhere


class StatementError(Exception):
    """The journal cannot be explained; the text says what is missing."""


@dataclass(frozen=True)
class Entry:
    """What one record did. `lines` are the charge of a reading; `balance_yuan` may be unknown."""

    seq: int
    moment: datetime
    kind: str
    lines: list[Line] = field(default_factory=list)
    charged_yuan: Fraction = Fraction(0)
    paid_yuan: Fraction = Fraction(0)
    balance_yuan: Fraction | None = None
    note: str = ""
    tariff: TariffFile | None = None
    returned_yuan: Fraction = Fraction(0)


@dataclass(frozen=True)
class _Before:
    """The account after one reading, as a later one may be charged anew from there."""

    registers_wh: tuple[int, ...]
    debit_yuan: Fraction
    engine: Account


@dataclass
class Statement:
    """All entries of an account in order; `readings` were computed again, `differences` told."""

    account: str
    entries: list[Entry] = field(default_factory=list)
    readings: int = 0
    differences: list[str] = field(default_factory=list)


class Explainer:
    """Takes records in order. `row` and `number` help where METER records are gone."""

    def __init__(
        self,
        account: str,
        tariffs: Sequence[TariffFile],
        row: int | None = None,
        number: int | None = None,
    ) -> None:
        self.statement = Statement(account)
        self._tariffs = tariffs
        self._names: dict[int, str] = {}
        self._found: dict[tuple[int, str], TariffFile] = {}
        self._row = row
        self._number = number
        self._meter: dict[str, object] = {}
        self._household = 0
        self._multiplier = 1
        self._engine: Account | None = None
        self._registers_wh = [0] * 8
        self._count = 0
        self._anew = True
        # The QUOTA record of the reading or the change of household at hand.
        self._quota: Record | None = None
        self._changed = False
        # The CORRECTION of the reading at hand; what it may go back to, the newest last.
        self._correction: Record | None = None
        self._before: list[_Before] = []
        self._told = False
        self._debit_yuan = Fraction(0)
        self._credit_yuan: Fraction | None = None

    def explain(self, records: Iterable[Record]) -> Statement:
        """Explain `records`; StatementError when there is nothing of the account."""
        for record in records:
            if record.kind == RecordKind.TARIFF:
                self._names[record.fields["number"]] = record.fields["sha256"]
            elif record.kind == RecordKind.METER:
                self._apply_meter(record)
            elif record.kind == RecordKind.PLAN and not record.fields["from_t2000"]:
                if record.index == self._row:
                    self._number = record.fields["tariff"]
                    note = _("tariff {number} from here on").format(number=self._number)
                    self._add(record, marked("tariff"), note=note)
            elif record.index == self._row and record.kind in _TAKERS:
                _TAKERS[RecordKind(record.kind)](self, record)
        if not self.statement.entries:
            if self._row is None:
                raise StatementError(
                    _(
                        "no meter of account {account}: check the number, or name its row with "
                        "--row and its tariff with --number"
                    ).format(account=self.statement.account)
                )
            raise StatementError(
                _("nothing happened to account {account}").format(account=self.statement.account)
            )
        return self.statement

    def _apply_meter(self, record: Record) -> None:
        fields = record.fields
        if fields["account"] != self.statement.account:
            return
        if not fields["active"]:
            self._add(record, marked("meter removed"))
            return
        changed = self._row is not None and fields["address"] != self._meter.get("address")
        if self._meter and changed:
            self._anew = True
        self._row = record.index
        self._number = fields["tariff"]
        self._meter = dict(fields)
        note = _("{address}, tariff {tariff}").format(
            address=fields["address"], tariff=fields["tariff"]
        )
        self._add(record, marked("meter"), note=note)

    def _apply_reading(self, record: Record) -> None:
        fields = record.fields
        moment = moment_of(record)
        tariff = self._tariff()
        count = 1 if tariff.clock_tells_rate else len(tariff.rates)
        registers_wh = fields["registers_wh"][:count]
        # Another tariff that reads other registers begins them anew, as the device does.
        self._anew |= count != self._count > 0
        self._count = count
        engine = self._engine_for(tariff)
        lines: list[Line] = []
        note = ""
        if engine.moment is None:
            # The journal's first reading is where the explanation starts.
            engine.start(moment, registers_wh)
            # Whether it was opened just then, its QUOTA record says.
            engine.months, engine.spans = 0, []
            self._adopt_quota(engine)
            engine.used_wh = fields["used_wh"]
            self._debit_yuan = _debit_yuan(fields, 0)
            note = _("start")
        elif self._told:
            # The account stays where it is, but for its registers.
            engine.registers_wh = list(registers_wh)
            engine.moment = max(engine.moment, moment)
            note = _("registers told")
        elif self._anew:
            engine.start(moment, registers_wh)
            note = _("new start of the registers")
        elif self._correction is not None:
            self._correct(record, tariff, moment, registers_wh)
            return
        else:
            engine.registers_wh = self._registers_wh[:count]
            lines = engine.read(moment, registers_wh)
            self.statement.readings += 1
        if self._anew or self._told or not engine.moment:
            self._before = []
        self._anew = self._told = False
        self._registers_wh[:count] = registers_wh
        charged_yuan = sum((line.yuan for line in lines), Fraction(0))
        debit_yuan = _debit_yuan(fields, self._debit_yuan + charged_yuan)
        self._compare(record, _("debit"), debit_yuan, self._debit_yuan + charged_yuan)
        self._compare(record, _("used kWh"), _kwh(fields["used_wh"]), _kwh(engine.used_wh))
        engine.used_wh = fields["used_wh"]
        self._compare_quota(engine)
        self._debit_yuan = debit_yuan
        self._keep(engine, registers_wh)
        self._add(record, READING, lines=lines, charged_yuan=charged_yuan, note=note)

    def _keep(self, engine: Account, registers_wh: Sequence[int]) -> None:
        """Note the account after a reading."""
        kept = Account(engine.calendar.tariff, engine.household, engine.multiplier)
        kept.go_on_from(engine)
        one = _Before(tuple(registers_wh), self._debit_yuan, kept)
        self._before = [*self._before[1 - _READINGS_BACK :], one]

    def _correct(
        self, record: Record, tariff: TariffFile, moment: datetime, registers_wh: list[int]
    ) -> None:
        """Charge a reading anew from before registers that were too high; the rest goes back."""
        correction, self._correction = self._correction, None
        fields, returned_fen = record.fields, correction.fields["amount_fen"] if correction else 0
        returned_yuan = Fraction(returned_fen, 100)
        fits = [one for one in self._before[:-1] if continues(registers_wh, one.registers_wh)]
        debit_yuan = _debit_yuan(fields, self._debit_yuan)
        if not fits:
            self._differ(record, _("no reading that it can go on from"))
            self._debit_yuan = debit_yuan
            return
        before = fits[-1]
        engine = Account(tariff, self._household, self._multiplier)
        engine.go_on_from(before.engine)
        engine.registers_wh = list(before.registers_wh)
        # A clock that was set back does not move the account's own time.
        latest = self._engine.moment if self._engine else None
        lines = engine.read(max(moment, latest or moment), registers_wh)
        self._engine = engine
        self.statement.readings += 1
        charged_yuan = sum((line.yuan for line in lines), Fraction(0))
        ours_yuan = before.debit_yuan + charged_yuan
        self._compare(record, _("corrected debit"), debit_yuan - returned_yuan, ours_yuan)
        self._compare(record, _("used kWh"), _kwh(fields["used_wh"]), _kwh(engine.used_wh))
        engine.used_wh = fields["used_wh"]
        self._compare_quota(engine)
        if self._credit_yuan is not None:
            self._credit_yuan += returned_yuan
            near_fen = int(self._credit_yuan * 100)
            told_fen = unwrapped_fen(
                correction.fields["credit_fen"] if correction else 0, near_fen
            )
            self._compare(record, _("credit"), Fraction(told_fen, 100), self._credit_yuan)
        self._debit_yuan = debit_yuan
        self._registers_wh[: len(registers_wh)] = registers_wh
        kwh = decimals(_kwh(correction.fields["energy_wh"] if correction else 0))
        note = _("{kwh} kWh were too much, {yuan} yuan put back").format(
            kwh=kwh, yuan=decimals(returned_yuan)
        )
        # As the device: nothing goes back behind a correction.
        self._before = []
        self._keep(engine, registers_wh)
        self._add(record, marked("correction"), note=note, returned_yuan=returned_yuan)

    def _apply_correction(self, record: Record) -> None:
        self._correction = record

    def _compare(self, record: Record, what: str, device: Fraction, ours: Fraction) -> None:
        if device != ours:
            self._differ(
                record,
                _("{what} {device}, recomputed {ours}").format(
                    what=what, device=decimals(device), ours=decimals(ours)
                ),
            )

    def _differ(self, record: Record, what: str) -> None:
        self.statement.differences.append(
            _("record {seq}, {moment}: {what}").format(
                seq=record.seq, moment=moment_of(record), what=what
            )
        )

    def _apply_quota(self, record: Record) -> None:
        fields = record.fields
        self._quota = record
        engine = self._engine
        if record.flags & _JOINED or engine is None or engine.moment is None:
            return
        if self._changed:
            self._compare_quota(engine)
            return
        engine.used_wh = fields["used_wh"]
        engine.period = period_of(fields["period"])
        self._adopt_quota(engine)
        used = decimals(_kwh(fields["used_wh"]))
        note = _("{used} kWh used, {quota}").format(used=used, quota=_quota_text(fields["quota"]))
        self._add(record, marked("tier period"), note=note)

    def _compare_quota(self, engine: Account) -> None:
        """Compare what the device wrote of quota and free energy with our own."""
        record = self._quota
        if record is not None:
            months, spans = spans_of(record.fields["quota"], self._household)
            free_wh = record.fields["free"] & 0xFFFFF
            if (months, spans) != (engine.months, engine.spans):
                ours = sum(span.months for span in engine.spans)
                self._differ(
                    record,
                    _("{quota}, recomputed {ours}/{months}").format(
                        quota=_quota_text(record.fields["quota"]), ours=ours, months=engine.months
                    ),
                )
            self._compare(record, _("free kWh"), _kwh(free_wh), _kwh(engine.free_wh))
            self._adopt_quota(engine)

    def _adopt_quota(self, engine: Account) -> None:
        """Go on with what the device wrote."""
        record = self._quota
        if record is not None:
            engine.months, engine.spans = spans_of(record.fields["quota"], self._household)
            engine.free_wh = record.fields["free"] & 0xFFFFF
        self._quota = None
        self._changed = False

    def _engine_for(self, tariff: TariffFile) -> Account:
        """Return the account as it stands, under `tariff`."""
        engine = self._engine
        if engine is None or engine.calendar.tariff is not tariff:
            fresh = Account(tariff, self._household, self._multiplier)
            if engine is not None:
                fresh.go_on_from(engine)
            self._engine = engine = fresh
        engine.household, engine.multiplier = self._household, self._multiplier
        return engine

    def _tariff(self) -> TariffFile:
        """Return the file whose image is in force for the account."""
        number = self._number
        if number is None:
            if len(self._tariffs) == 1:
                return self._tariffs[0]
            raise StatementError(_("name the number of the account's tariff with --number"))
        name = self._names.get(number)
        if name is None:
            if len(self._tariffs) == 1:
                return self._tariffs[0]
            raise StatementError(
                _(
                    "the journal does not say which image tariff {number} is: give one "
                    "--tariff only"
                ).format(number=number)
            )
        if (number, name) not in self._found:
            made = [one for one in self._tariffs if image_name(build(one, number)) == name]
            if not made:
                raise StatementError(
                    _(
                        "no tariff file makes image {name} of tariff {number}: add it with "
                        "--tariff"
                    ).format(name=name, number=number)
                )
            self._found[number, name] = made[0]
        return self._found[number, name]

    def _apply_top_up(self, record: Record) -> None:
        fields = record.fields
        amount_yuan = Fraction(fields["amount_fen"], 100)
        refunds = record.kind == RecordKind.REFUND
        if refunds:
            amount_yuan = -amount_yuan
        if self._credit_yuan is not None:
            credit_yuan = self._credit_yuan + amount_yuan
            told_fen = unwrapped_fen(fields["credit_fen"], int(credit_yuan * 100))
            self._compare(record, _("credit"), Fraction(told_fen, 100), credit_yuan)
        # Balances stay within half of what counts of money can tell apart.
        near_fen = int(self._debit_yuan * 100)
        self._credit_yuan = Fraction(unwrapped_fen(fields["credit_fen"], near_fen), 100)
        note = _("order {order}").format(order=fields["order"])
        repaid_yuan = Fraction(fields["repaid_fen"], 100)
        if repaid_yuan:
            self._debit_yuan += repaid_yuan
            self._before = [
                _Before(one.registers_wh, one.debit_yuan + repaid_yuan, one.engine)
                for one in self._before
            ]
            note += _(", {yuan} yuan to the debt").format(yuan=decimals(repaid_yuan))
        if self._engine is not None:
            balance_fen = self._credit_yuan * 100 - self._debit_yuan * 100 // 1
            stated_fen = Fraction(fields["balance_fen"])
            self._compare(record, _("balance fen"), stated_fen, balance_fen)
        kind = marked("refund") if refunds else marked("top-up")
        self._add(record, kind, paid_yuan=amount_yuan, note=note)

    def _apply_standing(self, record: Record) -> None:
        """Go on from what was told of the account."""
        fields = record.fields
        self._household = fields["household"]
        self._multiplier = fields["multiplier"] or 1
        self._number = fields["tariff"] or self._number
        self._debit_yuan = _debit_yuan(fields, self._debit_yuan)
        near_fen = int(self._debit_yuan * 100)
        self._credit_yuan = Fraction(unwrapped_fen(fields["credit_fen"], near_fen), 100)
        note = _("a new account")
        if fields["source"] != _SOURCE_NEW:
            note = _("told: order {order}").format(order=fields["order"])
        self._add(record, marked("standing"), note=note)

    def _apply_standing_registers(self, record: Record) -> None:
        fields = record.fields
        self._anew = not fields["read_t2000"]
        if self._anew:
            return
        tariff = self._tariff()
        self._count = 1 if tariff.clock_tells_rate else len(tariff.rates)
        self._registers_wh = list(fields["registers_wh"])
        engine = self._engine_for(tariff)
        engine.start(to_datetime(fields["read_t2000"]), self._registers_wh[: self._count])

    def _apply_account(self, record: Record) -> None:
        fields = record.fields
        if self._engine is not None and self._engine.moment is not None:
            # Where the device took it and we would not, its figures go on.
            with suppress(HouseholdError):
                self._engine.change_household(fields["household"], moment_of(record))
        self._changed = bool(record.flags & _JOINED)
        self._household = fields["household"]
        self._multiplier = fields["multiplier"] or 1
        debt = decimals(Fraction(fields["debt_fen"], 100))
        note = _("household {household}, grade {grade}, debt {debt} yuan").format(
            household=self._household, grade=fields["grade"], debt=debt
        )
        if self._multiplier > 1:
            note += _(", CT x PT {multiplier}").format(multiplier=self._multiplier)
        self._add(record, marked("terms"), note=note)

    def _apply_plan(self, record: Record) -> None:
        fields = record.fields
        note = str(fields["tariff"])
        if fields["from_t2000"]:
            note = _("{tariff} from {moment}").format(
                tariff=note, moment=to_datetime(fields["from_t2000"])
            )
        else:
            self._number = fields["tariff"]
        self._add(record, marked("tariff"), note=note)

    def _apply_fault(self, record: Record) -> None:
        reason = record.fields["reason"]
        if record.fields["stopped"]:
            self._add(record, marked("billing stopped"), note=fault_text(reason))
        elif reason > RESUMED_FROM:
            self._add(record, marked("readings in doubt"), note=fault_text(reason))
        else:
            self._told = reason == RESUMED_FROM
            self._add(record, marked("billing resumed"))

    def _apply_rollover(self, record: Record) -> None:
        used = decimals(_kwh(record.fields["used_wh"]))
        period = period_of(record.fields["new_period"])
        note = _("{used} kWh in the one before; ").format(used=used)
        if period:
            note += _("began {start}").format(start=period.start)
        else:
            note += _("there is none any more")
        self._add(record, marked("tier period"), note=note)

    def _add(
        self,
        record: Record,
        kind: str,
        lines: list[Line] | None = None,
        charged_yuan: Fraction = Fraction(0),
        paid_yuan: Fraction = Fraction(0),
        note: str = "",
        returned_yuan: Fraction = Fraction(0),
    ) -> None:
        balance_yuan = None
        if self._credit_yuan is not None and self._engine is not None:
            balance_yuan = self._credit_yuan - self._debit_yuan
        self.statement.entries.append(
            Entry(
                record.seq,
                moment_of(record),
                kind,
                lines or [],
                charged_yuan,
                paid_yuan,
                balance_yuan,
                note,
                self._engine.calendar.tariff if self._engine else None,
                returned_yuan,
            )
        )


_TAKERS = {
    RecordKind.READING: Explainer._apply_reading,
    RecordKind.TOP_UP: Explainer._apply_top_up,
    RecordKind.REFUND: Explainer._apply_top_up,
    RecordKind.PLAN: Explainer._apply_plan,
    RecordKind.ACCOUNT: Explainer._apply_account,
    RecordKind.FAULT: Explainer._apply_fault,
    RecordKind.ROLLOVER: Explainer._apply_rollover,
    RecordKind.QUOTA: Explainer._apply_quota,
    RecordKind.STANDING: Explainer._apply_standing,
    RecordKind.STANDING_REGISTERS: Explainer._apply_standing_registers,
    RecordKind.CORRECTION: Explainer._apply_correction,
}


def period_of(period_t2000: int) -> Period | None:
    """Return the tier period that records name so."""
    kind = period_t2000 % 4
    if not kind:
        return None
    return Period(("month", "year")[kind - 1], to_datetime(period_t2000 - kind))


def spans_of(quota: int, household: int) -> tuple[int, list[Span]]:
    """Return how many months the tier period has, and as which kinds of household they count."""
    if not quota:
        return 0, []
    spans = [Span(household, quota >> 4 & 15)]
    earlier = quota >> 8
    while earlier:
        spans.insert(0, Span(earlier & 15, earlier >> 4 & 15))
        earlier >>= 8
    return quota & 15, spans


def _quota_text(quota: int) -> str:
    months, spans = spans_of(quota, 0)
    counted = sum(span.months for span in spans)
    if not months:
        return _("the whole quota")
    return _("quota of {counted} of {months} months").format(counted=counted, months=months)


def moment_of(record: Record) -> datetime:
    """Return the local time of the record."""
    return to_datetime(record.t2000)


def _debit_yuan(fields: dict[str, int], near_yuan: Fraction | int) -> Fraction:
    """Return the debit with its residue, as a count near `near_yuan`."""
    return (
        Fraction(unwrapped_fen(fields["debit_fen"], int(near_yuan * 100)), 10**2)
        + Fraction(fields["residue_e7"], 10**7)
        + Fraction(fields["residue_e11"], 10**11)
    )


def _kwh(wh: int) -> Fraction:
    return Fraction(wh, 1000)


def decimals(value: Fraction) -> str:
    """Return all digits of a value that has at most eleven decimals."""
    scaled = value * 10**11
    if scaled.denominator != 1:
        return _("{value} (not a decimal)").format(value=value)
    sign = "-" if value < 0 else ""
    whole, part = divmod(abs(scaled.numerator), 10**11)
    return f"{sign}{whole}.{part:011}".rstrip("0").rstrip(".")
