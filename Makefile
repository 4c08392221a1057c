# Run `make` for the list of targets. Every one of them does its own set-up and
# skips what is there, so a fresh Debian 12 with Go, Node.js 20 and apt is enough.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The prerequisites of `test` are steps, in that order, also under -j.
.NOTPARALLEL:

BIN := bin/tapedeck
TOOLS := build/bin
SETUP := build/setup.sh
WEB := templates/web
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
IMAGE ?= tapedeck:$(VERSION)
OUT ?= out
# Packages whose tests judge no picture or sound by the clock: they may share the
# processors. All others run one at a time.
UNTIMED := $(addprefix tapedeck/,cmd/tapedeck recorder recorder/control recorder/egress recorder/queue recorder/recordertest recorder/upload recorder/webhook test/packaging)

export CGO_ENABLED := 1
# The race detector waits a second at the end of each test binary, and of each child it plays.
export GORACE := atexit_sleep_ms=0
# The version comes from -ldflags; asking Git for it again fails in a checkout
# that belongs to somebody else, as CI's often does.
export GOFLAGS += -buildvcs=false
# The tests find the S3 and LiveKit servers and the linter here.
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
test: setup tools compile web-test lint-run ## Set up, lint and run every test with -race (what CI runs)
	@echo "compiling everything with -race (minutes when the build cache is cold)"
	@go build -race ./...
	@ok=true; \
	(set -x; go test ./test/protocol) || ok=false; \
	(set -x; go test -race -timeout 20m -p 2 $(UNTIMED)) || ok=false; \
	(set -x; go test -race -timeout 20m -p 1 $(filter-out $(UNTIMED),$(shell go list ./...))) || ok=false; \
	$$ok

.PHONY: test-unit
test-unit: ## Run the domain's own tests: no set-up, no cgo, a second
	CGO_ENABLED=0 go test ./recorder

.PHONY: test-rooms
test-rooms: setup tools compile ## Record rooms a minute long in each layout: on a machine that does nothing else
	TAPEDECK_LONG=1 go test -count=1 -timeout 30m -v -run '^TestRoom|^TestBarcode$$' ./test/e2e

.PHONY: test-faults
test-faults: setup tools compile ## Break one thing after the other while recording, and write docs/faults.md
	TAPEDECK_LONG=1 TAPEDECK_BIN=$(BIN) TAPEDECK_FAULTS_COMMAND='make $@' TAPEDECK_FAULTS_TABLE=$(CURDIR)/docs/faults.md \
		go test -count=1 -timeout 25m -parallel 2 -v -run '^TestFaults$$' ./test/faults

.PHONY: lint
lint: setup-lint $(TOOLS)/golangci-lint lint-run ## Run golangci-lint and shellcheck

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format the Go code
	@$(TOOLS)/golangci-lint fmt

.PHONY: demo
demo: setup-demo compile ## Record a page through a queue and a worker, into out/
	@go run ./test/demo -tapedeck $(BIN) -out $(OUT)

.PHONY: demo-room
demo-room: setup-room $(TOOLS)/livekit-server compile ## Record a LiveKit room, to a file and to an RTMP server
	@go run ./test/demo -room -seconds 20 -tapedeck $(BIN) -out $(OUT)

.PHONY: bench
bench: setup tools compile ## Measure what a recording costs and how exact it is
	@go test -v -count=1 -timeout 20m -tags bench -run 'TestCost|TestRooms' ./test/bench -args -tapedeck $(CURDIR)/$(BIN)

.PHONY: image
image: ## Build the container image (needs Docker)
	docker build --build-arg VERSION=$(VERSION) --tag $(IMAGE) .

.PHONY: tools
tools: $(TOOLS)/golangci-lint $(TOOLS)/versitygw $(TOOLS)/fake-gcs-server $(TOOLS)/livekit-server ## Build the pinned test tools into build/bin

.PHONY: clean
clean: ## Remove what the other targets built (packages stay installed)
	rm -rf bin $(TOOLS) $(OUT) $(WEB)/node_modules
	find $(WEB)/dist -mindepth 1 ! -name .gitkeep -delete

# Steps of the targets above. They have no `##`, so they are not listed.

.PHONY: setup-build setup-demo setup-room setup-lint
setup-build:
	@$(SETUP) build
setup-demo:
	@$(SETUP) runtime build demo
setup-room:
	@$(SETUP) runtime build demo rtmp
setup-lint:
	@$(SETUP) build lint

# Always asks Go, which knows better than make whether anything changed.
.PHONY: compile
compile: $(WEB)/dist/index.html
	@echo "building $(BIN) $(VERSION)"
	@go build -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/tapedeck

# The page of rooms. Go embeds what is there, so it is built first.
$(WEB)/dist/index.html: $(WEB)/node_modules/.package-lock.json $(wildcard $(addprefix $(WEB)/,*.html *.json *.ts src/*))
	@echo "building the room template"
	@cd $(WEB) && npm run --silent build -- --logLevel warn

# npm keeps this file at the end of an installation that succeeded.
$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	@node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a === 20 && b >= 19 ? 0 : 1)' || \
		{ echo "the room template needs Node.js 20.19 or newer (Debian 12 has 18): see https://nodejs.org" >&2; exit 1; }
	@echo "installing the room template's npm packages"
	@cd $(WEB) && npm ci --ignore-scripts --no-audit --no-fund --silent

.PHONY: web-test
web-test: $(WEB)/node_modules/.package-lock.json
	@cd $(WEB) && npm test --silent

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

$(TOOLS)/fake-gcs-server: build/tools/fake-gcs-server/go.mod
	@echo "building fake-gcs-server (once)"
	@go -C $(<D) build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/fsouza/fake-gcs-server

$(TOOLS)/livekit-server: build/tools/livekit-server/go.mod
	@echo "building livekit-server (once; minutes when the build cache is cold)"
	@go -C $(<D) build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/livekit/livekit-server/cmd/server
