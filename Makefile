# make demo    patients are made, prepared, learnt, scored and drawn: demo/
# make test    linter and type checker are in .ci/run; this runs the tests, in three processes for two cores (TEST_WORKERS=8 for more)
# make campaign  many random kills, full disks and damaged files, longer than the tests allow: python -m tests.campaigns --help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
TEST_WORKERS ?= 3
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test campaign lint clean

$(VENV)/requirements: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing TensorFlow and others into $(VENV): about 600 MB, some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/requirements-dev: $(VENV)/requirements requirements-dev.txt requirements-dicom.txt requirements-jax.txt requirements-report.txt
	@echo "installing JAX, pytest and others into $(VENV): some minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-dicom.txt -r requirements-jax.txt -r requirements-report.txt -r requirements-dev.txt
	@touch $@

demo: $(VENV)/requirements
	rm -rf $(DEMO)/run $(DEMO)/predictions $(DEMO)/figures
	$(BIN)/python -m data_prep.make_phantom --config configs/synthetic/phantom.yaml --out $(DEMO)/scans
	$(BIN)/python -m data_prep.make_records --config configs/synthetic/data.yaml --source $(DEMO)/scans --out $(DEMO)/records
	$(BIN)/python -m training.train --config configs/synthetic/train.yaml --records $(DEMO)/records --out $(DEMO)/run
	$(BIN)/python -m evaluation.score --run $(DEMO)/run --records $(DEMO)/records --subset test
	$(BIN)/python -m evaluation.predict --runs $(DEMO)/run --source $(DEMO)/scans --cases $(DEMO)/records/test.txt --out $(DEMO)/predictions
	$(BIN)/python -m evaluation.score --predictions $(DEMO)/predictions --source $(DEMO)/scans
	$(BIN)/python -m evaluation.plots --runs $(DEMO)/run --records $(DEMO)/records --source $(DEMO)/scans --out $(DEMO)/figures
	$(BIN)/python -m evaluation.report --of $(DEMO)/predictions --out $(DEMO)/report.html
	@echo "demo: a report to open in $(DEMO)/report.html, plots in $(DEMO)/figures, overlays in $(DEMO)/predictions/overlays, scores in $(DEMO)/predictions/scores"

test: $(VENV)/requirements-dev
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

campaign: $(VENV)/requirements-dev
	$(BIN)/python -m tests.campaigns

lint: $(VENV)/requirements-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy --explicit-package-bases .

clean:
	rm -rf $(DEMO) $(VENV)
