# Everything runs in .venv, which the first target that needs it creates. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

RATES := rates.csv
FUZZ_FILES := 1000000

# Where install-desktop puts its files; DESTDIR goes before it, for who builds a package.
PREFIX ?= $(HOME)/.local
SHARE := $(DESTDIR)$(PREFIX)/share
MANUAL := build/man
DESKTOP := mime/packages/sadcodec.xml thumbnailers/sadcodec.thumbnailer
COMPLETION := bash-completion/completions/sad zsh/site-functions/_sad fish/vendor_completions.d/sad.fish
# A package leaves the database to the system it is installed on.
UPDATE_MIME = test -n "$(DESTDIR)" || ! command -v update-mime-database > /dev/null || \
  ! test -d $(SHARE)/mime || update-mime-database $(SHARE)/mime

DEMO_IMAGE := data/coffee.png
DEMO_BPP := 0.5
DEMO_SAD := demo/coffee.sad
DEMO_PNG := demo/coffee.png

KERNELS := $(shell find kernels -type f)
FORMATTED := $(filter %.h %.cpp %.cu %.cuh,$(KERNELS)) $(wildcard tests/cuda_host/*.h tests/cuda_host/*.cpp)

# One test process for each core; a few suffice, and each compiles kernels of its own.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist worksteal

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo test check-kernels check-races check-cupy golden test-damage test-threads fuzz test-gpu lint format bench bench-rd bench-gpu \
  figure man install-desktop uninstall-desktop clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

venv: $(READY) ## create .venv with the package, the tests and the checkers

# Without isolation the compiler's outputs under build/ stay valid from one install to the next; the
# price is to ask the build backend what it needs (CMake, Ninja), as pip would. "pip" is there so
# that an empty answer is no error.
$(READY): pyproject.toml $(KERNELS)
	@echo "building sadcodec in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq $$($(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')
	@$(BIN)/python -m pip install -qq $$($(BIN)/python -c 'import scikit_build_core.build as b; \
	  print("pip", *b.get_requires_for_build_editable())')
	@$(BIN)/python -m pip install -qq --no-build-isolation --editable '.[dev]'
	@touch $@

demo: $(READY) ## encode a photograph of data/, decode it, print bytes, bpp and PSNR
	@mkdir -p demo
	@$(BIN)/sad encode $(DEMO_IMAGE) -o $(DEMO_SAD) --bpp $(DEMO_BPP) --force
	@$(BIN)/sad decode $(DEMO_SAD) -o $(DEMO_PNG) --force
	@echo "compare $(DEMO_IMAGE) and $(DEMO_PNG)"

test: $(READY) ## run the tests
	@$(BIN)/python -m pytest -q $(PARALLEL)

check-kernels: $(READY) ## compile the CUDA kernels, run them on the CPU; needs no GPU
	@$(BIN)/python -m pytest -q $(PARALLEL) -k cuda

check-races: $(READY) ## the same with every access to memory checked; some minutes
	@SAD_CUDA_HOST_CHECKED=1 $(BIN)/python -m pytest -q $(PARALLEL) -k cuda

check-cupy: $(READY) ## compare the stand-in for CuPy with the CuPy of .venv; needs no GPU
	@PYTHONPATH=tests $(BIN)/python tests/real_cupy.py

test-gpu: $(READY) ## run the tests that need a GPU
	@$(BIN)/python -m pytest -q -m gpu $(shell grep -lE 'mark\.gpu|import .*\b(ALL|CUDA|OTHERS)\b' tests/test_*.py)

lint: $(READY) ## check style, types and formatting
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/clang-format --dry-run -Werror $(FORMATTED)

format: $(READY) ## format the Python and C++ sources
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet
	@$(BIN)/clang-format -i $(FORMATTED)

golden: $(READY) ## write the files of tests/golden that are missing; none is made anew
	@PYTHONPATH=tests $(BIN)/python tests/golden_files.py
	@PYTHONPATH=tests $(BIN)/python tests/bad_files.py

test-damage: $(READY) ## every truncation and changed byte of all golden files; some minutes
	@PYTHONPATH=tests $(BIN)/python tests/exhaustive_damage.py

test-threads: $(READY) ## stress tests of threads on a build with ThreadSanitizer; some minutes
	@sh tests/sanitized.sh $(CURDIR)/$(BIN)/python thread -m pytest -q -p no:cacheprovider tests/test_concurrency.py

fuzz: $(READY) ## decode FUZZ_FILES mutated files on a build with AddressSanitizer and UBSan; an hour
	@sh tests/sanitized.sh $(CURDIR)/$(BIN)/python address,undefined tests/fuzz.py --count $(FUZZ_FILES) --out $(CURDIR)

bench: $(READY) ## measure encode, decode and the passes of one iteration
	@$(BIN)/python benchmarks/speed.py

bench-rd: $(READY) ## measure bits by column, each technique, each effort
	@$(BIN)/python benchmarks/rate_distortion.py --out benchmarks/results/rd.json

bench-gpu: $(READY) ## measure a GPU: fits, passes, drawing, memory
	@$(BIN)/python benchmarks/gpu.py --out benchmarks/results/gpu.json

figure: $(READY) ## draw the README's figure from RATES, what sad eval --out wrote of the Kodak images
	@mkdir -p docs/figures
	@$(BIN)/sad eval --from $(RATES) --peers benchmarks/anchors_kodak.csv \
	  --plot docs/figures/rd_kodak.svg --force > /dev/null

man: $(READY) ## write the manual pages to build/man
	@rm -rf $(MANUAL)
	@$(BIN)/python -m sadcodec.cli.manual $(MANUAL)

install-desktop: man ## install file type, thumbnails, manual, completion under PREFIX (~/.local)
	@install -d $(addprefix $(SHARE)/,$(sort $(dir $(DESKTOP) $(COMPLETION))) man/man1)
	@install -m 644 desktop/sadcodec.xml $(SHARE)/mime/packages/
	@install -m 644 desktop/sadcodec.thumbnailer $(SHARE)/thumbnailers/
	@install -m 644 $(MANUAL)/*.1 $(SHARE)/man/man1/
	@$(BIN)/python -m sadcodec completion bash > $(SHARE)/$(word 1,$(COMPLETION))
	@$(BIN)/python -m sadcodec completion zsh > $(SHARE)/$(word 2,$(COMPLETION))
	@$(BIN)/python -m sadcodec completion fish > $(SHARE)/$(word 3,$(COMPLETION))
	@$(UPDATE_MIME)
	@echo "installed in $(SHARE); thumbnails and completion need the command sad on the PATH"

uninstall-desktop: ## remove what install-desktop installed
	@rm -f $(addprefix $(SHARE)/,$(DESKTOP) $(COMPLETION) man/man1/sad.1 man/man1/sad-*.1)
	@$(UPDATE_MIME)

.PHONY: viewer viewer-figure
viewer: ## make viewer/index.html from its sources
	@$(PYTHON) viewer/bundle.py

viewer-figure: $(READY) viewer ## draw the figure of docs/VIEWER.md; needs Chromium
	@PYTHONPATH=tests $(BIN)/python tests/viewer_figure.py

clean: ## remove .venv, builds, demo outputs and caches
	@rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f sadcodec/*.so
