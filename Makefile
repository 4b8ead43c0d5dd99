# Everything here needs Go, make and a C compiler, and no more (the race detector needs the compiler); test-novxlan fetches the rest by itself.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/weftnet/weft/internal/cli.version=$(VERSION)

# Where the demo and tests find the program.
export WEFT_BIN := $(CURDIR)/bin/weft

# Two packages are built and tested at a time: most tests wait for the kernel, for namespaces above all, and the two together use two cores well.
# More of them would only compete. What go vet says is said by make lint.
TEST_FLAGS := -count=1 -p 2 -timeout 20m -vet off

# The longest begin first, so that the others are beside them and not before.
LONGEST := ./internal/interop ./internal/conformance

# Within a package four tests run at once, if they may at all, for the same reason.
SIDE_BY_SIDE := -parallel 4

# These hold the order of a hundred thousand packets a second, which both programs and sockets carry. Where the scheduler takes a thread to another
# core, what it has sent may wait in the backlog of the former one, and two packets of a million change places: they run by themselves.
ALONE     := ^Test(Flood|Shortcut((Send|Receive|Routed)Order|SocketFlood|Stall))$$
ALONE_PKG := ./internal/interop

# The library is tested with and without the race detector, the daemon and the command line with it only: without it they are in all tests that
# have traffic.
RACE_ONLY := internal/control internal/daemon internal/cli
RACE_PKGS := $(patsubst %,./%/...,encap routetable dataplane $(RACE_ONLY))

DEMO_TURN ?= 2s
BENCH     ?= .
BENCHTIME ?= 1x
FUNCTIME  ?= 200ms
RESULTS   ?= bench/results/ci.txt
FUZZTIME  ?= 30s
FUZZ_PKGS ?= ./encap ./routetable $(addprefix ./internal/flannel/,backend/extension lease netconf subnetenv netfilter/xtables)

