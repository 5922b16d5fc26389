"""Goal: a valid answer that is wrong costs no money in the end, stops nothing by itself and cuts
no supply for long; a doubt that lasts is reported and stops the billing, never the supply.

Method: the whole application with meters that answer wrongly, once, again and for good; what was
charged in the end is compared with what the meter has counted, to the last 1e-11 yuan, also across
a limit of a tier, a settlement and a top-up; the journal is replayed over the tables.
"""

from array import array

from civil import DAY_S, day_number
from concentrator.books.doubt import DOUBTED
from concentrator.console.commands import Commands
from concentrator.console.console import Refusal
from concentrator_world import Bench, lines_of
from harness import check, equal
from prepay import ledger as outcomes
from prepay import policy as rules
from prepay.accounts import REGISTER_MODULUS_WH, STOPPED
from tariff_images import ENDLESS, MONTHLY, YEARLY, image, ladder, terms
from test_concentrator_books import INDEX, Station
from uplink import record
from uplink.record import PAYLOAD, u32_at

FEN_WH = 20  # of the first rate


class Spoiler:
    """This meter answers its next questions for energy with `wrong`, each once, then truly."""

    def __init__(self, bench: Bench) -> None:
        self.wrong: list[tuple[int, int]] = []
        self.asked = 0
        self._meter = meter = bench.meters[0]
        self._answer = meter.answer
        meter.answer = self.answer  # type: ignore[method-assign]  # it hangs on the meter's wires

    def answer(self, control: int, data: bytes, now_ms: int) -> "tuple[int, bytes]":
        if data != b"\x00\xff\x01\x00":
            return self._answer(control, data, now_ms)
        self.asked += 1
        if not self.wrong:
            return self._answer(control, data, now_ms)
        meter = self._meter
        true_wh = meter.wh
        meter.wh = list(self.wrong.pop(0))
        reply = self._answer(control, data, now_ms)
        meter.wh = true_wh
        return reply


def opened(credit_fen: int = 10000) -> "tuple[Bench, Spoiler]":
    """Return a household that has paid and was read twice."""
    bench = Bench()
    bench.insert(bench.card(1, credit_fen))
    bench.read_all()
    use(bench, 2000)
    return bench, Spoiler(bench)


def use(bench: Bench, wh: int) -> None:
    bench.meters[0].wh[0] += wh
    bench.read_all()


def used_fen(bench: Bench) -> int:
    """Return in fen what the meter has counted since its first reading."""
    return (bench.meters[0].wh[0] - 1000) // FEN_WH


def records(bench: Bench, kind: int) -> "list[bytes]":
    journal = bench.app.journal
    check(journal.sync())
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(journal.first_seq, journal.durable_seq + 1):
        if journal.read_into(seq, buf) and record.kind_at(buf, 0) == kind:
            found.append(bytes(buf))
    return found


def is_stopped(bench: Bench) -> bool:
    return bench.app.ledger.flags[0] & STOPPED != 0


def balance_fen(bench: Bench) -> int:
    return bench.app.ledger.balance_fen(0)


def test_one_wrong_answer_is_asked_again_at_once_and_changes_nothing() -> None:
    bench, spoiler = opened()
    for wrong in ((0, 0), (9000000, 500), (2000, 500), (1000, 500), (3000, 90000)):
        spoiler.wrong = [wrong]
        asked = spoiler.asked
        use(bench, 400)
        equal(spoiler.asked - asked, 2, wrong)
        equal((is_stopped(bench), 10000 - balance_fen(bench)), (False, used_fen(bench)), wrong)
    equal(records(bench, record.FAULT) + records(bench, record.CORRECTION), [])
    equal(bench.app.ledger.doubt(0), 0)


class BlindPort:
    """The bench's port, which like a board's hands over characters of wrong parity.

    In the next reply that is as long as the registers, `bit` turns on in one of the characters
    `pair`, counted from the first register on, and off in the other: the checksum stays right.
    """

    def __init__(self, bench: Bench) -> None:
        self.bit = 0
        self.pair = (0, 0)
        self.turned = 0
        self._line = line = bench.lines[0]
        self._serve = line.serve
        line.serve = self.serve  # type: ignore[method-assign]  # the bench calls it

    def serve(self, now_ms: int) -> None:
        due = self._line.due
        known = len(due)
        self._serve(now_ms)
        if self.bit and len(due) > known and len(due[-1][1]) > 30:
            at_ms, reply = due.pop()
            spoilt = bytearray(reply)
            places = [14 + place for place in self.pair]
            if (spoilt[places[0]] ^ spoilt[places[1]]) & self.bit:
                for place in places:
                    spoilt[place] ^= self.bit
                self.turned += 1
            self.bit = 0
            due.append((at_ms, bytes(spoilt)))


