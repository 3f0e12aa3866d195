# `make nuclei` and `make test` set up everything they need; PYTHON names another interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
ENV := PATH="$(BIN):$$PATH" MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=WARNING
# where runs of this file go; the UI shows what the caller names, else the experiment in which a run began last
NAMED := $(ENV) MLFLOW_EXPERIMENT_NAME=unetlab

.PHONY: setup nuclei test ui live server bench lint hooks

setup: .venv/.ready

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv  # of a set-up that failed nothing stays, its Python neither
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

nuclei: setup
	$(NAMED) mlflow run . -e nuclei --env-manager local

test: setup
	$(ENV) python -m pytest -n 2 --dist worksteal

ui: setup
	$(ENV) python -m unetlab ui

live: setup
	$(ENV) python -m unetlab live

server: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cluster]'
	$(ENV) python -m unetlab server

bench: setup
	$(NAMED) python -m benchmarks.bench --out bench.png

lint: setup
	$(ENV) ruff check .
	$(ENV) ruff format --check .
	$(ENV) mypy

audit: setup
	$(ENV) python .ci/audit.py

hooks: setup
	$(ENV) pre-commit run --all-files
