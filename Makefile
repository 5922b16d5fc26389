# Dianka: one verb per job. Every verb prepares what it needs first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
BOARD ?= qemu
# Two workers a core: many tests wait for programs, lines and clocks.
PARALLEL = -n $$((2 * $$(nproc))) --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help setup demo station demo-qemu test test-qemu check bench mutants explorer soak image
.PHONY: made-mutants mutants-json
.PHONY: worlds-json budget budget-json lock licences mpy words screenshots wheel clean
.PHONY: bench-headend bench-headend-json bench-pages bench-gate bench-gate-json

# help: print this list
help:
	@sed -n 's/^# \([a-z-]*\): /\1\t/p' Makefile | \
		awk -F '\t' '{printf "make %-18s %s\n", $$1, $$2}'

# setup: make .venv, install the product, fetch stubs and a MicroPython; instant when done
setup: $(READY)

$(READY): pyproject.toml requirements.lock tools/stubs.lock tools/bootstrap.py tools/stubs.py
	@$(PYTHON) tools/bootstrap.py >&2
	@touch $@

# demo: a day of eight households on a real MicroPython; ends 0 only if the money adds up
demo: $(READY)
	@$(BIN)/dianka demo --micropython "$$($(BIN)/python -m tools.micropython path)"

# station: the station's pages on a living village, at http://127.0.0.1:8080 until Ctrl-C; PORT=..
station: $(READY)
	@$(BIN)/dianka demo --page --page-port $(or $(PORT),8080) \
		--micropython "$$($(BIN)/python -m tools.micropython path)"

# demo-qemu: the same day on an emulated Cortex-M3, its flash kept while QEMU is killed
demo-qemu: $(READY)
	@$(BIN)/dianka demo --board qemu --image "$$($(BIN)/python -m tools.image qemu)"

# test: every test, on CPython and on MicroPython
test: $(READY)
	@$(BIN)/python -m pytest $(PARALLEL)

# test-qemu: the part of the tests that runs on an emulated Cortex-M3
test-qemu: $(READY)
	@$(BIN)/python -m pytest -rs tests/host/test_emulator.py \
		tests/host/test_flash.py tests/host/test_day.py

# check: style, types, rules of the code base and the fast tests, as CI runs them
check: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy host tools
	@$(BIN)/python -m tools.stubs
	@$(BIN)/python -m tools.tidy
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# bench: decoding and the use of a line, beside other people's libraries
bench: $(READY)
	@$(BIN)/python -m tools.bench_decode
	@$(BIN)/python -m tools.bench_line

# bench-headend: what a head-end carries: rates, waits, looks, on SQLite and PostgreSQL
bench-headend: $(READY)
	@$(BIN)/python -m tools.bench_headend

# bench-headend-json: the same as one JSON object: make -s bench-headend-json
bench-headend-json: $(READY)
	@$(BIN)/python -m tools.bench_headend --json

# bench-pages: the station's pages on 10,000 households and 2 M readings, and for 50 people at once
bench-pages: $(READY)
	@$(BIN)/python -m tools.bench_pages

# bench-gate: 1,600 sessions that bring a backlog at once, alone and beside 1,100 that say nothing
bench-gate: $(READY)
	@$(BIN)/python -m tools.bench_gate

# bench-gate-json: the same as one JSON object: make -s bench-gate-json
bench-gate-json: $(READY)
	@$(BIN)/python -m tools.bench_gate --json

# lock: write requirements.lock and tools/stubs.lock anew, with the newest versions allowed
lock: $(READY)
	@$(BIN)/python -m tools.lock

# licences: the packages that are installed with the product, and the licence of each
licences: $(READY)
	@$(BIN)/python -m tools.lock --licences

# words: collect the texts for people and compile their translations in host/locale
words: $(READY)
	@$(BIN)/python -m tools.words

# mutants: faults made on purpose, each has to be noticed by a test, FILE=ledger J=2
mutants: $(READY)
	@$(BIN)/python -m tools.mutants -j $(or $(J),2) $(if $(FILE),--file $(FILE))

# made-mutants: faults made by rule in the files that hold money, FILE=ledger J=2; goes on
made-mutants: $(READY)
	@$(BIN)/python -m tools.made_mutants -j $(or $(J),2) $(if $(FILE),--file $(FILE))

# mutants-json: the same as one JSON object: make -s mutants-json
mutants-json: $(READY)
	@$(BIN)/python -m tools.made_mutants -j $(or $(J),2) --json

