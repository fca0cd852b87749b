# edged: what can be done with this tree. `make demo` and `make test` set everything up themselves.

SWIFT       ?= swift
SUDO        := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
LIBRARIES   := libssl-dev liburing-dev libnghttp2-dev libyaml-dev libc-ares-dev
TEST_TOOLS  := curl openssl nginx-light haproxy wrk nghttp2-client nghttp2-server dnsmasq-base \
               unbound bind9 keepalived iproute2 python3 python3-venv util-linux procps \
               systemd groff-base
BENCH_TOOLS := gcc libssl-dev binutils valgrind openssl nginx-light libnginx-mod-stream haproxy wrk \
               python3 util-linux
# Rows of `make bench` (bench/compare.py --list), all by default.
ROWS        ?= all
RELEASE     := -c release --static-swift-stdlib
# Where `make install-man` and `make install-completions` put things.
PREFIX      ?= /usr/local
BUILT       := .build/release

KERNEL_TOOLS := qemu-system-x86 busybox-static cpio curl openssl nginx-light wrk util-linux iproute2

.PHONY: help demo test test-net check bench release format soak soak-hostile soak-http2 \
        soak-operations soak-reload fuzz test-asan test-tsan test-kernel libraries test-tools \
        bench-tools kernel-tools clean man completions install-man install-completions

help:
	@echo 'make demo      build, mint certificates, start two upstreams and edged, make requests'
	@echo 'make test      install what is missing, build with warnings as errors, run all tests'
	@echo 'make test-net  outages of the reference site at full length, with figures'
	@echo 'make check     format, test, and the benchmark budgets'
	@echo 'make bench     compare with HAProxy and nginx, side by side; ROWS=h1-offload,handshake'
	@echo 'make soak      30 s of load over 20 reloads, 300 connects over a killed proxy'
	@echo 'make fuzz      libFuzzer on every parser of outside bytes, FUZZ_SECONDS (60) each'
	@echo 'make soak-hostile  40,000 damaged messages from both sides against the daemon'
	@echo 'make soak-http2  100,000 checked requests through each pair of HTTP versions, with aborts'
	@echo 'make soak-operations  50 reloads, 50 rotations, 5 upgrades, 3 kills under load'
	@echo 'make soak-reload  1,000 reloads with 10,000 sites: time, memory, descriptors'
	@echo 'make test-asan     the tests and a load with AddressSanitizer and LeakSanitizer'
	@echo 'make test-tsan     the same with ThreadSanitizer'
	@echo 'make test-kernel   the release build on Debian'"'"'s 6.1 kernel, in qemu'
	@echo 'make release   optimised binaries in .build/release, Swift library linked in'
	@echo 'make man       manual pages in .build/man; make install-man puts them beneath PREFIX'
	@echo 'make completions  for bash, zsh and fish in .build/completions; install-completions'

# Installs only if something is missing: apt needs the network and a minute.
libraries:
	@dpkg -s $(LIBRARIES) >/dev/null 2>&1 || { \
	  $(SUDO) apt-get update -q && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends $(LIBRARIES); }
	@command -v $(SWIFT) >/dev/null || { echo 'Swift 6.3 is needed (swift.org)'; exit 1; }

test-tools: libraries
	@dpkg -s $(TEST_TOOLS) >/dev/null 2>&1 || { \
	  $(SUDO) apt-get update -q && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends $(TEST_TOOLS); }
	@Tests/Peers/prepare.sh .venv

bench-tools: libraries
	@dpkg -s $(BENCH_TOOLS) >/dev/null 2>&1 || { \
	  $(SUDO) apt-get update -q && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends $(BENCH_TOOLS); }

demo: libraries
	@dpkg -s curl openssl python3 >/dev/null 2>&1 || \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q curl openssl python3
	$(SWIFT) build --product edged
	$(SWIFT) build --product edgectl
	bench/demo.sh .build/debug

# As root the tests run edged as it is deployed (guardian root, proxy unprivileged) and use network
# namespaces; without root those tests fail aloud.
test: test-tools
	EDGED_STRICT=1 $(SWIFT) build --build-tests
	EDGED_STRICT=1 SWIFT=$(SWIFT) Tests/run.sh

