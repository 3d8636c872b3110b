#include "settings.hpp"

#include <cstdlib>
#include <cstring>

#include "interface.hpp"

namespace emulator {

static long number(const char *name, long otherwise) {
  const char *const text = getenv(name);
  if (!text || !*text) return otherwise;
  char *end;
  const long value = strtol(text, &end, 10);
  if (*end || value < 0) fail("%s=%s is not a number", name, text);
  return value;
}

static Order order() {
  const char *const text = getenv("EMULATOR_ORDER");
  if (!text || !*text || !strcmp(text, "forward")) return Order::forward;
  if (!strcmp(text, "reverse")) return Order::reverse;
  if (!strcmp(text, "shuffle")) return Order::shuffle;
  fail("EMULATOR_ORDER=%s is none of forward, reverse, shuffle", text);
}

const Settings &settings() {
  static const Settings it = {
      (size_t)number("EMULATOR_MEMORY_MB", 4096) << 20,
      (int)number("EMULATOR_CHECK", 0),
      order(),
      (unsigned)number("EMULATOR_THREADS", 1),
      number("EMULATOR_TRACE", 0) != 0,
  };
  return it;
}

}  // namespace emulator
