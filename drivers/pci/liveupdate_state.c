// SPDX-License-Identifier: GPL-2.0
/*
 * PCI devices that keep running while the kernel is replaced: saved states.
 */

/**
 * DOC: PCI saved states during a live update
 *
 * A file handler may keep the state that a device had at some time, from
 * pci_store_saved_state(), to go back to it later, maybe in another kernel. What is in
 * it only the PCI core knows. The way in and out leads through the buffers of the
 * device, by pci_load_saved_state() and pci_store_saved_state(); nothing is read from
 * the hardware or written to it.
 *
 * Locks: the buffers of a device are in use while it is reset or suspended, with the
 * lock of the device held. So it must be held here.
 */

#include <linux/align.h>
#include <linux/string.h>

#include "liveupdate.h"
#include "pci.h"

static size_t pci_luo_cap_len(u32 size)
{
	return sizeof(struct pci_liveupdate_cap_ser) + ALIGN(size, 4);
}

/**
 * pci_liveupdate_pack_state - put a saved state into a record
 * @dev: the device
 * @state: what pci_store_saved_state() has returned
 * @ser: where to put it
 *
 * Context: may sleep; with the lock of the device.
 * Return: 0, -EINVAL if it is not a state of this device, or -ENOSPC if there is more of
 * it than fits.
 */
int pci_liveupdate_pack_state(struct pci_dev *dev, struct pci_saved_state *state,
			      struct pci_liveupdate_state_ser *ser)
{
	struct pci_liveupdate_cap_ser *cap;
	struct pci_cap_saved_state *saved;
	size_t at = 0;
	int ret;

	device_lock_assert(&dev->dev);
	memset(ser, 0, sizeof(*ser));
	ret = pci_load_saved_state(dev, state);
	dev->state_saved = false;
	if (ret)
		return ret;

	memcpy(ser->config, dev->saved_config_space, sizeof(ser->config));
	hlist_for_each_entry(saved, &dev->saved_cap_space, next) {
		if (!saved->cap.size)
			continue;
		if (at + pci_luo_cap_len(saved->cap.size) > sizeof(ser->caps))
			return -ENOSPC;
		cap = (void *)(ser->caps + at);
		cap->id = saved->cap.cap_nr;
		cap->extended = saved->cap.cap_extended;
		cap->size = saved->cap.size;
		memcpy(cap + 1, saved->cap.data, saved->cap.size);
		at += pci_luo_cap_len(saved->cap.size);
	}
	ser->size = at;
	return 0;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_pack_state);

/**
 * pci_liveupdate_unpack_state - make a saved state of a record
 * @dev: the device
 * @ser: the record, for which pci_liveupdate_state_valid() was true
 *
 * A capability that this kernel does not save is left out.
 *
 * Context: may sleep; with the lock of the device.
 * Return: what pci_store_saved_state() returns: the state, or NULL without memory.
 */
struct pci_saved_state *pci_liveupdate_unpack_state(struct pci_dev *dev,
						    const struct pci_liveupdate_state_ser *ser)
{
	const struct pci_liveupdate_cap_ser *cap;
	struct pci_cap_saved_state *saved;
	struct pci_saved_state *state;

	device_lock_assert(&dev->dev);
	memcpy(dev->saved_config_space, ser->config, sizeof(ser->config));
	for (size_t at = 0; at < ser->size; at += pci_luo_cap_len(cap->size)) {
		cap = (const void *)(ser->caps + at);
		saved = cap->extended ? pci_find_saved_ext_cap(dev, cap->id) :
					pci_find_saved_cap(dev, cap->id);
		if (saved && saved->cap.size == cap->size)
			memcpy(saved->cap.data, cap + 1, cap->size);
	}
	dev->state_saved = true;
	state = pci_store_saved_state(dev);
	dev->state_saved = false;
	return state;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_unpack_state);

/**
 * pci_liveupdate_state_valid - is the record of a saved state sound?
 * @ser: the record
 *
 * Context: any.
 * Return: true if it may be unpacked.
 */
bool pci_liveupdate_state_valid(const struct pci_liveupdate_state_ser *ser)
{
	const struct pci_liveupdate_cap_ser *cap;
	size_t at, left;

	if (ser->size > sizeof(ser->caps) || ser->reserved)
		return false;
	for (at = 0; at < ser->size; at += pci_luo_cap_len(cap->size)) {
		left = ser->size - at;
		cap = (const void *)(ser->caps + at);
		if (left < sizeof(*cap) || !cap->size || cap->size > sizeof(ser->caps) ||
		    pci_luo_cap_len(cap->size) > left || cap->extended > 1 || cap->reserved)
			return false;
	}
	return true;
}
EXPORT_SYMBOL_GPL(pci_liveupdate_state_valid);
