# Run `make` for the list of targets. Every one of them does its own set-up and
# skips what is there, so a fresh Debian 12 with Go and apt is enough.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The prerequisites of `test` are steps, in that order, also under -j.
.NOTPARALLEL:

BIN := bin/tapedeck
TOOLS := build/bin
SETUP := build/setup.sh
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE ?= tapedeck:$(VERSION)
OUT ?= out

export CGO_ENABLED := 1
# The version comes from -ldflags; asking Git for it again fails in a checkout
# that belongs to somebody else, as CI's often does.
export GOFLAGS += -buildvcs=false
# The tests find the S3 server and the linter here.
export PATH := $(CURDIR)/$(TOOLS):$(PATH)

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install every Debian package that is missing, and create the user tapedeck
	@$(SETUP) all

.PHONY: build
build: setup-build compile ## Build bin/tapedeck

.PHONY: test
test: setup tools compile lint-run ## Set up, lint and run every test with -race (what CI runs)
	@echo "compiling everything with -race (minutes when the build cache is cold)"
	@go build -race ./...
	go test -race -timeout 20m -p 1 ./...

.PHONY: test-unit
test-unit: ## Run the domain's own tests: no set-up, no cgo, a second
	CGO_ENABLED=0 go test ./recorder

.PHONY: lint
lint: setup-lint $(TOOLS)/golangci-lint lint-run ## Run golangci-lint and shellcheck

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format the Go code
	@$(TOOLS)/golangci-lint fmt

.PHONY: demo
demo: setup-demo compile ## Record a page through a queue and a worker, into out/
	@go run ./test/demo -tapedeck $(BIN) -out $(OUT)

.PHONY: bench
bench: setup tools compile ## Measure what a recording costs and how exact it is
	@go test -v -count=1 -timeout 20m -tags bench -run TestCost ./test/bench -args -tapedeck $(CURDIR)/$(BIN)

.PHONY: image
image: ## Build the container image (needs Docker)
	docker build --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

.PHONY: tools
tools: $(TOOLS)/golangci-lint $(TOOLS)/versitygw ## Build the pinned test tools into build/bin

.PHONY: clean
clean: ## Remove what the other targets built (packages stay installed)
	rm -rf bin $(TOOLS) $(OUT)

# Steps of the targets above. They have no `##`, so they are not listed.

.PHONY: setup-build setup-demo setup-lint
setup-build:
	@$(SETUP) build
setup-demo:
	@$(SETUP) runtime build demo
setup-lint:
	@$(SETUP) build lint

# Always asks Go, which knows better than make whether anything changed.
.PHONY: compile
compile:
	@echo "building $(BIN) $(VERSION)"
	@go build -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/tapedeck

.PHONY: lint-run
lint-run:
	$(TOOLS)/golangci-lint run ./...
	shellcheck build/*.sh .ci/run

$(TOOLS)/golangci-lint: build/tools/golangci-lint/go.mod
	@echo "building golangci-lint (once)"
	@go -C $(<D) build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/versitygw: build/tools/versitygw/go.mod
	@echo "building versitygw (once)"
	@go -C $(<D) build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/versity/versitygw/cmd/versitygw
