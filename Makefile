# SPDX-License-Identifier: GPL-2.0
#
# The entry points; "make help" lists them.

ARCH ?= x86_64
export ARCH KSRC J V T DEBUG

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules
ifneq ($(V),1)
.SILENT:
endif

.PHONY: kernel
kernel:
	scripts/build-kernel
