// Whether two accesses of a launch conflict with nothing to order them, and reads of what nobody
// has written.
//
// A word of memory, 4 bytes, has a `Word` that remembers who accessed it. Of threads that do the
// same to it two are remembered, of different warps if there are such, and one of an earlier block:
// enough to find a conflict between warps or blocks, whoever else has accessed it. Between lanes of
// a warp the last two count.
#ifndef SAD_CUDA_HOST_SHADOW_H_
#define SAD_CUDA_HOST_SHADOW_H_

#include <sys/mman.h>

#include "clocks.h"
#include "regions.h"

namespace sad_host {

// What a device does in one piece, volatile accesses and atomics, do not conflict with each other.
enum Access { kRead, kWrite, kWholeRead, kWholeWrite };
constexpr int kAccesses = 4;
constexpr bool kConflicts[kAccesses][kAccesses] = {
    {false, true, false, true},
    {true, true, true, true},
    {false, true, false, false},
    {true, true, false, false},
};
constexpr bool writes(Access access) { return access == kWrite || access == kWholeWrite; }

// What device memory holds before anybody writes it: machine.py has the same. A NaN as float and as
// double.
constexpr uint32_t kUnwritten = 0x7ffda5a5;

// What is larger, a vector or a structure, may have parts that nobody writes and nobody uses.
constexpr size_t kLargestNumber = 8;

struct Event {
  uint32_t place;  // in the library, as an offset; 0: no event
  uint32_t thread : 10, time : 18, bytes : 4;
};

struct Word {
  uint32_t block, epoch;      // of the events in `now`, as in `Clocks`
  Event now[kAccesses][2];    // of threads that differ
  Event before[kAccesses];    // of the first block that did so
  uint32_t owner[kAccesses];  // of `before`
  uint32_t written;           // bytes that a block has written, of shared memory
};

inline Word* words;
inline size_t words_reserved;
inline uint32_t first_block;  // of the launch
inline bool watching;         // a kernel runs, and has made no mistake

// Words of earlier launches are told by their block's number.
inline void watch(const Array* arrays, int count) {
  set_regions(arrays, count);
  first_block = clocks.block + 1;
  if (region_words > words_reserved) {
    if (words) munmap(words, words_reserved * sizeof(Word));
    void* memory = mmap(nullptr, region_words * sizeof(Word), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) abort();
    words = static_cast<Word*>(memory);
    words_reserved = region_words;
  }
  watching = true;
}

// ---- Messages: compiler.py puts a line for <@offset> ----------------------------------------

[[noreturn]] inline void refuse(Access access, const Text& what, uint32_t place, const char* why) {
  watching = false;
  report("%s %s %s <@%x>%s", name(*current).text, writes(access) ? "writes" : "reads", what.text,
         place, why);
  give_up();
}

[[noreturn]] inline void refuse_conflict(const Text& what, Access access, uint32_t place,
                                         Access other, const Event& event, uint32_t block) {
  watching = false;
  char where[64] = "";
  if (block != clocks.block) {
    const Index b = block_at(block - first_block);
    snprintf(where, sizeof(where), " of block (%u, %u, %u)", b.x, b.y, b.z);
  }
  const Thread& thread = launch_state.thread[event.thread];
  report("%s %s %s <@%x>, and %s%s %s it <@%x> with nothing to order the two", name(*current).text,
         writes(access) ? "writes" : "reads", what.text, place, name(thread).text, where,
         writes(other) ? "wrote" : "read", event.place);
  give_up();
}

// ---- Words ----------------------------------------------------------------------------------

// Make way for the events of a new epoch. Those of the last one can still conflict with other
// blocks'.
inline void turn_page(Word& w, bool shared) {
  if (w.block < first_block || (shared && w.block != clocks.block)) memset(&w, 0, sizeof(w));
  for (int a = 0; a < kAccesses; ++a) {
    if (w.now[a][0].place && !w.before[a].place) {
      w.before[a] = w.now[a][0];
      w.owner[a] = w.block;
    }
    w.now[a][0].place = w.now[a][1].place = 0;
  }
  w.block = clocks.block;
  w.epoch = clocks.epoch;
}

inline void remember(Event* now, Event event) {
  for (int i = 0; i < 2; ++i) {
    if (now[i].place && now[i].thread != event.thread) continue;
    if (now[i].place && now[i].time == event.time) event.bytes |= now[i].bytes;
    now[i] = event;
    return;
  }
  const bool differ = now[0].thread / kLanes != now[1].thread / kLanes;
  if (differ) return;
  if (now[0].thread / kLanes == event.thread / kLanes) now[0] = now[1];
  now[1] = event;
}

inline void check_word(const Region& region, Word& w, uintptr_t address, uint32_t bytes,
                       Access access, uint32_t place) {
  const int warp = current->warp, lane = current->lane;
  const uint32_t me = static_cast<uint32_t>(warp * kLanes + lane);
  if (w.block != clocks.block || w.epoch != clocks.epoch) turn_page(w, !region.name);
  const Event event{place, me, clocks.time(warp, lane), bytes};
  for (const Event& e : w.now[access])  // what came in between has been checked against this one
    if (e.place && e.thread == me && e.time == event.time && !(bytes & ~e.bytes)) return;
  for (int other = 0; other < kAccesses; ++other) {
    if (!kConflicts[access][other]) continue;
    for (int i = 0; i < 2; ++i) {
      const Event& e = w.now[other][i];
      if (!e.place || e.thread == me || !(e.bytes & bytes)) continue;
      const bool together = static_cast<int>(e.thread / kLanes) == warp;
      if (together && e.time <= clocks.seen[warp][lane][e.thread % kLanes]) continue;
      refuse_conflict(element(region, address), access, place, static_cast<Access>(other), e,
                      clocks.block);
    }
    const Event& e = w.before[other];
    if (e.place && w.owner[other] != clocks.block && (e.bytes & bytes))
      refuse_conflict(element(region, address), access, place, static_cast<Access>(other), e,
                      w.owner[other]);
  }
  remember(w.now[access], event);
  if (writes(access)) w.written |= bytes;
}

inline bool is_written(const Region& region, const Word& w, uintptr_t at, uint32_t bytes) {
  if (!region.name) return !(bytes & ~w.written);
  uint32_t value = 0;
  if (bytes == 15) memcpy(&value, reinterpret_cast<const void*>(at), sizeof(value));
  return value != kUnwritten;
}

// Check an access before it is done.
inline void check(const void* to, size_t size, Access access, const void* return_address) {
  if (!watching || !current || !current->fiber) return;
  const uintptr_t address = reinterpret_cast<uintptr_t>(to), end = address + size;
  const Fiber& fiber = *current->fiber;
  if (address - reinterpret_cast<uintptr_t>(fiber.stack) < fiber.bytes) return;
  const Region* region = region_of(address);
  if (!region && is_own(address)) return;
  const uint32_t place = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(return_address) - 1 -
                                               reinterpret_cast<uintptr_t>(__ehdr_start));
  if (!region) refuse(access, outside(address), place, "");
  if (end > region->begin + region->bytes)
    refuse(access, outside(region->begin + region->bytes), place, "");
  if (region->constant && writes(access))
    refuse(access, element(*region, address), place, ", a const");
  Word* word = words + region->word + (address - (region->begin & ~uintptr_t{3})) / 4;
  uintptr_t unwritten = 0;  // address of a word
  bool written = false;     // any
  for (uintptr_t at = address & ~uintptr_t{3}; at < end; at += 4, ++word) {
    const uintptr_t from = at < address ? address - at : 0, upto = end - at < 4 ? end - at : 4;
    const uint32_t bytes = (1u << upto) - (1u << from);
    check_word(*region, *word, at + from, bytes, access, place);
    if (writes(access)) continue;
    if (is_written(*region, *word, at, bytes))
      written = true;
    else
      unwritten = at;
  }
  if (unwritten && !(written && size > kLargestNumber))
    refuse(access, element(*region, unwritten), place,
           region->name ? ", which nobody has written" : ", which its block has not written");
}

}  // namespace sad_host
#endif  // SAD_CUDA_HOST_SHADOW_H_