# What runs on the kernel without vxlan: test binaries of these packages, tests that match the pattern. An emulated machine is slow, and
# Linux 6.1 refuses some of what the other tests want of its sockets (UDP_SEGMENT on devices that compute no checksums, before 6.11).
NOVXLAN_PKGS ?= internal/novxlan internal/demo internal/flannel/backend/lantest $(patsubst %/,%,$(dir $(firstword $(wildcard internal/interop/*_test.go))))
NOVXLAN_RUN  ?= NoVXLAN|UserUserPing|UserUserTransfer$$|UserUserTransferDefaultBuffer
NOVXLAN_BINS  = $(patsubst %,bin/%.test,$(notdir $(NOVXLAN_PKGS)))

# The linter and benchstat are pinned in a module of their own, so that go.mod does not carry what they need.
TOOL        := go tool -modfile=tools/go.mod
VET_ARCHES  := amd64 arm64 arm riscv64 s390x
PORTABLE_OS := darwin windows
LIBRARY     := ./encap ./routetable ./dataplane

.PHONY: build
build: ## build bin/weft (the default)
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/weft ./cmd/weft

.PHONY: demo
demo: build ## show two hosts, one with weft and one with the kernel's vxlan, real traffic between them, and a flannel network of three nodes
	CGO_ENABLED=0 go build -trimpath -o bin/weft-demo ./internal/demo
	bin/weft-demo -turn $(DEMO_TURN)

.PHONY: test
test: build ## run all tests, those of the library once more and those of the daemon and the command line under the race detector
	go test -C tools ./testsum
	go build -C tools -o ../bin/testsum ./testsum
	bin/testsum $(TEST_FLAGS) $(SIDE_BY_SIDE) -skip '$(ALONE)' $(LONGEST) $$(go list ./... | grep -v $(RACE_ONLY:%=-e /%)) + $(TEST_FLAGS) -run '$(ALONE)' $(ALONE_PKG) + -race $(TEST_FLAGS) $(RACE_PKGS) + -tags portable $(TEST_FLAGS) ./dataplane/...

.PHONY: test-novxlan
test-novxlan: ## boot a kernel that has no vxlan under qemu and run NOVXLAN_RUN of NOVXLAN_PKGS in it
	CGO_ENABLED=0 go build -trimpath -o bin/novxlan ./internal/novxlan
	CGO_ENABLED=0 go test -c -o bin/ $(addprefix ./,$(NOVXLAN_PKGS))
	bin/novxlan -run '$(NOVXLAN_RUN)' $(NOVXLAN_BINS)

# Flannel's own program, which needs neither iptables nor anything else here: FLANNELD is its path, FLANNELD_ETCD_API 2 before v0.18.
FLANNELD_ETCD_API ?= 3
FLANNELD_RUN      := $(if $(filter 2,$(FLANNELD_ETCD_API)),^TestFlanneld$$,^TestFlanneld)

.PHONY: test-flanneld
test-flanneld: build ## have the flanneld at FLANNELD among weft nodes, by each backend
	WEFT_TEST_FLANNELD=$(abspath $(FLANNELD)) WEFT_TEST_FLANNELD_API=$(FLANNELD_ETCD_API) go test -count=1 -v -tags flanneld -run '$(FLANNELD_RUN)' ./internal/agent/nodes

# Traffic is measured in turns of fixed length, BENCHTIME of them (1x: three or more, which take eight minutes); functions for FUNCTIME each. What a
# whole run printed becomes the results file, from which the documents are made.
.PHONY: bench
bench: build ## measure what matches BENCH beside the kernel; all of it (the default) renews RESULTS and docs/performance.*
	echo 'weft: $(VERSION)' >bin/bench.txt
	go test -run '^$$' -bench '$(BENCH)' -benchtime '$(BENCHTIME)' -timeout 120m ./bench | tee -a bin/bench.txt
	go test -run '^$$' -bench '$(BENCH)' -benchtime '$(FUNCTIME)' ./encap ./routetable | tee -a bin/bench.txt
	go run ./internal/benchreport bin/bench.txt
ifeq ($(BENCH),.)
	cp bin/bench.txt $(RESULTS)
	go run ./internal/benchreport -docs docs $(RESULTS)
endif

.PHONY: benchstat
benchstat: ## compare two outputs of make bench (bin/bench.txt): make benchstat OLD=a.txt NEW=b.txt
	$(TOOL) benchstat -ignore weft,date $(OLD) $(NEW)

.PHONY: fuzz
fuzz: ## run every fuzz target of FUZZ_PKGS for FUZZTIME each
	@for p in $(FUZZ_PKGS); do \
	targets=$$(go test -list '^Fuzz' $$p | grep '^Fuzz') || { echo "$$p has no fuzz target"; exit 1; }; \
	for t in $$targets; do echo "$$p $$t"; go test -run '^$$' -fuzz "^$$t\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$p || exit 1; done; done

.PHONY: cover
cover: build ## test, and print how much of each package all tests together cover
	rm -rf bin/cover
	mkdir -p bin/cover
	WEFT_BIN= go test $(TEST_FLAGS) $(SIDE_BY_SIDE) -cover -coverpkg=./... ./... -args -test.gocoverdir=$(CURDIR)/bin/cover
	go tool covdata textfmt -i=bin/cover -o bin/cover.out
	go tool covdata percent -i=bin/cover
	go tool cover -func=bin/cover.out | tail -n 1

.PHONY: lint
lint: lint-go lint-ports ## run the linters and vet what is built for other machines

.PHONY: lint-go
lint-go:
	$(TOOL) golangci-lint run ./...
	go vet -tags flanneld ./internal/agent/nodes
	cd tools && go tool golangci-lint run ./...

.PHONY: lint-ports
lint-ports: $(addprefix vet-,$(VET_ARCHES)) $(addprefix build-,$(PORTABLE_OS))

.PHONY: $(addprefix vet-,$(VET_ARCHES))
$(addprefix vet-,$(VET_ARCHES)): vet-%:
	CGO_ENABLED=0 GOOS=linux GOARCH=$* go vet ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=$* go vet -tags portable $(addsuffix /...,$(LIBRARY))

# The library alone has a portable device path.
.PHONY: $(addprefix build-,$(PORTABLE_OS))
$(addprefix build-,$(PORTABLE_OS)): build-%:
	CGO_ENABLED=0 GOOS=$* go build $(LIBRARY)

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin

.PHONY: help
help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done
