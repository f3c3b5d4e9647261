# CryptoServe Appliance. `make` alone lists the targets.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LISTEN  ?= 127.0.0.1:8443
DEVDIR  ?= .dev

# How long each fuzz target runs, and each package's tests may.
FUZZTIME    ?= 10s
TESTTIMEOUT ?= 20m
# More to measure, such as BENCHFLAGS='--sizes 32,1024,65536'.
BENCHFLAGS ?=

LINT := $(GO) tool -modfile=tools/lint/go.mod golangci-lint
# The version is stamped by hand, so that a build does not depend on the state of the work tree.
BUILD := build -trimpath -buildvcs=false
# The frozen Go Cryptographic Module that programs are built with: https://go.dev/doc/security/fips140
FIPS140 ?= v1.0.0

.PHONY: help deps netdeps build run cluster test race chaos lint fmt vectors bigfile bench bench-cluster fuzz clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install SoftHSM2 when it is missing
	@$(GO) run ./softhsm/cmd/softhsm-install

# Not for a node: only the tests of clusters need them.
netdeps:
	@tools/netdeps.sh

build: ## Build bin/cryptoserved and bin/cryptoserve
	GOFIPS140=$(FIPS140) CGO_ENABLED=1 $(GO) $(BUILD) -ldflags '-X cryptoserve/appliance.Version=$(VERSION)' -o bin/cryptoserved ./appliance/cmd/cryptoserved
	GOFIPS140=$(FIPS140) CGO_ENABLED=0 $(GO) $(BUILD) -ldflags '-X main.version=$(VERSION)' -o bin/cryptoserve ./tools/cryptoserve

run: deps build ## Run one node in .dev and show an encrypt and a decrypt
	@exec tools/run.sh $(DEVDIR) $(LISTEN)

CLUSTERDIR ?= .cluster

cluster: deps build ## Run three nodes of one cluster in .cluster and say how to use them
	@exec tools/cluster.sh $(CLUSTERDIR)

# Pure computation with long lists of vectors: the race detector makes them ten times as slow and has nothing to find.
PURE := ./engine/kdf ./engine/kem ./engine/password ./engine/signature

# Whole nodes and the programs: most of these tests walk from one request to the next, and under the race detector that takes four
# times as long.
# Those that load a node, or fail it under load, run with it too.
WHOLE := ./appliance/systemtest ./tools/cryptoserve
LOADED := UnderLoad|StopLosesNoRequest|TokenAway|GraceServesCachedKeys|TestSessions/stream

test: deps netdeps ## Run all tests, with the race detector where there is something to race
	$(GO) vet ./...
	$(GO) test -race -timeout $(TESTTIMEOUT) $$($(GO) list ./... | grep -vxF "$$($(GO) list $(PURE) $(WHOLE))")
	$(GO) test -race -timeout $(TESTTIMEOUT) -run '$(LOADED)' $(WHOLE)
	$(GO) test -timeout $(TESTTIMEOUT) $(WHOLE) $(PURE)

race: deps netdeps ## Run all tests, each with the race detector
	$(GO) test -race -timeout 20m ./...

# Which faults come when, 0 for others each time, and for how long.
SEED    ?= 0
MINUTES ?= 10

chaos: deps netdeps ## Break a cluster for MINUTES (10), with SEED (0: a new one), and check what it promised; needs root
	$(GO) test -count=1 -timeout 0 -v -run 'TestChaosOnARealCluster' ./appliance/clustertest -args -seed $(SEED) -minutes $(MINUTES)

lint: ## Run the pinned linters
	$(LINT) run --timeout 15m

fmt: ## Format all Go files
	$(LINT) fmt

vectors: deps ## Run the test vectors of others and print what passed
	@$(GO) test -count=1 -v -run Vectors ./engine/... ./hsm/... | $(GO) run ./tools/vectors

# How much make bigfile sends, in bytes.
BYTES ?= 5368709120

bigfile: deps build ## Send 5 GiB (BYTES) through encrypt and back with 200 MiB of memory
	@tools/bigfile.sh .cache/bigfile 127.0.0.1:18543 $(BYTES)

bench: deps build ## Compare with a bare Go server; writes bench.txt
	$(GO) $(BUILD) -o bin/bench ./tools/bench
	mkdir -p .cache # not in /tmp, which may be memory: an audit log there would cost nothing
	bin/bench --daemon bin/cryptoserved --dir .cache --out bench.txt $(BENCHFLAGS)
	$(GO) test ./appliance/systemtest -run '^$$' -bench Scale -benchtime 5x

bench-cluster: deps netdeps ## Measure failover, revocation and cost of a cluster of three nodes; needs root
	$(GO) test -run '^$$' -bench 'Revoke|FollowerCost' -benchtime 1x -timeout 10m ./appliance/clustertest
	$(GO) test -run '^$$' -bench Failover -benchtime 20x -timeout 10m ./appliance/clustertest

fuzz: deps ## Run every fuzz target for FUZZTIME (10s)
	@tools/fuzz.sh $(FUZZTIME)

clean: ## Remove what was built; the data in .dev stays
	rm -rf bin .cache bench.txt
