/* The network card of the debugger, taken from the kernel at load and given back at unload. */
#ifndef STANDSTILL_CARD_H
#define STANDSTILL_CARD_H

#include <linux/types.h>

struct ss_card;

/* Takes the card in this slot, or the only one that the driver knows; says in the log whose it was, or why it cannot be had. */
int card_take(const char *slot, bool has_other_mac, struct ss_card *card);
void card_give_back(void);
/* Says what would be taken, and takes nothing. */
void card_examine(const char *slot, bool has_other_mac);

#endif
