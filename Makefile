# ai-tracing: `make` shows the targets. Everything is set up as needed; see scripts/setup.
CARGO ?= cargo
WASM := target/wasm32-wasip1/release/ai_tracing.wasm
MODULE := filters/ai-tracing.wasm

.PHONY: help setup build demo smoke test fuzz lint bench soak docs clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## install the Rust target, and Envoy into .venv
	@scripts/setup

build: setup ## build filters/ai-tracing.wasm
	$(CARGO) build --locked --release --target wasm32-wasip1 --lib
	@mkdir -p $(dir $(MODULE)) && { [ $(MODULE) -nt $(WASM) -a $(MODULE) -nt scripts/optimise ] || scripts/optimise $(WASM) $(MODULE); }

demo: build ## seven calls through a real Envoy, and their traces
	@$(CARGO) run --locked --quiet -p testkit --bin demo

smoke: ## try a running gateway with the filter: make smoke BASE_URL=http://localhost:8000 (tests/kong/README.md)
	@tests/kong/smoke.sh "$(BASE_URL)"

test: build ## all tests: the core natively, the module in a real Envoy
	@scripts/setup sdk
	$(CARGO) test --locked --workspace

fuzz: setup ## ten minutes of each fuzz target (FUZZ_TARGETS, FUZZ_SECONDS, FUZZ_JOBS: see scripts/fuzz)
	@scripts/fuzz run

lint: setup ## formatting and clippy, for the host and for wasm
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib --target wasm32-wasip1 -- -D warnings

bench: build ## what the filter costs, beside bare Envoy and a null tap
	@scripts/setup wrk:wrk
	@$(CARGO) build --locked --quiet --release --target wasm32-wasip1 --manifest-path benches/null-tap/Cargo.toml \
		--target-dir benches/null-tap/target
	@$(CARGO) run --locked --quiet --profile tools -p testkit --bin bench

soak: build ## ten minutes at saturation with a dead Langfuse: memory and latencies
	@scripts/setup wrk:wrk
	@$(CARGO) build --locked --quiet --release --target wasm32-wasip1 --manifest-path benches/null-tap/Cargo.toml \
		--target-dir benches/null-tap/target
	@$(CARGO) run --locked --quiet --profile tools -p testkit --bin soak

docs: ## rewrite the parts of the documents that are made from the code
	UPDATE_DOCS=1 $(CARGO) test --locked --test documents --test explain --test schema

clean: ## remove what was built and installed here
	rm -rf target .venv $(MODULE) benches/null-tap/target
