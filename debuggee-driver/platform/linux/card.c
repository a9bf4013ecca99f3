// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The debugger's network card is taken from the kernel's driver at load and given back at unload.
 *
 * The module binds to it as its driver, so that no other does meanwhile. The card reads and writes one piece of memory, which
 * is mapped for it through the kernel's interface: an IOMMU lets that pass, and nothing else.
 */
#define pr_fmt(fmt) "standstill: " fmt

#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/version.h>

#include "card.h"
#include "doctor.h"
#include "facts.h"

#define NAME "standstill"
#define REGISTERS 0 /* the base address register */

static struct pci_dev *taken;
static struct ss_card found;
static struct page *memory;
static int why;

static void name_driver(const char *name)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 0, 0)
	if (driver_set_override(&taken->dev, &taken->driver_override, name, strlen(name)))
		pr_warn("%s: no memory for the name of its driver\n", pci_name(taken));
#else
	kfree(taken->driver_override);
	taken->driver_override = *name ? kstrdup(name, GFP_KERNEL) : NULL;
#endif
}

static int map_memory(struct pci_dev *device)
{
	dma_addr_t address;
	int error = dma_set_mask_and_coherent(&device->dev, DMA_BIT_MASK(64));

	if (error)
		error = dma_set_mask_and_coherent(&device->dev, DMA_BIT_MASK(32));
	if (error)
		return error;
	memory = alloc_pages(GFP_KERNEL | GFP_DMA32 | __GFP_ZERO, get_order(found.memory_bytes));
	if (!memory)
		return -ENOMEM;
	address = dma_map_page(&device->dev, memory, 0, found.memory_bytes, DMA_BIDIRECTIONAL);
	if (dma_mapping_error(&device->dev, address))
		goto free;
	/* Copies that the kernel would have to make for the card, nobody makes while it stands still. */
	if (address != page_to_phys(memory) && !device_iommu_mapped(&device->dev)) {
		pr_err("%s: the card does not reach memory by itself\n", pci_name(device));
		dma_unmap_page(&device->dev, address, found.memory_bytes, DMA_BIDIRECTIONAL);
		goto free;
	}
	found.memory = page_to_phys(memory);
	found.memory_address = address;
	return 0;
free:
	__free_pages(memory, get_order(found.memory_bytes));
	memory = NULL;
	return -EIO;
}

static void unmap_memory(struct pci_dev *device)
{
	dma_unmap_page(&device->dev, found.memory_address, found.memory_bytes, DMA_BIDIRECTIONAL);
	__free_pages(memory, get_order(found.memory_bytes));
	memory = NULL;
}

static int probe(struct pci_dev *device, const struct pci_device_id *unused)
{
	void __iomem *mapped;

	why = pci_enable_device_mem(device);
	if (why)
		return why;
	why = pci_request_region(device, REGISTERS, NAME);
	if (why)
		goto disable;
	found.registers = pci_resource_start(device, REGISTERS);
	found.registers_bytes = pci_resource_len(device, REGISTERS);
	mapped = ioremap(found.registers, found.registers_bytes);
	why = mapped ? map_memory(device) : -ENOMEM;
	if (why)
		goto unmap;
	found.registers_linear = (u64)mapped;
	pci_intx(device, 0);
	pci_set_master(device);
	return 0;
unmap:
	if (mapped)
		iounmap(mapped);
	pci_release_region(device, REGISTERS);
disable:
	pci_disable_device(device);
	return why;
}

static void remove(struct pci_dev *device)
{
	/* From now on the card touches no memory, whatever it was about to do. */
	pci_clear_master(device);
	unmap_memory(device);
	iounmap((void __iomem *)found.registers_linear);
	pci_release_region(device, REGISTERS);
	pci_disable_device(device);
}

/* It knows no card by itself, only the one that it is named for. */
static struct pci_driver driver = { .name = NAME, .probe = probe, .remove = remove };

static bool is_wanted(const struct pci_dev *device, const char *slot)
{
	return *slot ? !strcmp(pci_name(device), slot) : standstill_knows_card(device->vendor, device->device);
}

/* The card, or in words why there is none. */
static struct pci_dev *find(const char *slot, char *reason, size_t reason_bytes)
{
	struct pci_dev *device = NULL;

	for_each_pci_dev(device)
		if (is_wanted(device, slot))
			break;
	if (!device && *slot)
		scnprintf(reason, reason_bytes, "nic=%s: there is no such device; `lspci -D` lists them", slot);
	else if (!device)
		scnprintf(reason, reason_bytes, "no network card that the driver knows; docs/network.md lists them");
	if (!device || standstill_knows_card(device->vendor, device->device))
		return device;
	scnprintf(reason, reason_bytes, "nic=%s: %04x:%04x is no network card that the driver knows; docs/network.md lists them",
		  slot, device->vendor, device->device);
	pci_dev_put(device);
	return NULL;
}

static const char *owner_of(const struct pci_dev *device)
{
	return device->dev.driver ? device->dev.driver->name : "nobody";
}

void card_examine(const char *slot)
{
	char said[SS_REASON];
	struct pci_dev *device = find(slot, said, sizeof(said));

	if (!device) {
		doctor_say(CHANGE, "network", said);
		return;
	}
	scnprintf(said, sizeof(said), "%s (driver: %s) would be the debugger's alone; the system would have no network there",
		  pci_name(device), owner_of(device));
	doctor_say(device->dev.driver ? NOTE : FINE, "network", said);
	pci_dev_put(device);
}

static void give_to_kernel(void)
{
	name_driver("");
	if (device_attach(&taken->dev) < 0)
		pr_warn("%s does not come back to its driver\n", pci_name(taken));
}

int card_take(const char *slot, struct ss_card *card)
{
	char reason[SS_REASON];

	taken = find(slot, reason, sizeof(reason));
	if (!taken) {
		pr_err("%s\n", reason);
		return -ENODEV;
	}
	found.memory_bytes = standstill_knows_card(taken->vendor, taken->device);
	found.vendor = taken->vendor;
	found.device = taken->device;
	pr_info("%s (driver: %s) is the debugger's network card until this module is unloaded; the system has no network there\n",
		pci_name(taken), owner_of(taken));
	device_release_driver(&taken->dev);
	name_driver(NAME);
	why = -EBUSY;
	if (pci_register_driver(&driver))
		goto give_back;
	if (why) {
		pr_err("%s cannot be used (error %d)\n", pci_name(taken), why);
		goto unregister;
	}
	*card = found;
	return 0;
unregister:
	pci_unregister_driver(&driver);
give_back:
	give_to_kernel();
	pci_dev_put(taken);
	taken = NULL;
	return why;
}

void card_give_back(void)
{
	if (!taken)
		return;
	pci_unregister_driver(&driver);
	give_to_kernel();
	pci_dev_put(taken);
	taken = NULL;
}
