# make build   bin/clone, bin/testhost
# make test    everything: unit tests here, end-to-end tests on a KVM host
# make check   go vet, gofmt and the unit tests only
# make demo    a template, ten forks, a table
# make bench   the figures of docs/performance.md
#
# Each works as the first command in a clean clone on Debian or Ubuntu with Go, as
# root or with sudo. Where the processor has no hardware virtualisation, what
# needs KVM runs in an emulated host (see internal/testhost); it says which.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c

export CGO_ENABLED := 0
export CLONE_CACHE ?= $(HOME)/.cache/clone

# Without a repository that git can read there is no revision to stamp.
# disablethp: with huge pages "always" the first use of Go's heap would take 2 to 4 MiB of each VM's monitor. It is no setting
# that //go:debug takes, and the environment is too late.
GO_BUILD := go build -trimpath -ldflags "-s -w -X runtime.godebugDefault=disablethp=1" $(shell git rev-parse --git-dir >/dev/null 2>&1 || echo -buildvcs=false)
PROGRAMS := internal/initrd/programs
IMAGE    := $(CLONE_CACHE)/debian.ext4

# What needs root keeps this user's Go and cache.
ifneq ($(shell id -u),0)
AS_ROOT := sudo env PATH="$$PATH" HOME="$$HOME" CLONE_CACHE="$$CLONE_CACHE"
endif

.PHONY: all build check test demo bench deps kernels image clean

all: build

# The guest's programs are embedded in bin/clone, so they come first. Go itself
# knows what is out of date.
build:
	$(GO_BUILD) -o $(PROGRAMS)/clone-init ./cmd/clone-init
	$(GO_BUILD) -o $(PROGRAMS)/clone-agent ./cmd/clone-agent
	$(GO_BUILD) -o bin/clone ./cmd/clone
	$(GO_BUILD) -o bin/testhost ./cmd/testhost

deps:
	tools/install-deps

kernels: deps build
	bin/testhost kernel --version 6.12

# An image that another recipe made is made anew.
image: deps build
	recipe=$$(cat $(filter-out %_test.go,$(wildcard internal/rootfs/*.go)) | sha256sum); \
	if [ ! -e "$(IMAGE)" ] || [ "$$(cat "$(IMAGE).recipe" 2>/dev/null)" != "$$recipe" ]; then \
		rm -f "$(IMAGE)"; \
		$(AS_ROOT) bin/clone rootfs create --distro debian -o "$(IMAGE)"; \
		echo "$$recipe" >"$(IMAGE).recipe"; \
	fi

check: build
	go run ./tools/runtests check

test: kernels image
	bin/testhost kernel --version 6.1
	go run ./tools/runtests check host e2e

demo: kernels image
	$(GO_BUILD) -o bin/demo ./tools/demo
	$(AS_ROOT) bin/testhost run --mem 8192 --timeout 30m -- bin/demo

bench: kernels image
	$(GO_BUILD) -o bin/bench ./test/bench
	$(AS_ROOT) bin/bench

clean:
	rm -rf bin $(PROGRAMS)/clone-init $(PROGRAMS)/clone-agent
