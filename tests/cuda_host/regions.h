// The memory that a kernel may use: its shared memory, and the arrays that it was given.
#ifndef SAD_CUDA_HOST_REGIONS_H_
#define SAD_CUDA_HOST_REGIONS_H_

#include "block.h"
#include "shared_memory.h"

// Where the library lies; the linker defines the names.
extern "C" {
extern char __ehdr_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));
}

namespace sad_host {

struct Region {
  const char* name;  // null for shared memory
  uintptr_t begin;
  size_t bytes, element;
  bool constant;
  size_t word;  // number of its first word among those of all regions
};

constexpr int kMaxRegions = 64;
inline Region regions[kMaxRegions];  // shared memory first, static and dynamic
constexpr int kSharedRegions = 2;
inline int region_count;
inline size_t region_words;

inline void add_region(Region region) {
  if (region_count == kMaxRegions) abort();
  region.word = region_words;
  region_words += (region.begin % 4 + region.bytes + 3) / 4;
  regions[region_count++] = region;
}

// An address that is in several arrays counts as that of one that may be written.
inline void set_regions(const Array* arrays, int count) {
  region_count = 0;
  region_words = 0;
  add_region(
      {nullptr, reinterpret_cast<uintptr_t>(__start_sad_shared), static_bytes(), 4, false, 0});
  add_region({nullptr, reinterpret_cast<uintptr_t>(dynamic_memory), dynamic_bytes, 4, false, 0});
  for (int pass = 0; pass < 2; ++pass)
    for (int i = 0; i < count; ++i)
      if (const Array& a = arrays[i]; a.constant == (pass == 1))
        add_region({a.name, a.begin, a.bytes, a.element, a.constant, 0});
}

inline bool in_library(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(__ehdr_start) <
         static_cast<size_t>(_end - __ehdr_start);
}

// The region that an address is in; null if in none.
inline const Region* region_of(uintptr_t address) {
  static int last;
  const bool inside = in_library(address);
  const int begin = inside ? 0 : kSharedRegions, end = inside ? kSharedRegions : region_count;
  if (last >= begin && last < end && address - regions[last].begin < regions[last].bytes)
    return &regions[last];
  for (int i = begin; i < end; ++i) {
    if (address - regions[i].begin >= regions[i].bytes) continue;
    last = i;
    return &regions[i];
  }
  return nullptr;
}

// Tables of constants, and the shim's own memory.
inline bool is_own(uintptr_t address) {
  const uintptr_t dynamic = reinterpret_cast<uintptr_t>(dynamic_memory);
  return in_library(address) && address - dynamic >= sizeof(dynamic_memory);
}

inline Text element(const Region& region, uintptr_t address) {
  Text out;
  if (region.name)
    snprintf(out.text, sizeof(out.text), "%s[%zu]", region.name,
             (address - region.begin) / region.element);
  else
    snprintf(out.text, sizeof(out.text), "shared memory");
  return out;
}

// Name an address in no array by the array that is nearest.
inline Text outside(uintptr_t address) {
  Text out;
  snprintf(out.text, sizeof(out.text), "memory far from all arrays");
  size_t nearest = 1 << 20;
  for (int i = 0; i < region_count; ++i) {
    const Region& r = regions[i];
    if (r.bytes == 0) continue;
    const bool before = address < r.begin;
    const size_t distance = before ? r.begin - address : address - (r.begin + r.bytes);
    if (distance >= nearest) continue;
    nearest = distance;
    snprintf(out.text, sizeof(out.text), "byte %zu %s %s", distance, before ? "before" : "after",
             r.name ? r.name : "shared memory");
  }
  return out;
}

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_REGIONS_H_
