/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a test talks to luo_pci_test.c. Not for anything else, and not stable.
 */
#ifndef _LIB_TESTS_LUO_PCI_TEST_UAPI_H
#define _LIB_TESTS_LUO_PCI_TEST_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LUO_PCI_TEST_STEPS	4

/**
 * struct luo_pci_test_damage - flip bits of what is handed over
 * @path: a physical address; what is stored there and @path[1] make the next address, and
 *	so on, up to the first 0. The 64 bits at the last one are damaged.
 * @from: a path to 64 bits that are copied there first, unless @from[0] is 0
 * @flip: bits that are flipped
 */
struct luo_pci_test_damage {
	__u64 path[LUO_PCI_TEST_STEPS];
	__u64 from[LUO_PCI_TEST_STEPS];
	__u64 flip;
};

/* Hold the lock of the device for so many ms. */
#define LUO_PCI_TEST_HOLD	_IO('T', 0xf0)
/* When reboot() has written everything */
#define LUO_PCI_TEST_DAMAGE	_IOW('T', 0xf1, struct luo_pci_test_damage)
/* Ask the IOMMU core to preserve the device, whatever translates its DMA and in no session. */
#define LUO_PCI_TEST_ASK_IOMMU	_IO('T', 0xf2)

#endif /* _LIB_TESTS_LUO_PCI_TEST_UAPI_H */
