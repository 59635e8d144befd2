# SPDX-License-Identifier: Apache-2.0
# make demo   the main job, end to end, on this machine
# make test   every check and every test
# make help   the rest
PYTHON  := /usr/bin/python3   # the distribution's: only it has the distribution's bcc
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
TIERS   ?= setup check unit netns images cluster kernel node vmnodes
JOBS    ?= $(shell nproc)
LABS    ?= 2
RESUME  ?=
RESUMED := $(if $(RESUME),--resume)
KERNEL  ?= 6.12
TREES   := footprint nodeagent extender plugin lab tests

.DEFAULT_GOAL := help
.PHONY: help setup packages lock controlplane check test unit pythons fuzz netns images cluster kernel node vmnodes outages vm demo demo-live pictures lab clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: packages $(STAMP) controlplane  ## everything the other targets need (cached, safe to repeat)

packages:
	@lab/setup/packages.sh

$(STAMP): pyproject.toml requirements/development.txt | packages
	@echo "== Python environment"
	@test -x $(BIN)/python || $(PYTHON) -m venv --system-site-packages $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/development.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# It pins what is new and keeps what is pinned. `make lock UPGRADE=--upgrade` moves every pin.
UPGRADE ?=
LOCK    := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'
lock:  ## the pins and hashes of every Python package, from pyproject.toml
	$(LOCK) $(UPGRADE) --all-extras -o requirements/development.txt pyproject.toml
	$(LOCK) $(UPGRADE) -c requirements/development.txt -o requirements/runtime.txt \
		--extra nodeagent --extra extender --extra plugin pyproject.toml
	$(LOCK) $(UPGRADE) -c requirements/development.txt -o requirements/plugin.txt --extra plugin --extra doctor \
		pyproject.toml
	echo setuptools | $(LOCK) $(UPGRADE) -c requirements/development.txt -o requirements/build.txt -

controlplane: $(STAMP)
	@$(BIN)/python -m lab.controlplane.build

check: packages $(STAMP)  ## formatting, lint, types, import contracts, words and links of the documentation
	$(BIN)/ruff format --check $(TREES)
	$(BIN)/ruff check $(TREES)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell README.md CONTRIBUTING.md docs
	$(BIN)/proselint --config .proselintrc.json -o compact check README.md CONTRIBUTING.md docs
	$(BIN)/python -m lab.docs check

unit: packages $(STAMP)  ## tests that need no privilege, on every processor (JOBS=1: on one)
	@lab/setup/packages.sh prometheus
	@lab/setup/packages.sh page
	$(BIN)/pytest --tier=unit $(RESUMED) -n $(JOBS) -m "not netns and not cluster and not kernel and not node"

pythons:  ## the plugin's tests under Python 3.12 and 3.13, where they are at hand
	@lab/setup/pythons.sh

fuzz: packages $(STAMP)  ## hostile inputs: ten times as many as `make test` tries, new ones each time (minutes)
	$(BIN)/pytest -m "not netns and not cluster and not kernel and not node" -p no:cacheprovider -n $(JOBS) \
		--hypothesis-profile=fuzz \
		$$(grep -rlE '^@given|^from hypothesis|^import hypothesis|fuzzing' tests --include='test_*.py')

netns: packages $(STAMP)  ## tests with real packets and conntrack in private network namespaces (root)
	$(BIN)/pytest --tier=netns $(RESUMED) -n 2 --dist loadfile -m "netns and not cluster and not kernel and not node"

images: packages $(STAMP)  ## both container images, without a container engine (root; cached)
	@lab/setup/packages.sh images
	@$(MAKE) --no-print-directory -j2 image-nodeagent image-extender

# Each build has a storage of its own and keeps one processor busy for half its time.
image-%:
	@$(BIN)/python -m lab.images build $*

