/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Names of all formats that cross a kexec, and the list of those that this
 * kernel reads. Usable in assembler.
 */
#ifndef _LINUX_KHO_ABI_FORMATS_H
#define _LINUX_KHO_ABI_FORMATS_H

/*
 * A name stands for a format for ever. A change of the format needs a new name; a
 * kernel that still reads the old one lists both.
 */

/* Root FDT, struct luo_ser; see kexec_handover.h and luo.h. */
#define KHO_FDT_COMPATIBLE	"kho-v4"
#define LUO_COMPATIBLE		"luo-v5"

/* File handlers. */
#define MEMFD_LUO_COMPATIBLE	"memfd-v2"
#define HUGETLB_LUO_COMPATIBLE	"hugetlb-memfd-v1"
#define IOMMUFD_LUO_COMPATIBLE	"iommufd-v1"
#define VFIO_PCI_LIVEUPDATE_COMPATIBLE "vfio-pci-v1"

/* State that files share (FLB). */
#define PCI_LIVEUPDATE_COMPATIBLE "pci-v2"
#define IOMMU_LIVEUPDATE_COMPATIBLE "iommu-v1"
#define HUGETLB_LUO_POOL_COMPATIBLE "hugetlb-pool-v1"

/* Handlers and FLBs of the sample and for tests. */
#define LUO_SAMPLE_COMPATIBLE	"luo-sample-v1"
#define LUO_TEST_A_FORMAT	"luo-test-a-v1"
#define LUO_TEST_B_FORMAT	"luo-test-b-v1"
#define LUO_TEST_X_FORMAT	"luo-test-x-v1"
#define LUO_TEST_Y_FORMAT	"luo-test-y-v1"
#define LUO_PCI_TEST_COMPATIBLE	"luo-pci-test-v1"

/* What holds if the command line says nothing of kho= and liveupdate=. */
#define KHO_ON_BY_DEFAULT	0
#define LIVEUPDATE_ON_BY_DEFAULT 0

#endif /* _LINUX_KHO_ABI_FORMATS_H */

/*
 * The list, for the record in the image (image.h) and for whoever else needs it:
 * define KHO_FORMAT(kind, flags, name) and include this file. A format that is
 * read by a module has the flag KHO_FORMAT_MODULE: IS_MODULE() may be multiplied
 * with it.
 */
#ifdef KHO_FORMAT
KHO_FORMAT(KHO_FORMAT_KHO, 0, KHO_FDT_COMPATIBLE)
#ifdef CONFIG_LIVEUPDATE
KHO_FORMAT(KHO_FORMAT_LUO, 0, LUO_COMPATIBLE)
#endif
#ifdef CONFIG_LIVEUPDATE_MEMFD
KHO_FORMAT(KHO_FORMAT_HANDLER, 0, MEMFD_LUO_COMPATIBLE)
#endif
#ifdef CONFIG_LIVEUPDATE_HUGETLB
KHO_FORMAT(KHO_FORMAT_HANDLER, 0, HUGETLB_LUO_COMPATIBLE)
KHO_FORMAT(KHO_FORMAT_FLB, 0, HUGETLB_LUO_POOL_COMPATIBLE)
#endif
#ifdef CONFIG_PCI_LIVEUPDATE
KHO_FORMAT(KHO_FORMAT_FLB, 0, PCI_LIVEUPDATE_COMPATIBLE)
#endif
#ifdef CONFIG_IOMMU_LIVEUPDATE
KHO_FORMAT(KHO_FORMAT_FLB, 0, IOMMU_LIVEUPDATE_COMPATIBLE)
#endif
#ifdef CONFIG_IOMMUFD_LIVEUPDATE
KHO_FORMAT(KHO_FORMAT_HANDLER, KHO_FORMAT_MODULE * IS_MODULE(CONFIG_IOMMUFD),
	   IOMMUFD_LUO_COMPATIBLE)
#endif
#ifdef CONFIG_VFIO_PCI_LIVEUPDATE
KHO_FORMAT(KHO_FORMAT_HANDLER, KHO_FORMAT_MODULE * IS_MODULE(CONFIG_VFIO_PCI),
	   VFIO_PCI_LIVEUPDATE_COMPATIBLE)
#endif
#if IS_ENABLED(CONFIG_SAMPLE_LIVEUPDATE)
KHO_FORMAT(KHO_FORMAT_HANDLER, KHO_FORMAT_MODULE * IS_MODULE(CONFIG_SAMPLE_LIVEUPDATE),
	   LUO_SAMPLE_COMPATIBLE)
#endif
#if IS_ENABLED(CONFIG_LIVEUPDATE_TEST_HANDLER)
KHO_FORMAT(KHO_FORMAT_HANDLER, KHO_FORMAT_MODULE * IS_MODULE(CONFIG_LIVEUPDATE_TEST_HANDLER),
	   LUO_TEST_A_FORMAT)
KHO_FORMAT(KHO_FORMAT_HANDLER, KHO_FORMAT_MODULE * IS_MODULE(CONFIG_LIVEUPDATE_TEST_HANDLER),
	   LUO_TEST_B_FORMAT)
KHO_FORMAT(KHO_FORMAT_FLB, KHO_FORMAT_MODULE * IS_MODULE(CONFIG_LIVEUPDATE_TEST_HANDLER),
	   LUO_TEST_X_FORMAT)
KHO_FORMAT(KHO_FORMAT_FLB, KHO_FORMAT_MODULE * IS_MODULE(CONFIG_LIVEUPDATE_TEST_HANDLER),
	   LUO_TEST_Y_FORMAT)
#endif
#ifdef CONFIG_PCI_LIVEUPDATE_TEST
KHO_FORMAT(KHO_FORMAT_HANDLER, 0, LUO_PCI_TEST_COMPATIBLE)
#endif
#undef KHO_FORMAT
#endif /* KHO_FORMAT */