def test_characters_of_wrong_parity_cost_nothing_in_the_end() -> None:
    """Boards hand them over: the registers are then wrong in any digit, or no digits."""
    bench, _ = opened(100000)
    port = BlindPort(bench)
    for pair in ((0, 4), (1, 5), (0, 1), (4, 8), (2, 6), (5, 19)):
        for place in range(8):
            port.bit, port.pair = 1 << place, pair
            use(bench, 130)
    check(port.turned > 12, port.turned)
    use(bench, 130)
    equal((is_stopped(bench), 100000 - balance_fen(bench)), (False, used_fen(bench)))


def test_a_first_reading_counts_when_two_answers_agree() -> None:
    bench = Bench()
    spoiler = Spoiler(bench)
    spoiler.wrong = [(90000, 500)]
    for _ in range(2):
        bench.read_all()
    equal((spoiler.wrong, bench.app.ledger.registers_wh[0]), ([], 1000))
    equal(records(bench, record.FAULT), [])


def test_a_replayed_reading_gives_no_energy_away() -> None:
    """It draws 6 kW for three days; it is cut the day its money ends, and owes what it used."""
    bench, spoiler = opened(1000)
    spoiler.wrong = [(1000, 500)]
    cut_at = -1
    for quarter in range(96):
        use(bench, 0 if bench.meters[0].open else 1500)
        if bench.meters[0].open and cut_at < 0:
            cut_at = quarter
    equal((is_stopped(bench), cut_at), (False, 11))
    equal(1000 - balance_fen(bench), used_fen(bench))


def test_a_day_of_zeros_in_single_answers_charges_the_whole_day() -> None:
    bench, spoiler = opened()
    for quarter in range(96):
        spoiler.wrong = [(0, 0)] * (quarter % 3)
        use(bench, 250)
    use(bench, 250)
    equal((is_stopped(bench), 10000 - balance_fen(bench)), (False, used_fen(bench)))


def test_a_reading_that_would_cut_is_asked_again_before_it_counts() -> None:
    bench, spoiler = opened(1000)
    for wrong, is_cut, left_fen in (
        ([(53000, 500)], False, 900),  # The true value is reported then, and is charged.
        ([(53000, 500), (58000, 500)], False, 900),  # Two that differ are not charged.
        ([(53000, 500), (53010, 500)], True, -1600),
    ):
        spoiler.wrong = wrong
        asked = spoiler.asked
        use(bench, 0)
        equal(spoiler.asked - asked, 2, left_fen)
        equal((bench.meters[0].open, balance_fen(bench)), (is_cut, left_fen))
    asked = spoiler.asked
    spoiler.wrong = [(54000, 500)]
    use(bench, 0)
    equal(spoiler.asked - asked, 1, "it is cut already")
    bench, spoiler = opened(150)
    use(bench, 1200)
    equal((spoiler.asked, bench.meters[0].open, balance_fen(bench)), (2, True, -10))


