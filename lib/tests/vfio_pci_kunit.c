// SPDX-License-Identifier: GPL-2.0
/*
 * Records of vfio-pci devices: what is not sound is found out before it is used, and what
 * does not fit is not recorded.
 */

#include <kunit/test.h>
#include <linux/pci.h>
#include <linux/pci_liveupdate.h>
#include <linux/slab.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_liveupdate.h>
#include <linux/kho/abi/vfio_pci.h>

#include "../../drivers/pci/pci.h"

static struct vfio_pci_liveupdate_ser *test_ser;
static struct pci_liveupdate_state_ser *test_state;

/* Adds a saved capability at an offset; returns where the next one would be. */
static u32 test_cap(u32 at, u16 id, u8 extended, u32 size)
{
	struct pci_liveupdate_cap_ser *cap = (void *)(test_state->caps + at);

	*cap = (struct pci_liveupdate_cap_ser){ .id = id, .extended = extended, .size = size };
	test_state->size = at + sizeof(*cap) + ALIGN(size, 4);
	return test_state->size;
}

static int test_init(struct kunit *test)
{
	u32 at;

	test_ser = kunit_kzalloc(test, sizeof(*test_ser), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, test_ser);
	test_state = &test_ser->pristine;
	test_ser->flags = VFIO_PCI_LIVEUPDATE_FROZEN | VFIO_PCI_LIVEUPDATE_PRISTINE;
	test_ser->vconfig_size = PCI_CFG_SPACE_EXP_SIZE;
	test_ser->irq_index = VFIO_PCI_MSIX_IRQ_INDEX;
	test_ser->irq_vectors = VFIO_PCI_LIVEUPDATE_MAX_IRQS;
	at = test_cap(0, PCI_CAP_ID_EXP, 0, 14);
	test_cap(at, PCI_EXT_CAP_ID_LTR, 1, 8);
	return 0;
}

#define EXPECT_SOUND(test)	KUNIT_EXPECT_EQ(test, vfio_pci_liveupdate_check(test_ser), 0)
#define EXPECT_UNSOUND(test)	KUNIT_EXPECT_EQ(test, vfio_pci_liveupdate_check(test_ser), -EINVAL)

static void test_sound(struct kunit *test)
{
	EXPECT_SOUND(test);
	test_ser->vconfig_size = PCI_CFG_SPACE_SIZE;
	EXPECT_SOUND(test);
	test_ser->irq_index = VFIO_PCI_LIVEUPDATE_NO_IRQ;
	test_ser->irq_vectors = 0;
	EXPECT_SOUND(test);
	test_state->size = 0;
	EXPECT_SOUND(test);
	/* One that takes all there is */
	test_cap(0, PCI_EXT_CAP_ID_VC, 1,
		 sizeof(test_state->caps) - sizeof(struct pci_liveupdate_cap_ser));
	EXPECT_SOUND(test);
}

static void test_not_frozen(struct kunit *test)
{
	test_ser->flags &= ~VFIO_PCI_LIVEUPDATE_FROZEN;
	EXPECT_UNSOUND(test);
}

static void test_unknown_bits(struct kunit *test)
{
	test_ser->flags |= BIT(31);
	EXPECT_UNSOUND(test);
	test_ser->flags &= ~BIT(31);
	EXPECT_SOUND(test);
	test_ser->reserved = 1;
	EXPECT_UNSOUND(test);
	test_ser->reserved = 0;
	test_state->reserved = 1;
	EXPECT_UNSOUND(test);
}

static void test_sizes_of_config_space(struct kunit *test)
{
	static const u32 sizes[] = { 0, 64, 255, 257, 4095, 4097, U32_MAX };

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		test_ser->vconfig_size = sizes[i];
		EXPECT_UNSOUND(test);
	}
}

