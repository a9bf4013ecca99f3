/* What doctor=1 says. */
#ifndef STANDSTILL_DOCTOR_H
#define STANDSTILL_DOCTOR_H

#include <linux/types.h>

/* As src/lib.rs has them. */
enum verdict { FINE = 1, NOTE = 2, CHANGE = 3 };

/* A line of the log. */
void doctor_say(enum verdict verdict, const char *about, const char *said);
/* What every core's processor must have. */
void doctor_processor(void);
/* Whether this module would be loaded where only signed ones are. */
void doctor_signature(void);
/* How many lines said that something is to be changed, in a last one. */
unsigned int doctor_end(void);

#endif
