# usher's tasks. "make help" lists them; every one works on a fresh clone.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

GO        ?= go
VERSION   ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
LDFLAGS    = -s -w -X github.com/usherhq/usher/internal/app.version=$(VERSION)
BUILD      = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
# The end-to-end tests take longest, most of it waiting, so they begin first.
PACKAGES  ?= ./internal/e2e ./...
# A fuzz target needs a second or two to build; the rest is searching. With a count (FUZZTIME=300x) it ends by itself,
# where a duration now and then ends in "context deadline exceeded", which is no finding.
FUZZTIME  ?= 5s
TIMEOUT   ?= 12m
# What "make bench" measures after the Go benchmarks: a mode of internal/bench with its flags, such as "flood -rounds 1".
BENCH     ?= all
# The race detector needs a C compiler everywhere but on macOS.
RACE      ?= $(if $(filter-out 0,$(shell $(GO) env CGO_ENABLED))$(filter darwin,$(shell $(GO) env GOOS)),-race)
TESTFLAGS ?= -shuffle=on

# In CI nothing may be skipped.
ifeq ($(CI),true)
export USHER_REQUIRE_EMULATORS := 1
endif

# Go decides what is out of date, so its programs are always "built".
.PHONY: help build run test bench chaos lint fmt generate generate-check fuzz cover cross clean testtools

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/usher
	$(BUILD) -o bin/usher$(shell $(GO) env GOEXE) ./consumer

run: build ## Start usher on this machine with sample webhooks; needs only Go; ends with Ctrl-C
	@exec bin/usher$(shell $(GO) env GOEXE) dev --samples

test: testtools ## Run all tests; starts Google's emulators when they are installed
	@$(if $(RACE),,echo "no C compiler: testing without the race detector";) exec bin/with-emulators -- bin/gotest $(RACE) -timeout $(TIMEOUT) $(TESTFLAGS) $(PACKAGES)

cover: testtools ## Run all tests and print the coverage of each package
	@bin/with-emulators -- bin/gotest -timeout $(TIMEOUT) -coverpkg=./... -coverprofile=bin/cover.out $(PACKAGES)
	@$(GO) tool cover -func=bin/cover.out | tail -1
	@echo "lines: $(GO) tool cover -html=bin/cover.out"

bench: ## Run the Go benchmarks, then measure speed and cost (BENCH=all; docs/benchmarks.md)
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./internal/bench $(BENCH)

chaos: ## Let go wrong what can and audit the books (CHAOSFLAGS=-short; -help lists scenarios)
	$(GO) run ./internal/chaos $(CHAOSFLAGS)

lint: bin/golangci-lint ## Check style and the usual mistakes
	bin/golangci-lint run

fmt: bin/golangci-lint ## Format the code
	bin/golangci-lint fmt

fuzz: ## Run each fuzz test for a short time (FUZZTIME=5s)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' consumer config functions internal | sort \
	| while IFS=: read -r file fn; do \
		echo "fuzz $$(dirname "$$file") $${fn#func }"; \
		$(GO) test -run '^$$' -fuzz "^$${fn#func }\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" >bin/fuzz.log 2>&1 \
			|| { cat bin/fuzz.log; exit 1; }; \
	done

generate: ## Write the generated files anew
	$(GO) generate ./...

generate-check: ## Fail when a generated file is out of date
	@$(FINGERPRINT) >bin/before.sum
	@$(GO) generate ./...
	@$(FINGERPRINT) | diff bin/before.sum - | sed -n 's/^> [0-9]* [0-9]* /out of date, now written anew: /p' >bin/stale.txt || true
	@if [ -s bin/stale.txt ]; then cat bin/stale.txt; exit 1; fi

# Checksums of all files of the work tree that git does not ignore.
FINGERPRINT = git ls-files -cmoz --exclude-standard | sort -zu | { xargs -0 cksum 2>/dev/null || true; }

cross: ## Build for every supported platform, into bin/<os>-<arch>/
	@for p in $(PLATFORMS); do \
		os=$${p%/*} arch=$${p#*/} exe=; \
		[ $$os != windows ] || exe=.exe; \
		echo "build $$p"; \
		GOOS=$$os GOARCH=$$arch $(BUILD) -o bin/$$os-$$arch/usher$$exe ./consumer || exit 1; \
	done

clean: ## Remove what was built
	rm -rf bin dist

testtools:
	@$(GO) build -o bin/ ./internal/emulator/cmd/with-emulators ./internal/testkit/cmd/gotest

# Tools have a go.mod of their own, so that their dependencies are not usher's. A cold build takes two CPU-minutes: the
# binary is kept until its version changes.
bin/golangci-lint: tools/go.mod tools/go.sum
	$(GO) build -C tools -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin:
	@mkdir -p bin

fuzz generate-check: | bin
