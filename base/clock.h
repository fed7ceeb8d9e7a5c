/* Time. Replaced as a whole at link time by the simulator. Any thread. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_realtime_ns(void);  /* since 1970 UTC; may jump */
int64_t clock_monotonic_ns(void); /* never goes back; origin unspecified */
int64_t clock_monotonic_ms(void);

#endif