def test_what_was_charged_too_much_goes_back() -> None:
    """A plausible spike of 50 kWh is reported twice, then the truth: the supply comes back."""
    bench, spoiler = opened(1000)
    spoiler.wrong = [(53000, 500)] * 2
    use(bench, 400)
    equal((balance_fen(bench), bench.meters[0].open), (1000 - 52000 // FEN_WH, True))
    use(bench, 0)
    use(bench, 0)
    equal(1000 - balance_fen(bench), used_fen(bench))
    ledger = bench.app.ledger
    equal((bench.meters[0].open, ledger.state[0]), (False, rules.NORMAL))
    equal((ledger.credit_fen[0], ledger.debit_fen[0]), (1000 + 2480, 2600))
    equal(ledger.used_wh[0], 2400)
    found = records(bench, record.CORRECTION)
    equal(len(found), 1)
    equal(
        [u32_at(found[0], PAYLOAD + at) for at in (0, 4, 8, 20, 28)],
        [2480, 3480, 2600, 2400, 49600],
    )
    bench.restart()
    bench.run(5)
    equal((balance_fen(bench), bench.app.ledger.used_wh[0]), (1000 - used_fen(bench), 2400))


def test_a_correction_is_exact_across_tiers_residues_and_top_ups() -> None:
    for spike_wh, after_wh, pays in (
        (7, 3, False),
        (50000, 1234, False),
        (50000, 1234, True),
        (33333, 7, True),
        (60000, 50001, False),
    ):
        one = Station()
        other = Station()
        for station in (one, other):
            station.pay(1000)
            equal(station.read(230000 - 777, 86400), outcomes.CHARGED)
        one.read(spike_wh)
        other.wait(900)
        if pays:
            one.pay(333)
            other.pay(333)
        for station, wh in ((one, after_wh - spike_wh), (other, after_wh)):
            station.wait(900)
            station.values[0] += wh
            outcome = station.charge()
            equal(outcome, outcomes.CHARGED, (spike_wh, after_wh))
        for name in ("residue_e7", "residue_e11", "used_wh", "period_t2000", "registers_wh"):
            equal(list(getattr(one.ledger, name)), list(getattr(other.ledger, name)), name)
        equal(one.balance_fen, other.balance_fen, (spike_wh, after_wh, pays))
        check(one.ledger.debit_fen[INDEX] >= other.ledger.debit_fen[INDEX])


def _state(station: Station) -> "list[object]":
    """Return the state of an account except credit and debit, and its balance."""
    ledger = station.ledger
    found: list[object] = [station.balance_fen]
    for name in ("residue_e7", "residue_e11", "used_wh", "period_t2000", "read_t2000"):
        found.append((name, list(getattr(ledger, name))))
    for name in ("quota", "free", "flags", "registers_wh"):
        found.append((name, list(getattr(ledger, name))))
    return found


def _check_alike(
    tariff: bytes, start_t2000: int, steps: "tuple[tuple[int, int, int, int], ...]"
) -> None:
    """Check that an account with false readings ends like one that is not read meanwhile.

    A step is (wait, change of the clock, energy used, error of the reading). With an error of 0 or
    below the other account gets a true reading.
    """
    ends = []
    for is_told in (True, False):
        station = Station(tariff=tariff)
        station.wait(start_t2000 - station.t2000)
        station.charge_once()
        station.pay(100000)
        for wait_s, set_s, used_wh, lie_wh in steps:
            station.wait(wait_s)
            station.values[0] += used_wh
            if is_told or lie_wh <= 0:
                lie_wh = abs(lie_wh) if is_told else 0
                station.values[0] += lie_wh
                outcome = station.charge()
                equal(outcome, outcomes.CHARGED, (wait_s, used_wh, lie_wh))
                station.values[0] -= lie_wh
            station.wait(set_s)
        equal(len(station.records(record.CORRECTION)), 1 if is_told else 0)
        ends.append(_state(station))
        station.restart()
        equal(_state(station), ends[-1])
    for place in range(len(ends[0])):
        equal(ends[0][place], ends[1][place], (start_t2000, steps))


def test_a_correction_is_exact_where_the_clock_was_set_back() -> None:
    """A standing charge is due at midnight, which comes twice."""
    one = ladder((), (53830001,))
    daily = image(1, 1, (one,), (terms(0, ENDLESS, standing_e7=1234567),))
    midnight = day_number(26, 3, 3) * DAY_S
    waiting = [(600, -28800, 100, 0)]
    waiting.extend(((60, 0, 10, 0),) * 290)
    waiting.extend(((60, 0, 0, 5000), (60, 0, 70, 0)))
    for steps in (
        # The wrong answer comes after the account has stopped waiting for the clock.
        ((600, -1800, 100, 0), (900, 0, 10, 0), (1800, 0, 0, 5000), (900, 0, 70, 0)),
        # The account still waits.
        ((600, -1800, 100, 0), (300, 0, 10, 0), (300, 0, 0, 5000), (300, 0, 70, 0)),
        # This is so long that the reading which it waits for is not looked for any more.
        tuple(waiting),
        # The clock is set back while the wrong answer is believed; all later readings are old.
        ((300, 0, 100, 0), (600, -1800, 0, -5000), (300, 0, 70, 0)),
    ):
        _check_alike(daily, midnight - 300, steps)


def test_a_correction_takes_back_what_a_month_or_a_year_has_begun() -> None:
    """Free energy of each month and the part of a year count again as they did before."""
    ladders = (ladder((9000, 20000), (50001237, 60000000, 90000001)),)
    new_year = day_number(27, 1, 1) * DAY_S
    for free, free_wh, period, part in (
        ((1, 0, 1, 0), (700,), YEARLY, 0),
        ((1, 0, 1, 0), (700,), MONTHLY, 0),
        ((0, 0, 0, 0), (), YEARLY, 0b010101),
        ((1, 0, 1, 0), (70000,), YEARLY, 0b010101),
    ):
        tariff = image(1, 3, ladders, (terms(0, period),), rules=part, free=free, free_wh=free_wh)
        for used_wh in (100, 5000):
            steps = (
                (900, 0, used_wh, 0),
                (900, 0, 0, 3000),
                (900, 0, 0, 30000),
                (900, 0, 1230, 0),
                (900, 0, 500, 0),
            )
            for start_s in (-600, -1700, -2500, -DAY_S):
                _check_alike(tariff, new_year + start_s, steps)


def test_nothing_goes_back_behind_what_somebody_has_said_is_used() -> None:
    station = Station()
    station.pay(1000)
    station.read(1000)
    station.read(50000)
    check(station.books.set_used(INDEX, 7000, 0, 0))
    for _ in range(2):
        equal(station.read(-49000 if station.values[0] > 50000 else 0), DOUBTED)
    equal(station.ledger.used_wh[INDEX], 7000)
    equal(station.records(record.CORRECTION), [])


def test_a_flash_that_does_not_answer_stops_no_billing() -> None:
    """Hours pass without a read; then the excess charge goes back all the same."""
    station = Station()
    station.pay(10000)
    station.read(1000)
    station.read(50000)
    station.values[0] -= 50000
    for _ in range(12):
        station.storage.look_fails = station.storage.looks + 1
        station.wait(900)
        equal(station.charge_once(), DOUBTED)
        station.storage.look_fails = station.storage.looks + 1
        equal(station.charge_once(), DOUBTED)
    station.storage.look_fails = 0
    equal(station.read(500), outcomes.CHARGED)
    equal((station.ledger.flags[INDEX] & STOPPED, station.balance_fen), (0, 10000 - 75))


def test_what_was_charged_past_the_last_digit_of_a_register_goes_back() -> None:
    """The spike goes past 999,999.99 kWh, so that the true register seems far ahead."""
    modulus_wh = REGISTER_MODULUS_WH
    for first_wh, after_wh in ((modulus_wh - 1000, 300), (modulus_wh - 1000, 1500), (0, 1500)):
        station = Station()
        station.pay(10000)
        station.values[0] = first_wh
        check(station.books.resume(INDEX, array("i", (first_wh, first_wh))))
        spoilt_wh = (first_wh + 2000) % modulus_wh
        true_wh = (first_wh + after_wh) % modulus_wh
        for wh, expected in (
            (spoilt_wh, outcomes.CHARGED),
            (true_wh, DOUBTED),
            (true_wh, outcomes.CHARGED),
        ):
            station.wait(900 if expected == DOUBTED else 0)
            station.values[0] = wh
            outcome = station.charge_once()
            equal(outcome, expected, (first_wh, wh))
        equal(10000 - station.balance_fen, after_wh // FEN_WH, (first_wh, after_wh))
        correction = station.records(record.CORRECTION)[0]
        equal(u32_at(correction, PAYLOAD + 28), 2000 - after_wh)


def test_a_register_lower_than_what_was_charged_is_no_correction() -> None:
    """An earlier charge was right: a household gets back only energy charged after it."""
    bench, spoiler = opened()
    bench.meters[0].wh[0] = 900
    for _ in range(2):
        bench.read_all()
    equal((records(bench, record.CORRECTION), balance_fen(bench)), ([], 9900))
    equal(is_stopped(bench), False)
    equal(len(records(bench, record.FAULT)), 1, "it is told when it outlasts a round")
    bench.read_all()
    equal((is_stopped(bench), bench.meters[0].open), (True, False))
    fault = records(bench, record.FAULT)[-1]
    equal((fault[PAYLOAD], fault[PAYLOAD + 1]), (outcomes.BACK, 1))
    asked = spoiler.asked
    bench.read_all()
    equal(spoiler.asked - asked, 1)


def answer_without_value(bench: Bench, reply: "tuple[int, bytes] | None") -> None:
    """Have the meter answer each question for its energy so, None: truly again."""
    meter = bench.meters[0]
    right = type(meter).answer

    def answer(control: int, data: bytes, now_ms: int) -> "tuple[int, bytes]":
        if data == b"\x00\xff\x01\x00" and reply is not None:
            return reply[0], data * (reply[0] == 0x91) + reply[1]
        return right(meter, control, data, now_ms)

    meter.answer = answer  # type: ignore[method-assign]  # it hangs on the meter's wires


def test_a_meter_that_answers_without_a_value_is_told_once() -> None:
    """It sends FF, its error word, or fewer rates than are charged; then all energy is charged."""
    for reply in ((0x91, b"\xff" * 20), (0xD1, b"\x02"), (0x91, b"\x00\x50\x01\x00")):
        bench, _ = opened()
        answer_without_value(bench, reply)
        use(bench, 100)
        equal(records(bench, record.FAULT), [], "once is no trouble")
        for _ in range(20):
            use(bench, 100)
        faults = records(bench, record.FAULT)
        told = [(one[PAYLOAD], one[PAYLOAD + 1]) for one in faults]
        equal((told, is_stopped(bench)), ([(outcomes.VALUE_MISSING, 0)], False), reply)
        equal(u32_at(faults[0], PAYLOAD + 8), bench.app.ledger.read_t2000[0])
        answer_without_value(bench, None)
        use(bench, 100)
        equal(10000 - balance_fen(bench), used_fen(bench))
        equal((bench.app.ledger.doubt(0), bench.app.ledger.doubted), (0, 0))


def test_missing_values_neither_confirm_nor_end_a_doubt() -> None:
    bench, spoiler = opened()
    missing = (0x91, b"\xff" * 20)
    for count in range(4):
        answer_without_value(bench, missing)
        bench.read_all()
        answer_without_value(bench, None)
        if count == 1:
            bench.meters[0].wh[0] = 900
        if count:
            bench.read_all()
            equal(is_stopped(bench), count == 3, count)
    reasons = [one[PAYLOAD] for one in records(bench, record.FAULT)]
    equal(reasons, [outcomes.VALUE_MISSING, outcomes.BACK])
    equal((balance_fen(bench), spoiler.wrong), (9900, []))


def test_a_doubt_that_finds_no_room_is_told_with_the_next_reading() -> None:
    for wrong in (-1, 0):
        station = Station()
        station.pay(1000)
        station.read(1000)
        station.values[0] = wrong
        for count in range(4):
            station.storage.full = count < 3
            station.wait(900)
            station.charge_once()
            station.values[0] -= 10000 if wrong == 0 else 0  # no two of them agree
            station.values[0] %= REGISTER_MODULUS_WH
        equal(len(station.records(record.FAULT)), 1, wrong)


def test_only_readings_that_agree_stop_the_billing() -> None:
    bench, spoiler = opened()
    for wh in (900000, 40, 900000, 500000, 900000, 40):
        spoiler.wrong = [(wh, 500), (wh + 3000000, 500)]
        use(bench, 100)
    equal((is_stopped(bench), balance_fen(bench)), (False, 9900))
    use(bench, 100)
    equal(10000 - balance_fen(bench), used_fen(bench), "all of it")


def test_three_readings_in_a_row_within_minutes_stop_nothing() -> None:
    station = Station()
    station.pay(1000)
    station.read(1000)
    station.values[0] += 900000
    for after_s in (10, 10, 10, 500):
        station.wait(after_s)
        equal(station.charge_once(), DOUBTED)
        equal(station.ledger.flags[INDEX] & STOPPED, 0)
    for _ in range(2):
        station.wait(600)
        station.charge_once()
    check(station.ledger.flags[INDEX] & STOPPED)


def stopped() -> Bench:
    bench, _ = opened()
    bench.meters[0].wh[0] += 900000
    for _ in range(4):
        bench.read_all()
    check(is_stopped(bench))
    return bench


def test_resumed_it_goes_on_from_the_last_good_register() -> None:
    bench = stopped()
    bench.meters[0].wh[0] -= 900000 - 2500
    equal(Commands(bench.app).run("account resume 17"), ["billing on"])
    bench.read_all()
    equal(10000 - balance_fen(bench), used_fen(bench))


def test_resumed_it_goes_on_from_the_register_that_is_told() -> None:
    bench = stopped()
    commands = Commands(bench.app)
    try:
        commands.run("account resume 17 903.00")
        check(False, "the rates are missing")
    except Refusal as error:
        check("total and each of the 2 rates" in str(error), error)
    # The register was 3000 Wh and rose by 900000 Wh, of which the last 500 are charged.
    equal(commands.run("account resume 17 903.00 902.50 0.50"), ["billing on"])
    bench.restart()
    bench.read_all()
    equal((is_stopped(bench), balance_fen(bench)), (False, 9900 - 500 // FEN_WH))


def test_the_power_limit_is_the_account_s_own() -> None:
    """The limit is 66 kW on three phases, and no reading comes for three hours."""
    for limit_w, expected in ((0, DOUBTED), (65000, DOUBTED), (66000, outcomes.CHARGED)):
        station = Station()
        station.pay(1000)
        station.read(0)
        check(station.books.set_terms(INDEX, 0, 0, 1, 0, 0, limit_w))
        station.restart()
        equal(station.read(198000, 3 * 3600), expected, limit_w)
    bench = Bench()
    commands = Commands(bench.app)
    equal(commands.run("account set 17 power_limit_w 66000"), ["power_limit_w 66000"])
    check("power_limit_w 66000" in commands.run("account 17"))
    equal(lines_of(commands.run("set power_limit_w 100000")), ["power_limit_w 100000"])
    equal(bench.app.ledger.power_limit_w, 100000)


def test_rates_that_do_not_add_up_are_no_reading() -> None:
    station = Station()
    station.pay(1000)
    for values, expected in (
        ((3000, 1000, 1000, 500, 500), outcomes.CHARGED),
        ((3040, 1000, 1000, 500, 500), outcomes.CHARGED),
        ((3100, 1000, 1000, 500, 500), DOUBTED),
        ((3100, 1000, 1000, 500, 600), outcomes.CHARGED),
        ((3200, 0, 0, 0, 0), outcomes.CHARGED),
        ((3300, 3200, 0, -1, 0), outcomes.CHARGED),
    ):
        station.wait(900)
        wh = array("i", values)
        equal(station.books.charge_reading(INDEX, wh, len(wh), 0xFFFF), expected, values)


def test_an_account_without_a_good_reading_for_long_counts_as_used_up_if_told_so() -> None:
    for hours, opens in (("0", False), ("2", True)):
        bench, _ = opened()
        equal(bench.app.settings.change("doubt_cut_hours", hours), "")
        bench.app.configure()
        good = bench.meters[0].wh[0]
        bench.meters[0].wh[0] = 5
        bench.run(3600)
        equal(bench.meters[0].open, False)
        bench.run(2 * 3600)
        equal((bench.meters[0].open, is_stopped(bench)), (opens, True), hours)
        bench.meters[0].wh[0] = good
        Commands(bench.app).run("account resume 17")
        bench.read_all()
        bench.run(60)
        equal((bench.meters[0].open, balance_fen(bench)), (False, 9900))


def spoilt() -> Station:
    """Return an account that was charged 2,500 fen too much, whose search has begun."""
    station = Station()
    station.pay(10000)
    station.read(1000)
    fill_segment(station)
    station.read(50000)
    station.values[0] -= 50000
    station.wait(900)
    for _ in range(2):
        equal(station.books.charge_reading(INDEX, station.values, 1, 0xFFFF), DOUBTED)
    equal(station.books.searched, INDEX)
    check(station.journal.sync())
    check(station.journal.segment_count > 1)
    return station


def fill_segment(station: Station) -> None:
    """Write records of another account until a segment is full."""
    count = station.journal.segment_count
    while station.journal.segment_count == count:
        station.books.note_card(1, 1, 0x7FFFFFFF, 0x7FFFFFFF, b"\xff" * 8, b"\x99" * 6)
        check(station.journal.next_seq % 8 or station.journal.sync())
    check(station.journal.sync())


def test_a_search_takes_in_what_is_written_meanwhile() -> None:
    for after in range(8):
        station = spoilt()
        for _ in range(after):
            station.books.search()
        station.pay(333)
        station.books.note_line(1, record.LINE_ANSWERS, 0)
        check(station.search(), after)
        equal(station.balance_fen, 10333 - 50, after)
        equal(len(station.records(record.CORRECTION)), 1)
        station.restart()
        equal(station.balance_fen, 10333 - 50, after)


def test_power_that_fails_in_a_search_has_it_begin_again() -> None:
    for after in range(20):
        station = spoilt()
        for _ in range(after):
            station.books.search()
        station.restart()
        station.charge()
        equal(station.balance_fen, 10000 - 50, after)
        equal(len(station.records(record.CORRECTION)), 1)


def test_a_search_survives_the_segment_that_it_has_seen() -> None:
    station = spoilt()
    while station.books._seq < station.journal.first_of(1):
        station.books.search()
    check(station.journal.drop(station.journal.first_of(1) - 1))
    check(station.search())
    equal(station.balance_fen, 10000 - 50)


def test_what_a_search_has_not_seen_and_is_gone_corrects_nothing() -> None:
    station = spoilt()
    check(station.journal.drop(station.journal.first_of(1) - 1))
    check(not station.search())
    equal(station.records(record.CORRECTION), [])


def test_a_record_that_cannot_be_read_ends_what_is_before_it() -> None:
    """The last group before the wrong reading, and one in the middle of a segment."""
    for name_at, byte_at in ((0, -9), (0, 2000), (1, 30)):
        station = spoilt()
        name = sorted(one for one in station.storage.files if one[0] == "j")[name_at]
        content = bytearray(station.storage.files[name])
        content[byte_at] ^= 4
        station.storage.files[name] = bytes(content)
        station.journal.reread()
        check(not station.search(), (name, byte_at))
        equal(station.balance_fen, 10000 - 2550)


def test_an_account_that_changes_in_a_search_is_judged_by_its_next_reading() -> None:
    for change in ("used", "terms", "reading", "tariff"):
        station = spoilt()
        books = station.books
        books.search()
        if change == "used":
            check(books.set_used(INDEX, 7000, 0, 0))
        elif change == "terms":
            check(books.set_terms(INDEX, 1, 0, 1, 0, 0))
        elif change == "tariff":
            check(books.plan_tariff(INDEX, 1, 0) and books.plan_tariff(INDEX, 2, 0))
        else:
            station.values[0] += 50100
            equal(books.charge_reading(INDEX, station.values, 1, 0xFFFF), outcomes.CHARGED)
        station.search()
        equal((books.searched, station.records(record.CORRECTION)), (-1, []), change)


def test_registers_that_are_typed_are_searched_for_as_well() -> None:
    station = Station()
    station.pay(10000)
    station.read(1000)
    station.read(50000)
    true_wh = array("i", (1200,))
    equal(station.books.charge_typed(INDEX, true_wh), DOUBTED)
    check(station.search())
    equal(station.balance_fen, 10000 - 60)
    equal(station.books.charge_typed(INDEX, true_wh), outcomes.CHARGED)
    impossible_wh = array("i", (0,))
    check(station.books.set_used(INDEX, 7000, 0, 0))
    equal(station.books.charge_typed(INDEX, impossible_wh), DOUBTED)
    check(not station.search())
    equal(station.books.charge_typed(INDEX, impossible_wh), outcomes.BACK)
    equal(station.ledger.doubt(INDEX), 0)


def test_a_freeze_is_recorded_once_though_the_account_is_in_doubt() -> None:
    station = Station()
    station.pay(10000)
    station.read(1000)
    midnight = (station.t2000 // DAY_S + 1) * DAY_S
    station.wait(midnight + 600 - station.t2000)
    frozen = array("i", (900000000,))
    for after_s in (0, 0, 3600, 3600, 0, 7200):
        moment = midnight + after_s
        station.books.charge_freeze(INDEX, moment, frozen, 1)
        station.wait(3600)
        station.books.charge_reading(INDEX, frozen, 1, 0xFFFF)
    check(station.ledger.doubt(INDEX) or is_stopped_at(station))
    found = [u32_at(one, PAYLOAD) for one in station.records(record.FREEZE)]
    equal(found, [midnight])


def is_stopped_at(station: Station) -> bool:
    return station.ledger.flags[INDEX] & STOPPED != 0
