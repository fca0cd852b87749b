# edged: what can be done with this tree. `make demo` and `make test` set everything up themselves.

SWIFT       ?= swift
SUDO        := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
LIBRARIES   := libssl-dev liburing-dev libnghttp2-dev libyaml-dev libc-ares-dev
TEST_TOOLS  := curl openssl nginx-light haproxy wrk nghttp2-client dnsmasq-base keepalived \
               iproute2 python3 util-linux procps
RELEASE     := -c release --static-swift-stdlib

.PHONY: help demo test check bench release format soak libraries test-tools clean

help:
	@echo 'make demo      build, mint certificates, start two upstreams and edged, make requests'
	@echo 'make test      install what is missing, build with warnings as errors, run all tests'
	@echo 'make check     format, test, and the benchmark budgets'
	@echo 'make bench     compare with HAProxy and nginx, side by side; 10,000 sites too'
	@echo 'make soak      30 s of load over 20 reloads, 300 connects over a killed proxy'
	@echo 'make release   optimised binaries in .build/release, Swift library linked in'

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
	EDGED_STRICT=1 $(SWIFT) test --skip-build --no-parallel

check: test
	$(SWIFT) format lint --strict --recursive Sources Tests Package.swift
	$(MAKE) release
	bench/budgets.py

release: libraries
	$(SWIFT) build $(RELEASE) --product edged
	$(SWIFT) build $(RELEASE) --product edgectl

bench: test-tools release
	bench/compare.py
	bench/sites.py

soak: test-tools release
	bench/soak.py --edged .build/release/edged

format:
	$(SWIFT) format --in-place --recursive Sources Tests Package.swift

clean:
	rm -rf .build