# The outages that `make test` replays shortened, what breaks in a pair, and ten minutes of VRRP on
# busy processors: half an hour. Needs root.
test-net: test-tools
	$(SWIFT) build --build-tests
	EDGED_LONG=1 EDGED_FIGURES=1 $(SWIFT) test --skip-build --no-parallel \
	  --filter 'Scenarios.(Outages|Renumbered|DeadMembers|SickMembers)|PairFaultTests|FailoverTimingTests'

check: test bench-tools
	$(SWIFT) format lint --strict --recursive Sources Tests bench Package.swift
	$(MAKE) release
	$(SWIFT) build $(RELEASE) --product EdgeInstructions
	bench/budgets.py

release: libraries
	$(SWIFT) build $(RELEASE) --product edged
	$(SWIFT) build $(RELEASE) --product edgectl

# About half an hour; two cores to itself.
bench: bench-tools release
	bench/compare.py --rows $(ROWS)
	bench/sites.py

# Made of what the program and the schema say, so that they are as current as the build.
man: release
	@mkdir -p .build/man
	deploy/man/pages.py edgectl $(BUILT)/edgectl > .build/man/edgectl.1
	deploy/man/pages.py configuration docs/configuration.md > .build/man/edged.yaml.5
	cp deploy/man/edged.8 .build/man/

completions: release
	@mkdir -p .build/completions
	$(BUILT)/edgectl --generate-completion-script bash > .build/completions/edgectl.bash
	$(BUILT)/edgectl --generate-completion-script zsh > .build/completions/_edgectl
	$(BUILT)/edgectl --generate-completion-script fish > .build/completions/edgectl.fish

install-man: man
	install -D -m 0644 .build/man/edgectl.1 $(DESTDIR)$(PREFIX)/share/man/man1/edgectl.1
	install -D -m 0644 .build/man/edged.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/edged.yaml.5
	install -D -m 0644 .build/man/edged.8 $(DESTDIR)$(PREFIX)/share/man/man8/edged.8

install-completions: completions
	install -D -m 0644 .build/completions/edgectl.bash \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions/edgectl
	install -D -m 0644 .build/completions/_edgectl \
	  $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_edgectl
	install -D -m 0644 .build/completions/edgectl.fish \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/edgectl.fish

soak: test-tools release
	bench/soak.py --edged .build/release/edged

soak-http2: bench-tools release
	bench/soak_http2.py --edged .build/release/edged

# With the release's programs: full load needs them.
soak-operations: test-tools release
	$(SWIFT) build --build-tests
	EDGED_STEADY=long EDGED_FIGURES=1 EDGED_PROGRAMS=$(CURDIR)/.build/release \
	  $(SWIFT) test --skip-build --no-parallel --filter Scenarios.Steady

soak-reload: bench-tools release
	bench/reload.py --soak 1000

# Each of the following has a build folder of its own: they are other builds of the same sources.
fuzz: test-tools
	SWIFT=$(SWIFT) Tests/Fuzz/run.sh .build-fuzz

soak-hostile: test-tools
	$(SWIFT) build --build-tests
	EDGED_HOSTILE=40000 $(SWIFT) test --skip-build --no-parallel --filter Scenarios.Hostile

test-asan: test-tools
	SWIFT=$(SWIFT) Tests/Sanitizers/run.sh address .build-asan

test-tsan: test-tools
	SWIFT=$(SWIFT) Tests/Sanitizers/run.sh thread .build-tsan

kernel-tools:
	@dpkg -s $(KERNEL_TOOLS) >/dev/null 2>&1 || { \
	  $(SUDO) apt-get update -q && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -q --no-install-recommends $(KERNEL_TOOLS); }

test-kernel: kernel-tools libraries
	$(SWIFT) build $(RELEASE) --product edged
	Tests/Kernel/run.sh .build/release .build-kernel

format:
	$(SWIFT) format --in-place --recursive Sources Tests bench Package.swift

clean:
	rm -rf .build .build-fuzz .build-asan .build-tsan .build-kernel .venv
