# SPDX-License-Identifier: GPL-2.0
#
# The entry points; "make help" lists them. Each is a script that also runs by
# itself, and each brings what it needs: packages, the prepared tree, a kernel.

ARCH ?= x86_64
export ARCH KSRC J V T DEBUG VARIANT LAST

selftests := tools/testing/selftests/liveupdate
variant := $(or $(VARIANT),$(if $(filter 1,$(DEBUG)),debug))
name := $(ARCH)$(if $(variant),-$(variant))
vm := $(selftests)/run_vm_tests.py --kernel out/$(name)

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory --no-builtin-rules
ifneq ($(V),1)
.SILENT:
endif

.PHONY: help
help:
	sed -n 's/^#: //p' Makefile

#: make demo          build, boot a VM, live-update it twice; ends with PASS
.PHONY: demo
demo: kernel
	$(vm) --demo

#: make check         every test; last line "N passed, N failed, N skipped"
.PHONY: check
check:
	scripts/install-deps lint test docs
	scripts/check

#: make kernel        out/x86_64/bzImage and out/x86_64/config
.PHONY: kernel
kernel: prepare
	scripts/build-kernel

#: make vm            a shell in a VM on the built kernel
.PHONY: vm
vm: kernel
	$(vm) --shell

#: make lint          checkpatch, sparse, W=1, kernel-doc, shellcheck; silent if good
.PHONY: lint
lint: prepare
	scripts/install-deps lint
	scripts/lint

#: make docs          our pages of the kernel's documentation; silent if good
.PHONY: docs
docs: prepare
	scripts/install-deps docs
	scripts/docs

#: make prepare       out/linux: the base tree with overlay and patches
.PHONY: prepare
prepare: deps
	scripts/prepare

#: make refresh       edits made in out/linux become overlay files and patches
.PHONY: refresh
refresh:
	scripts/refresh

#: make series        out/series/*.patch: mail patches for git am
.PHONY: series
series: prepare
	scripts/series

#: make series-check  git am of the series, and a build of each patch (LAST=1: the last)
.PHONY: series-check
series-check: series
	scripts/series-check $(if $(filter 1,$(LAST)),--last)

#: make clean         remove what was built; edits in out/linux must be saved first
.PHONY: clean
clean:
	scripts/clean

.PHONY: deps
deps:
	scripts/install-deps

#:
#: ARCH=arm64   the other architecture      DEBUG=1  the debug kernel
#: VARIANT=kcsan  the one that finds races
#: KSRC=path    another 6.12.y tree         T=name   one test
#: J=n          jobs                        V=1      show the commands