# worlds-json: worlds of mixed kind and their speed, as JSON: make -s worlds-json SEEDS=1-200
worlds-json: $(READY)
	@$(BIN)/python -m tools.worlds --seeds $(or $(SEEDS),1-200) --json

# explorer: every order of events of the money protocol, up to some moves and faults
explorer: $(READY)
	@$(BIN)/python -m tools.explorer --faults 2 --moves 11

# soak: ten million mutated frames to every decoder, 10,000 each of hostile commands, records and
# starts from damaged flash, all power cuts on NOR flash, 10,000 more of a journal, 50 kills of all
# parts under load, an attacker on the network for 10,000 steps of 20 seeds, 20,000 actions of
# cashiers and offline counters on each database, 5,000 payments through five channels, a list
# of 100,000 accounts, a week of a district by the firmware, the first flash of a Pico, then worlds
# of faults, SEEDS=1-500
soak: $(READY)
	@$(BIN)/python -m tools.fuzz
	@$(BIN)/python -m tools.explorer --faults 2 --moves 12
	@$(BIN)/python -m tools.made_mutants
	@DIANKA_HOSTILE=10000 $(BIN)/python -m pytest tests/host/test_hostile_runs.py \
		tests/host/test_hostile_devices.py
	@DIANKA_SHARE=1 DIANKA_CUTS=10000 $(BIN)/python -m pytest tests/power -k nor
	@DIANKA_COMMANDS=300 $(BIN)/python -m pytest tests/host/test_emulator.py -k commands_from_above
	@DIANKA_PICO=whole $(BIN)/python -m pytest tests/host/test_pico_emulated.py
	@DIANKA_SEEDS=200 $(BIN)/python -m pytest $(PARALLEL) tests/sim/test_scenarios.py
	@DIANKA_VILLAGE_DAYS=7 $(BIN)/python -m pytest tests/sim/test_village_firmware.py
	@DIANKA_KILLS=50 $(BIN)/python -m pytest tests/host/test_headend_kills.py
	@DIANKA_STEPS=10000 $(BIN)/python -m pytest tests/host/test_hostile_network.py
	@DIANKA_ACTIONS=20000 $(BIN)/python -m pytest tests/host/test_headend_money.py
	@DIANKA_PAYMENTS=5000 $(BIN)/python -m pytest tests/host/test_payments.py
	@DIANKA_ROWS=100000 $(BIN)/python -m pytest tests/host/test_headend_register.py
	@$(BIN)/python -m tools.worlds --seeds $(or $(SEEDS),1-500)
	@$(BIN)/dianka sim run --seeds $(or $(SEEDS),1-500) --days 3 --meters 6
	@$(BIN)/dianka sim run --scenario hostile-net --seeds $(or $(SEEDS),1-100) --days 3 --meters 4
	@$(BIN)/dianka sim run --scenario commanded --seeds $(or $(SEEDS),1-100) --days 1 --meters 4
	@$(BIN)/dianka sim run --scenario forged-commands --seeds $(or $(SEEDS),1-50) --days 1 --meters 4
	@$(BIN)/dianka sim run --scenario nor --seeds $(or $(SEEDS),1-200) --days 3 --meters 4

# image: build BOARD=qemu or rp2, or esp32|rp2|stm32 from MPY_DIR=..., lean for BOARD_JSON=...
image: $(READY)
	@$(BIN)/python -m tools.image $(BOARD) $(if $(MPY_DIR),--mpy-dir $(MPY_DIR)) \
		$(if $(BOARD_JSON),--board-json $(BOARD_JSON))

# budget: what the firmware costs on a 32-bit board, held against tools/budget.csv
budget: $(READY)
	@$(BIN)/python -m tools.budget

# budget-json: the same as one JSON object: make -s budget-json
budget-json: $(READY)
	@$(BIN)/python -m tools.budget --json

# mpy: compile to .mpy files for a board with MicroPython's own image: ARCH=armv6m and others
mpy: $(READY)
	@$(BIN)/python -m tools.mpy $(if $(ARCH),--arch $(ARCH))

# screenshots: pictures of the station's pages for docs/img, by Debian's chromium
screenshots: $(READY)
	@$(BIN)/python -m tools.screenshots

# wheel: build the product as one file for pip and pipx, in dist/
wheel: $(READY)
	@rm -f dist/dianka-*.whl
	@$(BIN)/python -m hatchling build -t wheel

# clean: remove .venv, the cache and everything that was built
clean:
	@rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist out
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
