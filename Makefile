# `make demo` and `make test` are all one needs; `make help` lists the rest.
# ARGS is handed on: make test-browser ARGS="-k matmul --devices wasm"

PYTHON ?= python3
ARGS ?=
VENV := .cache/venv/bin
SETUP := $(PYTHON) tools/setup.py
JS := $(wildcard web/*.js web/*/*.js)
PRETTIER := node_modules/.bin/prettier --log-level warn --no-error-on-unmatched-pattern
PRETTY := "web/**/*.js" "site/**/*.{js,mjs}" "tools/**/*.{js,mjs}" "bench/**/*.{js,mjs}"
RUFF_PATHS := package tests tools $(wildcard wasm_kernels/*.py bench site)

.PHONY: help setup setup-firefox wheel kernels demo serve site test lint format types test-desktop \
	test-torch test-browser test-host test-firefox test-node bench clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## install the tools, Pyodide and a browser (cached)
	@$(SETUP)

setup-firefox: ## install Firefox too
	@$(SETUP) python node pyodide firefox

wheel: ## build dist/tabgrad-*.whl, kernels included
	@$(SETUP) python
	@$(VENV)/python tools/wheel.py

kernels: ## compile the WebAssembly kernels
	@$(SETUP) python
	@$(VENV)/python wasm_kernels/build.py

demo: setup site ## train in a real browser, on WebGPU and on WASM, and print the numbers
	@$(VENV)/python tools/demo.py $(ARGS)

site: ## assemble the whole site in .cache/site
	@$(SETUP) python node pyodide
	@$(VENV)/python tools/build_site.py

serve: site ## serve the site at port 8000
	@$(VENV)/python tools/serve.py $(ARGS)

test: setup ## everything that must hold
	@rm -f .cache/devices-that-ran.txt
	@$(MAKE) --no-print-directory lint types wheel test-desktop test-browser
	@echo "--- what ran:" && cat .cache/devices-that-ran.txt

lint: ## formatting and likely mistakes, Python and JavaScript
	@$(SETUP) python node
	$(VENV)/ruff check $(RUFF_PATHS)
	$(VENV)/ruff format --check $(RUFF_PATHS)
	$(PRETTIER) --check $(PRETTY)
	$(if $(JS),node_modules/.bin/tsc --project tools/tsconfig.json)

format: ## bring every file into shape
	@$(SETUP) python node
	$(VENV)/ruff check --fix $(RUFF_PATHS)
	$(VENV)/ruff format $(RUFF_PATHS)
	$(PRETTIER) --write $(PRETTY)

types: ## check the types of the package
	@$(SETUP) python
	$(VENV)/mypy

test-desktop: kernels ## the suite, the doctests and the WASM kernels on desktop Python
	$(VENV)/pytest tests/suite tests/test_doctests.py tests/test_types.py $(ARGS)
	$(if $(ARGS),,$(VENV)/pytest tests/kernels/test_wasm.py tests/kernels/test_random.py)

test-torch: ## desktop only: compare with real PyTorch, which is downloaded
	@$(SETUP) python torch
	.cache/torch/bin/pytest --import-mode=importlib tests/torch $(ARGS)

test-browser: ## the suite in Pyodide in Chromium, on both devices, and (without ARGS) test-host
	@$(SETUP)
	@$(VENV)/python tools/browser_suite.py $(ARGS)
	$(if $(ARGS),,$(VENV)/pytest tests/browser)
	$(if $(ARGS),,$(VENV)/pytest tests/kernels/test_wgsl.py)

test-host: ## tests/browser: the tools, and the wheel in a page and in a worker
	@$(SETUP)
	$(VENV)/pytest tests/browser $(ARGS)

test-firefox: setup-firefox ## the suite in Firefox, on WASM
	@$(VENV)/python tools/browser_suite.py --browser firefox --devices wasm $(ARGS)

test-node: setup ## the suite in Pyodide under node, on both devices
	@$(VENV)/python tools/browser_suite.py --browser node $(ARGS)

test-vulkan: ## float16 and subgroup matrices, on the Vulkan driver that VK_ICD_FILENAMES names
	@$(SETUP) python node
	$(VENV)/pytest tests/kernels/test_halves.py tests/kernels/test_matrices.py $(ARGS)

bench: setup ## measure beside other libraries; ARGS="--only matmul --systems tabgrad-wasm,jax-wasm-1"
	@$(VENV)/python bench/bench.py $(ARGS)

clean: ## remove what was built, keep what was installed
	rm -rf dist wasm_kernels/build .cache/site .cache/devices-that-ran.txt
	find . -name __pycache__ -not -path "./.cache/*" -not -path "./node_modules/*" -exec rm -rf {} +