cluster: setup images  ## tests against the real control plane, two labs side by side (root; LABS=1: one)
	@lab/setup/packages.sh prometheus
	@lab/setup/packages.sh shells
	$(BIN)/pytest --tier=cluster $(RESUMED) -n $(LABS) --dist loadfile -m cluster

kernel: images  ## tests inside virtual machines with Debian's 6.1 and 6.12 kernels (root, QEMU)
	@lab/setup/packages.sh kernelvm
	$(BIN)/pytest --tier=kernel $(RESUMED) -m kernel

node: setup images  ## tests on real nodes: kubelet, containerd, kube-proxy (root; first time 9 minutes more)
	@lab/setup/packages.sh nodes
	@$(BIN)/python -m lab.nodes.real --all
	$(BIN)/pytest --tier=node $(RESUMED) -m "node and not vm"

# VMS="6.1": with this kernel instead of 6.12. VMS="6.12 6.1": with one such node each, which takes four cores.
vmnodes: setup images  ## tests on a real node with a kernel of its own, in a virtual machine (root, QEMU; VMS=6.1: that kernel)
	@lab/setup/packages.sh nodes
	@lab/setup/packages.sh kernelvm
	@$(BIN)/python -m lab.nodes.real
	TRAFFIC_FOOTPRINT_VM_KERNELS="$(VMS)" $(BIN)/pytest --tier=vmnodes $(RESUMED) -m "node and vm and not outage"

outages: setup images  ## such a machine without power, with a wrong clock, with lesser agents; not part of `make test` (15 minutes)
	@lab/setup/packages.sh nodes
	@lab/setup/packages.sh kernelvm
	@$(BIN)/python -m lab.nodes.real
	TRAFFIC_FOOTPRINT_VM_KERNELS="$(VMS)" $(BIN)/pytest -m outage

# RESUME=1 goes on where `make unit`, `netns`, `cluster`, `kernel` or `test` stopped: what passed is not run again.
test: packages  ## check and every tier of tests; RESUME=1: only tests that have not passed since the last full run
	@RESUME=$(RESUME) $(PYTHON) lab/setup/tiers.py $(TIERS)

vm: packages $(STAMP)  ## a shell in such a machine: make vm KERNEL=6.12
	@lab/setup/packages.sh kernelvm
	$(BIN)/python -m lab.kernelvm shell --kernel $(KERNEL)

# CAPACITY=unknown: nobody tells the agents what links carry.
demo: setup  ## the same workload twice, default scheduler and with the extender; writes demo-report/
	$(BIN)/python -m lab.demo $(if $(filter unknown,$(CAPACITY)),--no-capacity)

# PORT=8891: at that one; else at any free port.
demo-live: setup  ## the demo with the extender's live page open, and pictures of it in demo-report/
	@lab/setup/packages.sh page
	$(BIN)/python -m lab.demo --live $(PORT)

pictures: demo-live  ## the pictures of the live page and of `kubectl footprint top` in the README, from a run
	$(BIN)/python -m lab.docs.page_picture demo-report/page-extender.png docs/pictures/live-page.png
	cp demo-report/top-extender.svg docs/pictures/top.svg

# NODES=real: nodes with kubelet, containerd and kube-proxy. Their first build takes 9 minutes more on two cores.
# VMS="6.12 6.1": nodes with these kernels beside them, in virtual machines; one or two.
lab: setup $(if $(filter real,$(NODES)),images)  ## a cluster on this machine until Ctrl-C (NODES=real: real nodes)
	$(if $(filter real,$(NODES)),@lab/setup/packages.sh nodes)
	$(if $(VMS),@lab/setup/packages.sh kernelvm)
	$(BIN)/python -m lab up $(if $(filter real,$(NODES)),--real --nodes $(if $(VMS),1,2)) $(addprefix --vm ,$(VMS))

clean:  ## remove what crashed labs left, and the environment
	-$(BIN)/python -m lab clean
	rm -rf $(VENV) demo-report