static void test_interrupts(struct kunit *test)
{
	test_ser->irq_vectors = VFIO_PCI_LIVEUPDATE_MAX_IRQS + 1;
	EXPECT_UNSOUND(test);
	test_ser->irq_vectors = 1;
	test_ser->irq_index = VFIO_PCI_ERR_IRQ_INDEX;
	EXPECT_UNSOUND(test);
	test_ser->irq_index = VFIO_PCI_LIVEUPDATE_NO_IRQ;
	EXPECT_UNSOUND(test);
}

static void test_capabilities(struct kunit *test)
{
	static const u32 sizes[] = { 0, 1021, 1024, 0x7fffffff, 0xfffffffd, U32_MAX };
	struct pci_liveupdate_cap_ser *cap = (void *)test_state->caps;

	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		cap->size = sizes[i];
		EXPECT_UNSOUND(test);
	}
	cap->size = 14;
	EXPECT_SOUND(test);
	cap->extended = 2;
	EXPECT_UNSOUND(test);
	cap->extended = 0;
	cap->reserved = 1;
	EXPECT_UNSOUND(test);
	cap->reserved = 0;
	/* The data of the last one, and its header, are cut off. */
	for (u32 cut = 1; cut < 16; cut++) {
		test_state->size--;
		EXPECT_UNSOUND(test);
	}
	test_state->size--;
	EXPECT_SOUND(test);
	test_state->size = sizeof(test_state->caps) + 1;
	EXPECT_UNSOUND(test);
	test_state->size = U32_MAX;
	EXPECT_UNSOUND(test);
}

static struct pci_cap_saved_state *test_saved(struct kunit *test, struct pci_dev *pdev, u16 id,
					      u32 size)
{
	struct pci_cap_saved_state *saved;

	saved = kunit_kzalloc(test, sizeof(*saved) + size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, saved);
	saved->cap.cap_nr = id;
	saved->cap.size = size;
	hlist_add_head(&saved->next, &pdev->saved_cap_space);
	return saved;
}

static int test_pack(struct kunit *test, struct pci_dev *pdev)
{
	struct pci_saved_state *state;
	int ret;

	pdev->state_saved = true;
	state = pci_store_saved_state(pdev);
	KUNIT_ASSERT_NOT_NULL(test, state);
	device_lock(&pdev->dev);
	ret = pci_liveupdate_pack_state(pdev, state, test_state);
	device_unlock(&pdev->dev);
	kfree(state);
	return ret;
}

/* All capabilities that a device has to go back to, or none of it */
static void test_too_much_to_go_back_to(struct kunit *test)
{
	const u32 head = sizeof(struct pci_liveupdate_cap_ser);
	struct pci_cap_saved_state *saved;
	struct pci_dev *pdev;

	pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	mutex_init(&pdev->dev.mutex);
	test_saved(test, pdev, PCI_CAP_ID_EXP, 14);
	saved = test_saved(test, pdev, PCI_CAP_ID_PCIX,
			   sizeof(test_state->caps) - 2 * head - 16);
	KUNIT_EXPECT_EQ(test, 0, test_pack(test, pdev));
	KUNIT_EXPECT_EQ(test, sizeof(test_state->caps), test_state->size);
	EXPECT_SOUND(test);
	hlist_del(&saved->next);
	test_saved(test, pdev, PCI_CAP_ID_PCIX, saved->cap.size + 1);
	KUNIT_EXPECT_EQ(test, -ENOSPC, test_pack(test, pdev));
}

static struct kunit_case test_cases[] = {
	KUNIT_CASE(test_sound),
	KUNIT_CASE(test_not_frozen),
	KUNIT_CASE(test_unknown_bits),
	KUNIT_CASE(test_sizes_of_config_space),
	KUNIT_CASE(test_interrupts),
	KUNIT_CASE(test_capabilities),
	KUNIT_CASE(test_too_much_to_go_back_to),
	{}
};

static struct kunit_suite test_suite = {
	.name = "vfio_pci_liveupdate",
	.init = test_init,
	.test_cases = test_cases,
};

kunit_test_suite(test_suite);

MODULE_DESCRIPTION("KUnit tests of the records of vfio-pci devices");
MODULE_LICENSE("GPL");
