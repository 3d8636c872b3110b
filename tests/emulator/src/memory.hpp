// Device memory: the host's, each piece between two guard zones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulator {

// Null when more is asked for than is left. Pooled memory stays reserved when freed, up to the release threshold.
void *allocate(size_t size, bool pooled);
// False for what is not the beginning of a live allocation. Aborts if a guard zone was written to.
bool release(void *);

// Whether the bytes lie in one live allocation (its end included, so that an empty slice may point there).
bool is_device(const void *, size_t size);
// Aborts, naming `what`, unless they do.
void require_device(const void *, size_t size, const char *what);

// Aborts, naming who ran, if a guard zone was written to.
void check_guards(const char *ran);

// What lies at or near an address, for messages.
void describe(const void *, char *text, size_t size);

struct Usage {
  size_t free, total;
  size_t used, used_high, reserved, reserved_high;  // of the pool
  size_t threshold;
};
Usage usage();
void set_threshold(size_t);
void reset_high(bool used, bool reserved);
// What is reserved beyond `keep` and not in use goes back to the device.
void trim(size_t keep);
// So it does at every synchronisation, beyond the release threshold.
void trim_to_threshold();

}  // namespace emulator
