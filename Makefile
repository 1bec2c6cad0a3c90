# `make` alone lists what there is. Recipes are POSIX sh; Go is the only need of
# all but the compose targets; linters are pinned in tools/go.mod.

GO      ?= go
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CONFIG  ?= config.json

# Extra flags: `make run ARGS=-version`, `make gen ARGS="-limit 100 -ttl 1h"`,
# `make test TESTFLAGS="-v -run TestAuth"`.
ARGS      ?=
TESTFLAGS ?=
FUZZTIME  ?= 10s
BENCHTIME ?= 1s
WAIT      ?= 120

# Where the tests look for Jaeger too, in the version that its module pins.
JAEGER_MODULE  = github.com/jaegertracing/jaeger
JAEGER_VERSION = $(shell sed -n 's,^[a-z[:space:]]*$(JAEGER_MODULE) \(v[^ ]*\).*,\1,p' tools/jaeger/go.mod)
JAEGER_CACHE   = $${XDG_CACHE_HOME:-$$HOME/.cache}/tyk_proxy

LDFLAGS = -s -w -X tyk_proxy/app.Version=$(VERSION)
PRODUCT = CGO_ENABLED=0 $(GO) build -trimpath -ldflags="$(LDFLAGS)"
TOOL    = $(GO) tool -modfile=tools/go.mod

# The Go that builds the product, for the check of its minimum: a test of tools/
# is run by what tools/go.mod asks for, which may be a newer one.
GO_OF_BUILD = GO_OF_BUILD="$$($(GO) env GOVERSION)"

# docker-compose.yml stamps the image with it.
export VERSION

.DEFAULT_GOAL := help
.PHONY: help build gen secret run traffic check test race lint fuzz bench bench-e2e vuln jaeger dashboards up up-b down logs clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' Makefile

build: ## Build ./tyk_proxy and ./token_gen
	$(PRODUCT) -o tyk_proxy ./cmd/tyk_proxy
	$(PRODUCT) -o token_gen ./cmd/token-gen

# The programs read .env, the environment and $(CONFIG) by themselves, in the
# order of precedence: environment, .env, $(CONFIG). SECRET stands for the
# gateway's own variable; make neither expands nor prints it.
gen traffic: export GATEWAY_CONFIG = $(CONFIG)
ifneq ($(value SECRET),)
gen traffic run: export TYK_PROX_APPLICATION__TOKEN__JWT_SECRET := $(value SECRET)
endif

gen: ## Mint a token: make gen [SECRET=...] [ARGS="-limit 100 -ttl 1h"]
	$(PRODUCT) -o token_gen ./cmd/token-gen
	@./token_gen $(ARGS)

secret: ## Print a new random JWT secret (48 bytes, base64)
	@if command -v openssl >/dev/null 2>&1; then openssl rand -base64 48; \
	else head -c 48 /dev/urandom | base64; fi

run: build ## Run everything in one process: Redis, backend, gateway, a demo token
	@exec ./tyk_proxy -embedded -env -config $(CONFIG) $(ARGS)

traffic: ## Send every kind of request to a running gateway: make traffic [ARGS="-duration 10s"]
	$(PRODUCT) -o traffic ./cmd/traffic
	@./traffic $(ARGS)

# What CI does, but for installing what is missing.
check: ## Run all checks: build, vet, gofmt, lint, vulnerabilities, fuzz, race, tests
	@bash .ci/run installed

# gotestsum names the tests that were skipped, and why, after all others.
TEST_FORMAT = $(if $(filter -v,$(TESTFLAGS)),standard-verbose,standard-quiet)

test: ## Run all tests; the end says which were skipped and why
	@$(GO_OF_BUILD) GO="$(GO)" $(TOOL) gotestsum --format $(TEST_FORMAT) --raw-command -- sh .ci/test $(TESTFLAGS)

# Without observability: its tests start processes, which the detector does not
# see, and `make test` runs them.
race: ## Run the product's tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -shuffle=on $(TESTFLAGS) $$($(GO) list ./... | grep -v /observability)

lint: ## Run golangci-lint as .golangci.yml says
	$(TOOL) golangci-lint run ./...
	cd tools && $(GO) tool golangci-lint run ./...

fuzz: ## Run each fuzz test for FUZZTIME (10s)
	@GO="$(GO)" sh .ci/fuzz $(FUZZTIME)

bench: ## Run the benchmarks; compare two outputs with benchstat
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(TESTFLAGS) ./...

# Redis, a backend, other proxies and the gateway are started and driven in turn
# (needs wrk and redis-server; nginx and haproxy where they are installed).
bench-e2e: ## Measure whole requests beside other proxies: make bench-e2e [ARGS="-quick -growth"]
	$(GO) -C tools run ./bench $(ARGS)

vuln: ## Look for known vulnerabilities in what is called and in what is required
	@$(GO_OF_BUILD) GO="$(GO)" sh .ci/vuln

# Renamed only when it is whole: a build that was stopped leaves nothing that
# looks like a server.
jaeger: ## Build the Jaeger that the tests use, unless it is there (5 minutes)
	@server="$(JAEGER_CACHE)/jaeger2-$(JAEGER_VERSION)"; \
	if [ -x "$$server" ]; then echo "$$server is there"; exit 0; fi; \
	mkdir -p "$(JAEGER_CACHE)" && \
	CGO_ENABLED=0 $(GO) -C tools/jaeger build -ldflags="-s -w" -o "$$server.part" $(JAEGER_MODULE)/cmd/jaeger && \
	mv "$$server.part" "$$server" && echo "built $$server"

# A test fails when the files differ from what the program writes.
dashboards: ## Write Grafana's dashboards, after a change in tools/dashboards
	$(GO) -C tools run ./dashboards ../observability/grafana/dashboards

up: ## Start the whole stack in containers, wait until healthy, print the links
	$(COMPOSE) up -d
	@COMPOSE="$(COMPOSE)" sh .ci/wait-healthy $(WAIT)

up-b: ## The same, with the image built anew
	$(COMPOSE) up -d --build
	@COMPOSE="$(COMPOSE)" sh .ci/wait-healthy $(WAIT)

down: ## Stop and remove the containers; token records and metrics stay in their volumes
	$(COMPOSE) down --remove-orphans

logs: ## Follow the containers' logs
	$(COMPOSE) logs -f --tail=100

clean: ## Remove containers, volumes (token records and metrics too) and what make built
	-@if command -v docker >/dev/null 2>&1; then $(COMPOSE) down --volumes --remove-orphans; fi
	rm -f tyk_proxy token_gen traffic *.test *.out *.prof *.pprof
