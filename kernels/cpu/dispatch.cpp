// Run-time choice of the instruction set.
#include <cstring>
#include <initializer_list>

#include "types.h"

namespace sad {

namespace baseline {
extern const Kernels kTable;
}
#if defined(SAD_HAVE_X86_LEVELS)
namespace avx2 {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
#endif

const Kernels* kernels(const char* name) {
#if defined(SAD_HAVE_X86_LEVELS)
  if (!strcmp(name, "avx512")) {
    const bool ok = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return ok ? &avx512::kTable : nullptr;
  }
  if (!strcmp(name, "avx2")) {
    const bool ok = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return ok ? &avx2::kTable : nullptr;
  }
#endif
  return !strcmp(name, "baseline") ? &baseline::kTable : nullptr;
}

const Kernels& kernels() {
  static const Kernels* best = [] {
    for (const char* name : {"avx512", "avx2"})
      if (const Kernels* k = kernels(name)) return k;
    return kernels("baseline");
  }();
  return *best;
}

}  // namespace sad
