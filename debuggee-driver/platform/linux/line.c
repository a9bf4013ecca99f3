// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The serial port of the debugger's line is taken from the kernel's driver at load and given back at unload.
 *
 * The 8250 driver is asked to forget the port and later to register it as it was: what drivers of cards do themselves, so
 * whoever has the tty open is hung up, and the tty is there and refuses to work meanwhile. Unbinding the port's device
 * instead would let the plug-and-play bus switch the port off, and all other ports of a card with it.
 */
#define pr_fmt(fmt) "standstill: " fmt

#include <linux/console.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/pm_runtime.h>
#include <linux/serial_8250.h>
#include <linux/serial_core.h>
#include <linux/string.h>
#include <linux/version.h>

#include "doctor.h"
#include "facts.h"
#include "line.h"

/* Exported, and declared in a header of its driver's own. */
struct uart_8250_port *serial8250_get_port(int line);

/* The driver may be a module, or not there at all: nothing of it is linked to. */
static typeof(&serial8250_get_port) get_port;
static typeof(&serial8250_register_8250_port) register_port;
static typeof(&serial8250_unregister_port) unregister_port;
static line_lookup find_symbol;

/* The port as its driver had it, and that driver. */
static struct uart_8250_port taken;
static bool is_taken;
static const struct device_driver *owner;

static struct ss_line claimed;
static void __iomem *mapped;

static bool is_at(const struct uart_port *port, const struct ss_line *place)
{
	if (port->iotype == UPIO_PORT)
		return !place->stride && port->iobase == place->base;
	return place->stride && port->mapbase == place->base;
}

/* The port that the kernel's driver has there. */
static struct uart_8250_port *find(const struct ss_line *place)
{
#ifdef CONFIG_SERIAL_8250_NR_UARTS
	int line;

