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
#include <linux/pm_runtime.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <asm/tsc.h>

#include "card.h"
#include "doctor.h"
#include "facts.h"

#define NAME "standstill"

static struct pci_dev *taken;
static struct ss_card found;
static struct page *memory;
static int why;
/* In words, if there are any. */
static char reason_why[SS_REASON];
/* It is to have another address than its own. */
static bool gets_mac;
/* Whom the user had named as its driver. */
static char *former;
/* The debugger drives it, and may do so at this moment. */
static bool driven;

/* Its driver is the one of this name, or any if there is none. */
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

static int remember_driver(void)
{
	int error = 0;

	device_lock(&taken->dev);
	if (taken->driver_override) {
		former = kstrdup(taken->driver_override, GFP_KERNEL);
		error = former ? 0 : -ENOMEM;
	}
	device_unlock(&taken->dev);
	return error;
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

static void unmap_registers(void)
{
	struct ss_window *window;

	for (window = found.windows; window < found.windows + SS_WINDOWS; window++) {
		if (window->linear)
			iounmap((void __iomem *)window->linear);
		window->linear = 0;
	}
}

/* Where `look` found them. */
static int map_registers(void)
{
	struct ss_window *window;

	for (window = found.windows; window < found.windows + SS_WINDOWS; window++) {
		if (window->bar == SS_NO_BAR)
			continue;
		window->physical = found.bars[window->bar].start;
		window->bytes = found.bars[window->bar].bytes;
		window->linear = (u64)ioremap(window->physical, window->bytes);
		if (window->linear)
			continue;
		unmap_registers();
		return -ENOMEM;
	}
	return 0;
}

static int claim_registers(struct pci_dev *device)
{
	int i, bars = 0;

	for (i = 0; i < SS_WINDOWS; i++)
		if (found.windows[i].bar != SS_NO_BAR)
			bars |= 1 << found.windows[i].bar;
	return pci_request_selected_regions(device, bars, NAME);
}

static void release_registers(struct pci_dev *device)
{
	int i;

	for (i = 0; i < SS_WINDOWS; i++)
		if (found.windows[i].bar != SS_NO_BAR)
			pci_release_region(device, found.windows[i].bar);
}

/* The own address of a card that can be reached; 0 with a reason if it can have none. */
static u64 read_mac(char *reason, size_t reason_bytes)
{
	memset(reason, 0, reason_bytes);
	return standstill_read_mac(&found, gets_mac, reason, reason_bytes);
}

static int probe(struct pci_dev *device, const struct pci_device_id *unused)
{
	why = pci_enable_device_mem(device);
	if (why)
		return why;
	why = claim_registers(device);
	if (why)
		goto disable;
	why = map_registers();
	if (why)
		goto release;
	why = -EADDRNOTAVAIL;
	if (!read_mac(reason_why, sizeof(reason_why)))
		goto unmap;
	why = map_memory(device);
	if (why)
		goto unmap;
	pci_intx(device, 0);
	pci_set_master(device);
	return 0;
unmap:
	unmap_registers();
release:
	release_registers(device);
disable:
	pci_disable_device(device);
	return why;
}

static void remove(struct pci_dev *device)
{
	if (driven) {
		/* It was pulled. What the debugger still looks at stays where it is, and is lost to the system. */
		pci_clear_master(device);
		pr_err("%s was taken away from the debugger, which has no network any more; unload this module\n",
		       pci_name(device));
		return;
	}
	standstill_end_card(&found, PAGE_OFFSET);
	/* From now on the card touches no memory, whatever it was about to do. */
	pci_clear_master(device);
	pci_intx(device, 1);
	unmap_memory(device);
	unmap_registers();
	release_registers(device);
	pci_disable_device(device);
}

/* It knows no card by itself, only the one that it is named for, and nobody can take that away but by pulling it. */
static struct pci_driver driver = {
	.name = NAME,
	.probe = probe,
	.remove = remove,
	.driver = { .suppress_bind_attrs = true },
};

static bool is_wanted(const struct pci_dev *device, const char *slot)
{
	return *slot ? !strcmp(pci_name(device), slot) : standstill_knows_card(device->vendor, device->device);
}

/* The card, or in words why there is none. Of several cards none is taken that was not named: the system may need it. */
static struct pci_dev *find(const char *slot, char *reason, size_t reason_bytes)
{
	struct pci_dev *device = NULL, *wanted = NULL;
	unsigned int count = 0;
	size_t len = 0;

	for_each_pci_dev(device) {
		if (!is_wanted(device, slot))
			continue;
		if (!count++)
			wanted = pci_dev_get(device);
		len += scnprintf(reason + len, reason_bytes - len, "%s%s", len ? ", " : "", pci_name(device));
	}
	if (count == 1)
		return wanted;
	if (count)
		scnprintf(reason + len, reason_bytes - len, ": nic= names which of these network cards is to be the debugger's");
	else if (*slot)
		scnprintf(reason, reason_bytes, "nic=%s: there is no such device; `lspci -D` lists them", slot);
	else
		scnprintf(reason, reason_bytes, "no network card that the driver knows; docs/network.md lists them");
	pci_dev_put(wanted);
	return NULL;
}

/* Where its registers are, as firmware and kernel have it. */
static void look_at_bars(struct pci_dev *device)
{
	unsigned long flags;
	int i;

	for (i = 0; i < SS_BARS; i++) {
		flags = pci_resource_flags(device, i);
		found.bars[i].start = flags & IORESOURCE_UNSET ? 0 : pci_resource_start(device, i);
		found.bars[i].bytes = pci_resource_len(device, i);
		found.bars[i].is_memory = !!(flags & IORESOURCE_MEM);
	}
}

/* The caller needs it no more, and it may sleep again. */
static void leave(struct pci_dev *device)
{
	pm_runtime_put(&device->dev);
	pci_dev_put(device);
}

/* Finds it, wakes it, and says what it needs; or in words why it cannot be driven. */
static struct pci_dev *look(const char *slot, bool has_other_mac, char *reason, size_t reason_bytes)
{
	struct pci_dev *device = find(slot, reason, reason_bytes);
	char said[SS_REASON] = "";
	u32 word;
	int at;

	if (!device)
		return NULL;
	memset(&found, 0, sizeof(found));
	found.tsc_khz = tsc_khz;
	gets_mac = has_other_mac;
	/* Of one that sleeps, or behind a bridge that does, nothing can be read. */
	pm_runtime_get_sync(&device->dev);
	look_at_bars(device);
	for (at = 0; at < sizeof(found.config); at += sizeof(word)) {
		pci_read_config_dword(device, at, &word);
		memcpy(found.config + at, &word, sizeof(word));
	}
	if (standstill_look_at_card(&found, has_other_mac, said, sizeof(said)))
		return device;
	scnprintf(reason, reason_bytes, "nic=%s: %04x:%04x %s", pci_name(device), device->vendor, device->device, said);
	leave(device);
	return NULL;
}

static const char *owner_of(const struct pci_dev *device)
{
	return device->dev.driver ? device->dev.driver->name : "nobody";
}

/* The address of a card that nobody took; it is only read, whoever drives it. */
static bool has_mac(struct pci_dev *device, char *reason, size_t reason_bytes)
{
	char said[SS_REASON];
	bool has = true;

	device_lock(&device->dev);
	if (!pci_enable_device_mem(device)) {
		if (!map_registers()) {
			has = read_mac(said, sizeof(said));
			unmap_registers();
		}
		pci_disable_device(device);
	}
	device_unlock(&device->dev);
	if (!has)
		scnprintf(reason, reason_bytes, "nic=%s: it %s", pci_name(device), said);
	return has;
}

void card_examine(const char *slot, bool has_other_mac)
{
	char said[SS_REASON];
	struct pci_dev *device = look(slot, has_other_mac, said, sizeof(said));

	if (!device) {
		doctor_say(CHANGE, "network", said);
		return;
	}
	if (!has_mac(device, said, sizeof(said))) {
		doctor_say(CHANGE, "network", said);
		leave(device);
		return;
	}
	scnprintf(said, sizeof(said), "%s (driver: %s) would be the debugger's alone; the system would have no network there",
		  pci_name(device), owner_of(device));
	doctor_say(device->dev.driver ? NOTE : FINE, "network", said);
	leave(device);
}

static void give_to_kernel(void)
{
	name_driver(former ?: "");
	kfree(former);
	former = NULL;
	if (device_attach(&taken->dev) < 0)
		pr_warn("%s does not come back to its driver\n", pci_name(taken));
}

int card_take(const char *slot, bool has_other_mac, struct ss_card *card)
{
	char reason[SS_REASON];

	taken = look(slot, has_other_mac, reason, sizeof(reason));
	if (!taken) {
		pr_err("%s\n", reason);
		return -ENODEV;
	}
	why = remember_driver();
	if (why)
		goto leave;
	pr_info("%s (driver: %s) is the debugger's network card until this module is unloaded; the system has no network there\n",
		pci_name(taken), owner_of(taken));
	device_release_driver(&taken->dev);
	name_driver(NAME);
	why = -EBUSY;
	if (pci_register_driver(&driver))
		goto give_back;
	if (why) {
		if (*reason_why)
			pr_err("nic=%s: it %s\n", pci_name(taken), reason_why);
		else
			pr_err("%s cannot be used (error %d)\n", pci_name(taken), why);
		goto unregister;
	}
	driven = true;
	*card = found;
	pm_runtime_put(&taken->dev);
	return 0;
unregister:
	pci_unregister_driver(&driver);
give_back:
	give_to_kernel();
leave:
	leave(taken);
	taken = NULL;
	return why;
}

void card_give_back(void)
{
	if (!taken)
		return;
	driven = false;
	pci_unregister_driver(&driver);
	give_to_kernel();
	pci_dev_put(taken);
	taken = NULL;
}
