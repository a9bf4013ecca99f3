/* The serial port of the debugger's line, as the kernel knows it. */
#ifndef STANDSTILL_LINE_H
#define STANDSTILL_LINE_H

#include <linux/types.h>

struct ss_line;

/* Where a symbol of the kernel's is, exported or not; 0 if it has none of that name. */
typedef unsigned long (*line_lookup)(const char *name);

/*
 * Takes the port from whatever driver of the kernel's has it; the name is for the log. An error was told there, and nothing
 * has changed.
 */
int line_take(const struct ss_line *line, const char *name, line_lookup lookup, bool force);
/* Says whether it could be taken, and takes nothing. */
void line_examine(const struct ss_line *line, const char *name, line_lookup lookup, bool force);
/* Frequency of the port's clock, of which it makes baud rates; 0 if the kernel does not know the port. */
u32 line_clock_hz(void);
/* Where registers in memory are mapped, uncached; 0 for ports. */
u64 line_linear(void);
/* Lets the kernel's driver have it back, which sets it up anew. */
void line_give_back(void);

#endif