	for (line = 0; get_port && line < CONFIG_SERIAL_8250_NR_UARTS; line++) {
		struct uart_8250_port *port = get_port(line);

		if (port->port.type != PORT_UNKNOWN && is_at(&port->port, place))
			return port;
	}
#endif
	return NULL;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define lock_consoles console_list_lock
#define unlock_consoles console_list_unlock
#else
#define lock_consoles console_lock
#define unlock_consoles console_unlock
#endif

/* A console of the boot: earlycon, or earlyprintk, which keeps its port for itself. */
static bool is_early(const struct console *console, const struct ss_line *place)
{
	const struct earlycon_device *device = console->data;
	const unsigned long *base;

	if (!(console->flags & CON_BOOT))
		return false;
	if (strcmp(console->name, "earlyser"))
		return device && device->con == console && is_at(&device->port, place);
	base = (void *)find_symbol("early_serial_base");
	return base && *base == place->base;
}

static bool is_console(const struct uart_port *port, const struct ss_line *place)
{
	struct console *console;
	bool found = false;

	lock_consoles();
	for_each_console(console) {
		bool is_its = port && console == port->cons && console->index == port->line;

		found |= is_its && console->flags & CON_ENABLED;
		found |= is_early(console, place);
	}
	unlock_consoles();
	return found;
}

static struct resource *all_of(const struct ss_line *place)
{
	return place->stride ? &iomem_resource : &ioport_resource;
}

/* Who has claimed any of it. */
static const char *claimant(const struct ss_line *place)
{
	const struct resource *resource = all_of(place)->child;
	u64 last = place->base + place->len_bytes - 1;
	const char *name = "another driver";

	while (resource) {
		if (resource->start > last || resource->end < place->base) {
			resource = resource->sibling;
			continue;
		}
		if (resource->flags & IORESOURCE_BUSY && resource->name)
			name = resource->name;
		resource = resource->child;
	}
	return name;
}

static void take_from_kernel(const struct uart_8250_port *port)
{
	taken = *port;
	is_taken = true;
	owner = NULL;
	if (taken.port.dev) {
		/* A device that nobody uses may be switched off. */
		get_device(taken.port.dev);
		pm_runtime_get_sync(taken.port.dev);
		owner = taken.port.dev->driver;
	}
	unregister_port(taken.port.line);
	pr_info("ttyS%u is the debugger's line until this module is unloaded\n", taken.port.line);
}

static void give_to_kernel(void)
{
	struct device *device = taken.port.dev;
	int line = -ENODEV;

	/* Whose driver has gone has nobody to give it to. */
	if (!device || device->driver == owner)
		line = register_port(&taken);
	if (line < 0)
		pr_warn("ttyS%u does not come back (error %d)\n", taken.port.line, line);
	if (device) {
		pm_runtime_put(device);
		put_device(device);
	}
	is_taken = false;
}

/* The port that the kernel's driver has there, if that can be asked for it. The driver stays until it is given back. */
static struct uart_8250_port *ask_kernel(const struct ss_line *place, line_lookup lookup)
{
	find_symbol = lookup;
	/* Keeps the driver's module, too. */
	get_port = symbol_get(serial8250_get_port);
	register_port = (void *)lookup("serial8250_register_8250_port");
	unregister_port = (void *)lookup("serial8250_unregister_port");
	return register_port && unregister_port ? find(place) : NULL;
}

/* Not if it is the kernel's console; then with a reason. */
static int may_take(const struct uart_8250_port *port, const struct ss_line *place, const char *name, bool force,
		    char *why, size_t why_bytes)
{
	if (force || !is_console(port ? &port->port : NULL, place))
		return 0;
	scnprintf(why, why_bytes, "%s is the kernel's console; choose another port, or take it all the same with force=1", name);
	return -EBUSY;
}

/* Claims what is nobody's; else with a reason. */
static int claim(const struct ss_line *place, const char *name, char *why, size_t why_bytes)
{
	if (!__request_region(all_of(place), place->base, place->len_bytes, "standstill", 0)) {
		scnprintf(why, why_bytes, "%s is in use by \"%s\"; unload that first, or choose another port", name,
			  claimant(place));
		return -EBUSY;
	}
	claimed = *place;
	if (place->stride) {
		mapped = ioremap(place->base, place->len_bytes);
		if (!mapped) {
			scnprintf(why, why_bytes, "%s cannot be mapped", name);
			return -ENOMEM;
		}
	}
	return 0;
}

int line_take(const struct ss_line *place, const char *name, line_lookup lookup, bool force)
{
	const struct uart_8250_port *port = ask_kernel(place, lookup);
	char why[SS_REASON] = "";
	int error = may_take(port, place, name, force, why, sizeof(why));

	if (!error) {
		if (port)
			take_from_kernel(port);
		error = claim(place, name, why, sizeof(why));
	}
	if (error) {
		pr_err("%s\n", why);
		line_give_back();
	}
	return error;
}

void line_examine(const struct ss_line *place, const char *name, line_lookup lookup, bool force)
{
	const struct uart_8250_port *port = ask_kernel(place, lookup);
	enum verdict verdict = FINE;
	char why[SS_REASON] = "";

	if (may_take(port, place, name, force, why, sizeof(why))) {
		verdict = CHANGE;
	} else if (!port) {
		if (claim(place, name, why, sizeof(why)) ||
		    !standstill_look_for_uart(place, line_linear(), why, sizeof(why)))
			verdict = CHANGE;
		else
			scnprintf(why, sizeof(why), "%s is there, and nobody's", name);
	} else if (port->port.state && port->port.state->port.count) {
		verdict = NOTE;
		scnprintf(why, sizeof(why), "%s is ttyS%u, which a program has open; that is hung up at load", name,
			  port->port.line);
	} else {
		scnprintf(why, sizeof(why), "%s is there; it is ttyS%u, which is given back at unload", name, port->port.line);
	}
	doctor_say(verdict, "line", why);
	line_give_back();
}

u64 line_linear(void)
{
	return (u64)mapped;
}

u32 line_clock_hz(void)
{
	return is_taken ? taken.port.uartclk : 0;
}

void line_give_back(void)
{
	if (mapped)
		iounmap(mapped);
	mapped = NULL;
	if (claimed.len_bytes)
		__release_region(all_of(&claimed), claimed.base, claimed.len_bytes);
	claimed.len_bytes = 0;
	if (is_taken)
		give_to_kernel();
	if (get_port)
		symbol_put(serial8250_get_port);
	get_port = NULL;
}
