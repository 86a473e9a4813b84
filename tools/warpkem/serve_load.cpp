#include "tools/warpkem/serve_load.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <semaphore>
#include <thread>
#include <tuple>

#include "host/api/seam.hpp"
#include "host/serving/scheduler.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/scripted_backend.hpp"
#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

using scripted::Script;

constexpr std::size_t num_keys = 8;  // of each kind of request
// Known answers of each kind, in turn of its keys; the loads go through them.
constexpr std::size_t answers_per_key = 32, num_answers = num_keys * answers_per_key;

std::uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::uint64_t rss_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

constexpr double longest_fault_us = 60e6;

double number(std::string_view text, std::string_view what, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0 && value <= most)) {
    throw Error(fmt::format("'{}' of {} is not accepted; a number from 0 to {} is", text, what, most));
  }
  return value;
}

// ---- the engine under load

struct Scripted {
  std::vector<Script> scripts;
  std::shared_ptr<std::atomic<std::uint64_t>> lies = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::shared_ptr<FineHistogram> sizes = std::make_shared<FineHistogram>();
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
  bool computes = true;  // results mean something
  std::string forced;    // the backend that was asked for and gets all work while it can
};

scripted::Behaviour counting(const Scripted& s, scripted::Behaviour behaviour) {
  return [sizes = s.sizes, mutex = s.mutex, behaviour](host::Backend& inner, const host::Batch& batch,
                                                       host::Completion done) {
    {
      const std::scoped_lock lock(*mutex);
      sizes->add(batch.count);
    }
    behaviour(inner, batch, done);
  };
}

// What this machine can use, best first; without devices, which are woken only when wanted, if one backend is named.
std::vector<const host::BackendEntry*> usable_backends(bool named) {
  const Engine engine(named ? "portable" : "auto");
  std::vector<const host::BackendEntry*> usable;
  for (const warpkem_backend_info& info : engine.backends()) {
    for (const host::BackendEntry& entry : host::backend_table()) {
      if (info.available != 0 && std::string_view(entry.name) == info.name) usable.push_back(&entry);
    }
  }
  return usable;
}

// Throws Error.
scripted::Behaviour first_behaviour(const ServeOptions& options) {
  scripted::Behaviour behaviour = scripted::honest();
  for (const std::string_view fault : split(options.faults)) {
    if (fault.starts_with("error:")) {
      behaviour = scripted::failing(number(fault.substr(6), "--faults error:PROBABILITY", 1), options.seed, behaviour);
    } else if (fault.starts_with("slow:")) {
      behaviour = scripted::slow(number(fault.substr(5), "--faults slow:MICROSECONDS", longest_fault_us), 0, behaviour);
    } else {
      throw Error(fmt::format("--faults: '{}' is not accepted; error:PROBABILITY and slow:MICROSECONDS are", fault));
    }
  }
  return behaviour;
}

Scripted backends(const ServeOptions& options) {
  Scripted s;
  const char* const given = secure_getenv("WARPKEM_BACKEND");
  std::string name = options.backend != "auto" ? options.backend : "";
  if (name.empty() && given != nullptr) name = given;
  if (!options.faults.empty() && (name == "null" || name.starts_with("lying:")))
    throw Error(fmt::format("--faults: accepted with a backend that computes, not with {}", name));
  if (name == "null") {
    s.computes = false;
    s.scripts.push_back({"null", true, 1, counting(s, scripted::null()), "portable"});
    return s;
  }
  const std::vector<const host::BackendEntry*> usable = usable_backends(!name.empty());
  const auto best_cpu = *std::ranges::find_if(usable, [](const host::BackendEntry* e) { return e->on_cpu; });
  if (name.starts_with("lying:")) {
    const double p = number(std::string_view(name).substr(6), "--backend lying:PROBABILITY", 1);
    const char* const best = best_cpu->name;
    s.scripts.push_back({"lying", true, 0, counting(s, scripted::lying(p, options.seed, s.lies)), best});
    s.scripts.push_back({best, true, 0, counting(s, scripted::honest()), best});
    return s;
  }
  const host::BackendEntry* chosen = usable.front();
  if (!name.empty()) {
    const auto entry = std::ranges::find(host::backend_table(), name, &host::BackendEntry::name);
    if (entry == host::backend_table().end()) {
      const std::string wish = backend_wish(options.backend);  // before the environment is forgotten
      throw Error(fmt::format("{}: no backend has this name; accepted here: {}, null, lying:PROBABILITY", wish,
                              fmt::join(tool::usable_backends(), ", ")));
    }
    chosen = &*entry;
    s.forced = name;
  }
  s.scripts.push_back({chosen->name, chosen->on_cpu, 0, counting(s, first_behaviour(options)), chosen->name});
  // Who takes over, and who checks: faults are injected into the first one only.
  if (!options.faults.empty() || !chosen->on_cpu) {
    s.scripts.push_back({"reserve", true, 0, counting(s, scripted::honest()), best_cpu->name});
  } else if (std::string_view(chosen->name) != "portable") {
    s.scripts.push_back({"reserve", true, 0, counting(s, scripted::honest()), "portable"});
  }
  return s;
}

// ---- what is asked and what is right

// One kind of request: keys, and known answers.
struct Kind {
  ServeOp op;
  std::size_t ek_bytes, dk_bytes, c_bytes;
  std::size_t key_bytes = 0, in_bytes = 0, out1_bytes = 0, out2_bytes = 0;
  // Answer i belongs to key i % num_keys: the secret input (seed, m, or c for decaps) and both outputs.
  std::vector<std::uint8_t> ek, dk, input, out1, out2;

  Kind(const ServeOp& o, warpkem_engine* portable)
      : op(o),
        ek_bytes(warpkem_size(o.algorithm, WARPKEM_SIZE_EK)),
        dk_bytes(warpkem_size(o.algorithm, WARPKEM_SIZE_DK)),
        c_bytes(warpkem_size(o.algorithm, WARPKEM_SIZE_C)),
        ek(num_answers * ek_bytes),
        dk(num_answers * dk_bytes) {
    std::mt19937_64 random(op.operation * 100 + op.algorithm);
    const auto fill = [&](std::vector<std::uint8_t>& v) {
      for (auto& byte : v) byte = static_cast<std::uint8_t>(random());
    };
    const std::size_t n = num_answers;
    const auto in = [](const std::vector<std::uint8_t>& v) { return warpkem_in{v.data(), v.size(), 0}; };
    const auto out = [](std::vector<std::uint8_t>& v) { return warpkem_out{v.data(), v.size(), 0}; };
    std::vector<std::uint8_t> seeds(64 * n), m(32 * n), c(c_bytes * n), K(32 * n);
    fill(seeds), fill(m);
    const bool same_keys = op.operation != WARPKEM_OP_KEYGEN;
    for (std::size_t i = num_keys; i < n && same_keys; ++i) memcpy(&seeds[64 * i], &seeds[64 * (i % num_keys)], 64);
    must_be_right(warpkem_keygen_derand(portable, op.algorithm, WARPKEM_DK_EXPANDED, n, in(seeds), out(ek), out(dk),
                                        nullptr, nullptr));
    if (op.operation == WARPKEM_OP_KEYGEN) {
      in_bytes = 64, out1_bytes = ek_bytes, out2_bytes = dk_bytes;
      input = seeds, out1 = ek, out2 = dk;
      return;
    }
    must_be_right(warpkem_encaps_derand(portable, op.algorithm, n, in(ek), in(m), out(c), out(K), nullptr, nullptr));
    if (op.operation == WARPKEM_OP_ENCAPS) {
      key_bytes = ek_bytes, in_bytes = 32, out1_bytes = c_bytes, out2_bytes = 32;
      input = m, out1 = c, out2 = K;
      return;
    }
    // Of every key an eighth of the ciphertexts is wrong: they are rejected, each with a K of its own.
    for (std::size_t i = 0; i < n; ++i) {
      if (i / num_keys % 8 == 7) c[i * c_bytes + random() % c_bytes] ^= static_cast<std::uint8_t>(1 + random() % 255);
    }
    must_be_right(
        warpkem_decaps(portable, op.algorithm, WARPKEM_DK_EXPANDED, n, in(dk), in(c), out(K), nullptr, nullptr));
    key_bytes = dk_bytes, in_bytes = c_bytes, out1_bytes = 32;
    input = c, out1 = K;
  }

  static void must_be_right(warpkem_status status) {
    if (status != WARPKEM_OK) throw Error(fmt::format("portable: {}", warpkem_last_error()));
  }
};

// One request in flight, with memory of its own.
struct Slot {
  const Kind* kind = nullptr;
  std::vector<std::uint8_t> memory;  // key, input, outputs
  std::size_t key_number = 0, answer = 0;
  bool in_flight = false, derand = false, bad = false, is_void = false;
  std::uint8_t item_status = 0;
  std::uint64_t intended_ns = 0;

  std::uint8_t* key() { return memory.data(); }
  std::uint8_t* input() { return memory.data() + kind->key_bytes; }
  std::uint8_t* out1() { return input() + kind->in_bytes; }
  std::uint8_t* out2() { return out1() + kind->out1_bytes; }

  // Lays the request out; its arrays do not move afterwards.
  void prepare(const Kind& k, std::size_t number) {
    if (kind == &k) return;
    kind = &k;
    key_number = number % num_keys;
    bad = is_void = false;
    memory.assign(k.key_bytes + k.in_bytes + k.out1_bytes + k.out2_bytes, 0);
    restore_key();
  }
  // As request `number`, into zeros. Written when it is wanted: kept here it would be most of what a request fetches
  // into the cache.
  void describe(warpkem_batch& batch, std::size_t number, bool with_status) {
    batch.struct_size = sizeof batch;
    batch.operation = kind->op.operation;
    batch.algorithm = kind->op.algorithm;
    batch.count = 1;
    batch.user_data = reinterpret_cast<void*>(number);
    if (with_status) batch.statuses = &item_status;
    if (kind->op.operation == WARPKEM_OP_KEYGEN) {
      if (derand) batch.flags = WARPKEM_DERAND, batch.seeds = {input(), kind->in_bytes, 0, nullptr};
      batch.ek_out = {out1(), kind->out1_bytes, 0, nullptr};
      batch.dk_out = {out2(), kind->out2_bytes, 0, nullptr};
    } else if (kind->op.operation == WARPKEM_OP_ENCAPS) {
      if (derand) batch.flags = WARPKEM_DERAND, batch.m = {input(), kind->in_bytes, 0, nullptr};
      batch.ek = {key(), kind->key_bytes, 0, nullptr};
      batch.c_out = {out1(), kind->out1_bytes, 0, nullptr};
      batch.K_out = {out2(), kind->out2_bytes, 0, nullptr};
    } else {
      batch.dk = {key(), kind->key_bytes, 0, nullptr};
      batch.c = {input(), kind->in_bytes, 0, nullptr};
      batch.K_out = {out1(), kind->out1_bytes, 0, nullptr};
    }
  }
  // The next question, with given randomness or, if it can be, the engine's own.
  void ask(std::uint64_t dice, bool drawn) {
    answer = key_number + num_keys * (dice % answers_per_key);
    derand = !drawn || kind->op.operation == WARPKEM_OP_DECAPS;
    if (derand) memcpy(input(), kind->input.data() + answer * kind->in_bytes, kind->in_bytes);
  }
  // What was there is not what will be found right, or nothing.
  void muddle_outputs() {
    memset(out1(), 0xEE, kind->out1_bytes + kind->out2_bytes);
    is_void = false;
    item_status = 0xEE;
  }
  // Makes the key one that its check refuses: a coefficient of ek not below q (FIPS 203, 7.2), or an ek inside dk, or
  // its hash, that does not fit the other (7.3).
  void spoil_key(std::uint64_t dice) {
    bad = true;
    if (kind->op.operation == WARPKEM_OP_ENCAPS) {
      std::uint8_t* const pair = key() + 3 * (dice % ((kind->ek_bytes - 32) / 3));  // two coefficients of 12 bits
      const std::uint64_t q = 3329, coefficient = q + (dice >> 16) % (4096 - q);
      if ((dice >> 32 & 1) == 0) {
        pair[0] = static_cast<std::uint8_t>(coefficient);
        pair[1] = static_cast<std::uint8_t>((pair[1] & 0xf0) | coefficient >> 8);
      } else {
        pair[1] = static_cast<std::uint8_t>((pair[1] & 0x0f) | coefficient << 4);
        pair[2] = static_cast<std::uint8_t>(coefficient >> 4);
      }
    } else {
      const std::size_t ek_begin = kind->dk_bytes - 64 - kind->ek_bytes;
      key()[ek_begin + dice % (kind->ek_bytes + 32)] ^= static_cast<std::uint8_t>(1u << (dice >> 32 & 7));
    }
  }
  void restore_key() {
    const bool encaps = kind->op.operation == WARPKEM_OP_ENCAPS;
    if (kind->key_bytes != 0)
      memcpy(key(), (encaps ? kind->ek : kind->dk).data() + key_number * kind->key_bytes, kind->key_bytes);
    bad = false;
  }
  warpkem_status expected_status() const {
    return !bad ? WARPKEM_OK : kind->op.operation == WARPKEM_OP_ENCAPS ? WARPKEM_INVALID_EK : WARPKEM_INVALID_DK;
  }

  bool is_right(warpkem_engine* portable) {
    if (!derand) return holds_together(portable);
    return std::equal(out1(), out2(), kind->out1.data() + answer * kind->out1_bytes) &&
           std::equal(out2(), out2() + kind->out2_bytes, kind->out2.data() + answer * kind->out2_bytes);
  }
  // What came of randomness that only the engine knows: the holder of dk comes to the same K; a key pair is one, and
  // passes the checks of FIPS 203, Section 7, which come with encapsulating and decapsulating.
  bool holds_together(warpkem_engine* portable) {
    const warpkem_algorithm algorithm = kind->op.algorithm;
    std::uint8_t K[32], K_prime[32];
    std::array<std::uint8_t, 1568> c;
    const auto decapsulates = [&](const std::uint8_t* dk, const std::uint8_t* from, const std::uint8_t* to) {
      return warpkem_decaps(portable, algorithm, WARPKEM_DK_EXPANDED, 1, {dk, kind->dk_bytes, 0},
                            {from, kind->c_bytes, 0}, {K_prime, 32, 0}, nullptr, nullptr) == WARPKEM_OK &&
             memcmp(K_prime, to, 32) == 0;
    };
    if (kind->op.operation == WARPKEM_OP_ENCAPS) {
      return decapsulates(kind->dk.data() + key_number * kind->dk_bytes, out1(), out2());
    }
    const std::uint8_t* const ek_inside = out2() + kind->dk_bytes - 64 - kind->ek_bytes;
    return memcmp(out1(), ek_inside, kind->ek_bytes) == 0 &&
           warpkem_encaps(portable, algorithm, 1, {out1(), kind->ek_bytes, 0}, {c.data(), kind->c_bytes, 0}, {K, 32, 0},
                          nullptr, nullptr) == WARPKEM_OK &&
           decapsulates(out2(), c.data(), K);
  }
  bool is_zero() {
    const auto zero = [](const std::uint8_t* p, std::size_t n) {
      return std::all_of(p, p + n, [](auto b) { return b == 0; });
    };
    return zero(out1(), kind->out1_bytes + kind->out2_bytes);
  }
};

// When requests of an open loop are due, for all producers together: they take turns at watching the clock and
// submitting what has become due. Waking a thread takes longer than an encapsulation, so the watch naps instead of
// waking for every request, and turns are long; latencies count from when a request was due.
class Arrivals {
 public:
  static constexpr std::uint64_t nap_ns = 40'000;

  // `bound`: of the engine's queue.
  Arrivals(double rate, std::size_t bound, std::uint64_t seed, std::size_t producers)
      : patience_ns_(
            static_cast<std::uint64_t>(std::clamp(static_cast<double>(bound) / 4 / rate * 1e9,
                                                  static_cast<double>(nap_ns), static_cast<double>(longest_ns)))),
        random_(seed),
        gap_(rate * 1e-9) {
    for (std::size_t i = 0; i < producers; ++i) turns_.emplace_back(i == 0 ? 1 : 0);
  }

  // Who leaves the loop, for whatever reason, ends it for all: otherwise the next turn could be that of one who is
  // gone.
  void close() {
    if (closed_.exchange(true)) return;
    for (auto& turn : turns_) turn.release();
  }
  // To be looked at when a turn begins, which after closing may be several producers' at once.
  bool closed() const { return closed_.load(); }

  // The producer's turn; it ends with the object.
  class Turn {
   public:
    Turn(Arrivals& arrivals, std::size_t producer) : arrivals_(arrivals), producer_(producer) {
      arrivals_.turns_[producer_].acquire();
      end_ns_ = now_ns() + turn_ns;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { arrivals_.turns_[(producer_ + 1) % arrivals_.turns_.size()].release(); }
    bool is_over() const { return now_ns() >= end_ns_; }

    // Waits until requests are due, though not for long, and takes up to `most` of them, of which a submission holds
    // `full`. `refused`: the last ones were, so that it makes no sense to come again at once with fewer.
    void take(std::size_t most, std::size_t full, bool refused, std::vector<std::uint64_t>& due) {
      due.clear();
      Arrivals& a = arrivals_;
      const std::uint64_t now = now_ns();
      if (a.next_ == 0) a.next_ = static_cast<double>(now) + a.gap_(a.random_);
      const std::uint64_t wake =
          std::max(static_cast<std::uint64_t>(a.next_), a.last_ + (refused ? a.patience_ns_ : nap_ns));
      if (wake > now) std::this_thread::sleep_for(std::chrono::nanoseconds(std::min(wake - now, longest_ns)));
      a.last_ = now_ns();
      for (; due.size() < most && a.next_ <= static_cast<double>(a.last_); a.next_ += a.gap_(a.random_)) {
        due.push_back(static_cast<std::uint64_t>(a.next_));
      }
      if (due.size() == (refused ? full : most)) a.last_ = 0;
    }

   private:
    Arrivals& arrivals_;
    const std::size_t producer_;
    std::uint64_t end_ns_;
  };

 private:
  static constexpr std::uint64_t longest_ns = 10'000'000, turn_ns = 2'000'000;

  // After a refusal. What comes meanwhile would fill a quarter of the queue, so what is done leaves no less than the
  // rest of it.
  const std::uint64_t patience_ns_;
  std::deque<std::counting_semaphore<>> turns_;
  std::atomic<bool> closed_{false};
  // Of whose turn it is.
  std::mt19937_64 random_;
  std::exponential_distribution<> gap_;
  double next_ = 0;
  std::uint64_t last_ = 0;  // when the watch last looked; 0: it is behind
};

struct Shared {
  const ServeOptions& options;
  warpkem_engine* engine;
  std::deque<Kind> kinds;
  std::vector<double> up_to;  // cumulative weights
  bool computes;
  double drawn;  // fraction of keygens and encapsulations
  warpkem_engine* portable;
  std::atomic<std::int64_t> left;  // requests to be submitted, if they are counted
  Arrivals arrivals;
  std::atomic<bool> stop{false};
};

class Producer {
 public:
  Producer(Shared& shared, std::size_t number, std::size_t slots)
      : s_(shared), number_(number), random_(shared.options.seed * 1000 + number), slots_(slots) {
    check(warpkem_queue_new(s_.engine, &queue_));
    options_.struct_size = sizeof options_;
    options_.deadline_us = s_.options.deadline_us;
    if (s_.options.rate > 0) {
      delivered_.reserve(slots), taken_.reserve(slots);
      options_.callback = [](void* context, const warpkem_completion* completion) {
        Producer& p = *static_cast<Producer*>(context);
        const std::scoped_lock lock(p.delivered_mutex_);
        p.delivered_.push_back({*completion, now_ns()});
      };
      options_.context = this;
    } else {
      options_.queue = queue_;
      // A lone request is run by the thread that waits for it, as wait() in async.hpp does.
      if (slots == 1) options_.flags = WARPKEM_WILL_WAIT;
    }
    for (std::size_t i = slots; i-- != 0;) free_.push_back(i);
    completions_.resize(s_.options.hand_over);
    batches_.resize(s_.options.hand_over);
    chosen_.resize(s_.options.hand_over);
    handles_.resize(s_.options.hand_over);
    for (std::size_t i = 0; i < slots; ++i) slots_[i].prepare(pick_kind(), i);
  }
  ~Producer() { warpkem_queue_free(queue_); }
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  void run() {
    prctl(PR_SET_TIMERSLACK, 1);
    if (s_.options.rate > 0) {
      open_loop();
    } else {
      closed_loop();
    }
    give_up_refused();
    const auto none_for_long = [this] {
      if (s_.options.rate <= 0) return collect(lost_after_ns / 1000) == 0;
      for (const std::uint64_t end = now_ns() + lost_after_ns; now_ns() < end;) {
        if (take_back_delivered() != 0) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      return true;
    };
    while (free_.size() != slots_.size() && !none_for_long()) {
    }
    report.lost = slots_.size() - free_.size();
  }

  ServeReport report;

 private:
  // What does not come back within half a minute is lost.
  static constexpr std::uint64_t lost_after_ns = 30'000'000'000;

  const Kind& pick_kind() {
    if (s_.kinds.size() == 1) return s_.kinds.front();
    const double at = std::uniform_real_distribution<>(0, s_.up_to.back())(random_);
    const auto found = std::ranges::upper_bound(s_.up_to, at);
    return s_.kinds[std::min<std::size_t>(static_cast<std::size_t>(found - s_.up_to.begin()), s_.kinds.size() - 1)];
  }

  bool roll(double p) { return p > 0 && std::uniform_real_distribution<>()(random_) < p; }

  std::size_t laid_out() const { return batches_.size() - first_; }

  // How many requests a submission can have.
  std::size_t room() const { return std::min(s_.options.hand_over, free_.size() + laid_out()); }

  void lay_out() {
    const std::size_t i = free_.back();
    free_.pop_back();
    Slot& slot = slots_[i];
    // What was delivered without results must have stayed so: nobody writes there any more.
    if (slot.is_void && !slot.is_zero()) ++report.wrong;
    if (slot.bad) slot.restore_key();
    if (s_.kinds.size() > 1) slot.prepare(pick_kind(), i);
    if (s_.computes) {
      slot.ask(random_(), roll(s_.drawn));
      if (slot.kind->key_bytes != 0 && roll(s_.options.bad)) slot.spoil_key(random_());
      if (s_.options.verify) slot.muddle_outputs();
    }
    --first_;
    std::construct_at(&batches_[first_]);  // in place: an assignment would copy zeros there
    slot.describe(batches_[first_], i, s_.options.verify);
    chosen_[first_] = i;
  }

  // As many as room() at the most, of which each was due at the moment intended_ns(its number). What is refused stays
  // laid out, for the next submission: an overloaded machine has better things to do.
  template <class IntendedNs>
  void submit(std::size_t wanted, IntendedNs intended_ns) {
    if (wanted == 0) return;
    while (laid_out() < wanted) lay_out();
    for (std::size_t i = 0; i < wanted; ++i) {
      Slot& slot = slots_[chosen_[first_ + i]];
      slot.intended_ns = intended_ns(i);
      slot.in_flight = true;
    }
    std::size_t taken = 0;
    options_.request_class = roll(s_.options.bulk) ? WARPKEM_BULK : WARPKEM_INTERACTIVE;
    const warpkem_status status = warpkem_submit(s_.engine, &batches_[first_], wanted, &options_,
                                                 s_.options.cancel > 0 ? handles_.data() : nullptr, &taken);
    report.offered += wanted;
    report.accepted += taken;
    if (status == WARPKEM_WOULD_BLOCK) {
      report.refused += wanted - taken;
    } else {
      check(status);
    }
    for (std::size_t i = taken; i < wanted; ++i) slots_[chosen_[first_ + i]].in_flight = false;
    if (s_.options.cancel > 0) {
      for (std::size_t i = 0; i < taken; ++i) {
        if (roll(s_.options.cancel)) check(warpkem_cancel(s_.engine, handles_[i]));
      }
    }
    first_ += taken;
  }

  void give_up_refused() {
    for (; first_ != batches_.size(); ++first_) free_.push_back(chosen_[first_]);
  }

  std::size_t collect(std::uint64_t timeout_us) {
    std::size_t n = 0;
    if (timeout_us == 0) {
      check(warpkem_queue_poll(queue_, completions_.data(), completions_.size(), &n));
    } else {
      // A producer that is woken for every batch would keep the cores busier than the scheduler does.
      check(
          warpkem_queue_wait_many(queue_, completions_.data(), completions_.size(), slots_.size() / 2, timeout_us, &n));
    }
    const std::uint64_t now = n != 0 ? now_ns() : 0;
    for (std::size_t i = 0; i < n; ++i) take_back(completions_[i], now);
    return n;
  }

  void take_back(const warpkem_completion& completion, std::uint64_t now) {
    const auto i = reinterpret_cast<std::size_t>(completion.user_data);
    Slot& slot = slots_[i];
    if (!slot.in_flight) {
      ++report.duplicated;
      return;
    }
    slot.in_flight = false;
    free_.push_back(i);
    ++report.completed;
    report.latency_ns.add(now - std::min(now, slot.intended_ns));
    if (s_.computes) check_results(slot, completion);
    if (completion.status == WARPKEM_OK) return;
    if (completion.status == WARPKEM_CANCELLED && s_.options.cancel > 0) {
      ++report.cancelled;
    } else if (completion.status == WARPKEM_EXPIRED && s_.options.deadline_us != 0) {
      ++report.expired;
    } else if (!slot.bad || completion.status != slot.expected_status()) {
      ++report.failed;
    }
  }

  void check_results(Slot& slot, const warpkem_completion& completion) {
    const bool ok = completion.status == WARPKEM_OK;
    const bool as_expected = completion.status == slot.expected_status();
    bool right = !ok || !slot.bad;
    report.expected_failures += slot.bad && as_expected;
    if (s_.options.verify) {
      right = right && slot.item_status == completion.status && completion.failed == (ok ? 0 : 1);
      right = right && (ok ? slot.is_right(s_.portable) : slot.is_zero());
      ++report.verified;
      slot.is_void = !ok;
      if (ok && !slot.derand) {
        // Randomness that comes twice would be as good as none.
        right = right && memcmp(last_drawn_.data(), slot.out1(), last_drawn_.size()) != 0;
        memcpy(last_drawn_.data(), slot.out1(), last_drawn_.size());
        ++report.verified_drawn;
      }
    }
    if (!right) ++report.wrong;
  }

  std::size_t may_submit(std::size_t wanted) {
    if (s_.options.requests == 0) return wanted;
    const std::int64_t before = s_.left.fetch_sub(static_cast<std::int64_t>(wanted));
    return static_cast<std::size_t>(std::clamp<std::int64_t>(before, 0, static_cast<std::int64_t>(wanted)));
  }

  void closed_loop() {
    while (!s_.stop.load(std::memory_order_relaxed)) {
      while (room() != 0) {
        const std::size_t n = may_submit(room());
        if (n == 0) return;
        const std::uint64_t now = now_ns();
        const std::uint64_t refused = report.refused;
        submit(n, [now](std::size_t) { return now; });
        if (report.refused != refused) break;
      }
      if (free_.size() + laid_out() == slots_.size()) continue;
      collect(100'000);
    }
  }

  // By callbacks: a queue's waiter would be woken for almost every request.
  void open_loop() {
    struct Closing {
      Arrivals& arrivals;
      ~Closing() { arrivals.close(); }
    } const closing{s_.arrivals};
    std::vector<std::uint64_t> due;
    bool refused = false;
    std::uint64_t full_since_ns = 0;  // and nothing came back
    while (!s_.stop.load(std::memory_order_relaxed)) {
      Arrivals::Turn turn(s_.arrivals, number_);
      if (s_.arrivals.closed()) return;
      do {
        if (take_back_delivered() != 0) full_since_ns = 0;
        if (room() == 0) {
          // More of this producer's are under way than its share of the engine's queue, after a stall: another's turn.
          if (full_since_ns == 0) full_since_ns = now_ns();
          if (now_ns() > full_since_ns + lost_after_ns) return;
          std::this_thread::sleep_for(std::chrono::nanoseconds(Arrivals::nap_ns));
          break;
        }
        turn.take(room(), s_.options.hand_over, refused, due);
        const std::uint64_t refused_before = report.refused;
        const std::size_t n = may_submit(due.size());
        submit(n, [&](std::size_t i) { return due[i]; });
        if (n < due.size()) return;
        refused = report.refused != refused_before;
      } while (!turn.is_over() && !s_.stop.load(std::memory_order_relaxed));
    }
  }

  std::size_t take_back_delivered() {
    taken_.clear();
    {
      const std::scoped_lock lock(delivered_mutex_);
      taken_.swap(delivered_);
    }
    for (const Delivered& d : taken_) take_back(d.completion, d.at_ns);
    return taken_.size();
  }

  struct Delivered {
    warpkem_completion completion;
    std::uint64_t at_ns;
  };

  Shared& s_;
  const std::size_t number_;
  std::mt19937_64 random_;
  warpkem_queue* queue_ = nullptr;
  std::vector<Slot> slots_;
  std::vector<std::size_t> free_, chosen_;
  std::vector<warpkem_batch> batches_;
  std::size_t first_ = s_.options.hand_over;  // from there on requests are laid out in batches_ and chosen_
  std::vector<warpkem_completion> completions_;
  std::vector<warpkem_request> handles_;
  std::mutex delivered_mutex_;  // guards delivered_
  std::vector<Delivered> delivered_, taken_;
  std::array<std::uint8_t, 32> last_drawn_{};
  warpkem_submit_options options_{};
};

// Sleeps and looks how late it wakes: what the machine alone does to a thread. It asks at moments that were fixed
// beforehand, and answers also for those that it slept through, so that the lateness is what somebody would wait who
// came at any moment and needed this thread, and can be held against latencies.
void watch(const std::atomic<bool>& stop, FineHistogram& stall_ns) {
  prctl(PR_SET_TIMERSLACK, 1);
  // Seldom enough to take no part in the load, and in step with no tick of a scheduler's.
  constexpr std::uint64_t period_ns = 7'300'000;
  std::uint64_t due = now_ns() + period_ns;
  while (!stop.load(std::memory_order_relaxed)) {
    const std::uint64_t before = now_ns();
    if (due > before) std::this_thread::sleep_for(std::chrono::nanoseconds(due - before));
    for (const std::uint64_t now = now_ns(); due <= now; due += period_ns) stall_ns.add(now - due);
  }
}

std::deque<Kind> make_kinds(const ServeOptions& options, warpkem_engine* portable, std::vector<double>& up_to) {
  std::deque<Kind> kinds;
  for (const ServeOp& op : options.mix) {
    kinds.emplace_back(op, portable);
    up_to.push_back((up_to.empty() ? 0 : up_to.back()) + op.weight);
  }
  return kinds;
}

}  // namespace

std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; !list.empty() && begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

ServeReport serve(const ServeOptions& options, const std::function<void(warpkem_engine*)>& running) {
  const Scripted scripted = backends(options);
  if (options.verify && !scripted.computes) throw Error("the null backend computes nothing that could be verified");
  const bool open = options.rate > 0;
  const std::size_t closed_items = options.producers * options.outstanding;
  // That of an open loop bounds how long what is accepted in an overload waits, and holds what a stall of milliseconds
  // leaves due.
  const std::size_t max_items = options.max_items != 0 ? options.max_items
                                : open                 ? 2048
                                                       : std::max<std::size_t>(4096, 2 * closed_items);

  host::EngineOptions engine_options;
  engine_options.backend = scripted.forced;
  if (options.threads != WARPKEM_THREADS_AUTO) engine_options.threads = options.threads;
  engine_options.pin_threads = !options.free_threads;
  const auto make_engine = [&] {
    try {
      return std::make_shared<host::Engine>(engine_options, scripted::table(scripted.scripts));
    } catch (const host::Error& error) {
      const std::string wish = scripted.forced.empty() ? "" : backend_wish(options.backend);
      throw Error(fmt::format("{}{}", wish.empty() ? "the engine cannot start: " : wish + ": ", error.what()));
    }
  };
  warpkem_engine handle{make_engine()};
  host::SchedulerOptions scheduler_options;
  scheduler_options.most_items = max_items;
  scheduler_options.max_delay_ns = options.max_delay_us * std::uint64_t{1000};
  scheduler_options.cpu_sentinel = scheduler_options.device_sentinel = options.sentinel;
  handle.lazy_scheduler.configure(scheduler_options);

  const Engine portable("portable", 1);
  ServeReport report;
  {
    // Known answers are compared in no time; what only the engine knows the randomness of takes portable to check.
    const double drawn = options.drawn >= 0 ? options.drawn : options.verify ? 1.0 / 64 : 0.5;
    Shared shared{options,
                  &handle,
                  {},
                  {},
                  scripted.computes,
                  drawn,
                  portable.get(),
                  static_cast<std::int64_t>(options.requests),
                  {options.rate, max_items, options.seed, options.producers}};
    shared.kinds = make_kinds(options, portable.get(), shared.up_to);
    std::vector<std::unique_ptr<Producer>> producers;
    // Twice a producer's share of the queue: one that has no slot left passes its turn on, and the next must be woken.
    const std::size_t share = std::min(max_items, 2 * max_items / options.producers);
    const std::size_t slots = open ? share + options.hand_over : options.outstanding;
    for (std::size_t i = 0; i < options.producers; ++i)
      producers.push_back(std::make_unique<Producer>(shared, i, slots));
    struct Running {
      const std::function<void(warpkem_engine*)>& tell;
      void say(warpkem_engine* engine) const {
        if (tell) tell(engine);
      }
      ~Running() { say(nullptr); }
    } is_running{running};
    is_running.say(&handle);

    const double cpu_before = cpu_seconds();
    const std::uint64_t begin = now_ns();
    Threads threads([&] { shared.stop = true; });
    for (std::size_t i = 0; i < producers.size(); ++i) {
      const auto produce = [&p = *producers[i]] {
        try {
          p.run();
        } catch (const std::exception& error) {
          write_stderr({"warpkem: a producer: ", error.what(), "\n"});
          ++p.report.failed;
        }
      };
      threads.start(fmt::format("producer {} of --producers {}", i + 1, producers.size()),
                    [&] { return std::thread(produce); });
    }
    std::atomic<bool> over{false};
    const host::Cores cores;
    std::vector<FineHistogram> stalls(cores.count());
    Threads watchers([&] { over = true; });
    for (unsigned i = 0; i < cores.count(); ++i) {
      watchers.start("the measurement of stalls",
                     [&] { return cores.start_on(i, [&, i] { watch(over, stalls[i]); }); });
    }
    const auto keep_time = [&] {
      for (std::uint64_t second = 1; !over; ++second) {
        while (!over && now_ns() < begin + second * 1'000'000'000) {
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          if (options.requests == 0 && static_cast<double>(now_ns() - begin) >= options.seconds * 1e9)
            shared.stop = true;
        }
        report.rss_bytes.push_back(rss_bytes());
      }
    };
    watchers.start("the clock", [&] { return std::thread(keep_time); });
    threads.join();
    report.elapsed_seconds = static_cast<double>(now_ns() - begin) * 1e-9;
    report.cpu_seconds = cpu_seconds() - cpu_before;
    over = true;
    watchers.join();
    for (const FineHistogram& stall : stalls) report.stall_ns.merge(stall);
    is_running.say(nullptr);
    for (const auto& producer : producers) {
      const ServeReport& p = producer->report;
      report.offered += p.offered, report.accepted += p.accepted, report.completed += p.completed;
      report.refused += p.refused, report.failed += p.failed, report.cancelled += p.cancelled;
      report.expected_failures += p.expected_failures, report.verified += p.verified;
      report.verified_drawn += p.verified_drawn;
      report.expired += p.expired, report.lost += p.lost, report.duplicated += p.duplicated, report.wrong += p.wrong;
      report.latency_ns.merge(p.latency_ns);
    }
    report.counters.struct_size = sizeof report.counters;
    check(warpkem_metrics(&handle, &report.counters, nullptr, 0, nullptr));
    if (report.lost == 0) {
      check(warpkem_shutdown(&handle, WARPKEM_DRAIN));
    } else {
      // A shutdown would wait for what is lost. So the engine stays as it is, and the memory that it may write to.
      for (auto& producer : producers) static_cast<void>(producer.release());
      static_cast<void>(new std::shared_ptr(handle.engine));
    }
  }
  for (const host::Engine::Slot& slot : handle.engine->slots()) report.items_by_backend[slot.entry->name] = slot.items;
  report.lies = scripted.lies->load();
  report.batch_items = *scripted.sizes;
  return report;
}

// ---- simulated time

namespace {

class SimulatedClock final : public host::Clock {
 public:
  std::uint64_t now_ns() const noexcept override { return now; }
  std::uint64_t now = 1'000'000'000;
};

// A device that takes a modelled time for each batch and does one after the other.
struct SimulatedDevice {
  struct Running {
    std::uint64_t end_ns;
    host::Batch batch;
    host::Completion done;
  };
  static constexpr std::uint64_t fixed_ns = 20'000, item_ns = 500;

  SimulatedClock& clock;
  std::deque<Running> running;
  std::map<std::tuple<host::Operation, std::uint32_t, const void*>, std::uint64_t> longest_ns;  // of each kind
  FineHistogram sizes;

  scripted::Behaviour behaviour() {
    return [this](host::Backend&, const host::Batch& batch, host::Completion done) {
      const std::uint64_t service = fixed_ns + item_ns * batch.count;
      const std::uint64_t begin = std::max(clock.now, running.empty() ? 0 : running.back().end_ns);
      running.push_back({begin + service, batch, done});
      std::uint64_t& longest = longest_ns[{batch.operation, batch.algorithm, batch.keys}];
      longest = std::max(longest, service);
      sizes.add(batch.count);
    };
  }
};

}  // namespace

ServeReport serve_virtually(const ServeOptions& options) {
  SimulatedClock clock;
  SimulatedDevice device{clock, {}, {}, {}};
  host::SchedulerOptions scheduler_options;
  scheduler_options.threads = false;
  scheduler_options.clock = &clock;
  scheduler_options.device_sentinel = 0;
  if (options.max_items != 0) scheduler_options.most_items = options.max_items;
  scheduler_options.max_delay_ns = options.max_delay_us * std::uint64_t{1000};
  warpkem_engine handle{std::make_shared<host::Engine>(
      host::EngineOptions{}, scripted::table({{"simulated", false, 1, device.behaviour(), "portable"}}))};
  handle.lazy_scheduler.configure(scheduler_options);
  host::Scheduler& scheduler = handle.scheduler();
  const Engine portable("portable", 1);
  std::vector<double> up_to;
  const std::deque<Kind> kinds = make_kinds(options, portable.get(), up_to);

  ServeReport report;
  warpkem_queue* queue = nullptr;
  check(warpkem_queue_new(&handle, &queue));
  warpkem_submit_options submit_options{};
  submit_options.struct_size = sizeof submit_options;
  submit_options.queue = queue;
  std::deque<Slot> slots;
  std::vector<std::size_t> free;
  std::mt19937_64 random(options.seed);
  const std::uint64_t begin = clock.now;
  const std::uint64_t end_ns = begin + static_cast<std::uint64_t>(options.seconds * 1e9);
  // An open loop has the moment of the next request, a closed one has requests that came back.
  const bool is_open = options.rate > 0;
  std::exponential_distribution<> gap(is_open ? options.rate * 1e-9 : 1);
  double arrival = static_cast<double>(begin) + gap(random);
  std::size_t in_hand = is_open ? 0 : options.producers * options.outstanding;
  bool full = false;  // until something comes back
  const auto next_arrival = [&] {
    std::uint64_t at = in_hand != 0 && !full ? clock.now : host::never;
    if (is_open) at = static_cast<std::uint64_t>(arrival);
    const bool is_over = options.requests != 0 ? report.offered >= options.requests : at >= end_ns;
    return is_over ? host::never : at;
  };
  std::vector<warpkem_completion> completions(4096);
  for (;;) {
    std::uint64_t next = host::never;
    while (scheduler.step(next)) {
    }
    next = std::min(next, next_arrival());
    if (!device.running.empty()) next = std::min(next, device.running.front().end_ns);
    if (next == host::never) break;  // nothing will ever happen again: what is left is lost
    clock.now = std::max(clock.now, next);
    while (!device.running.empty() && device.running.front().end_ns <= clock.now) {
      const SimulatedDevice::Running done = device.running.front();
      device.running.pop_front();
      std::fill_n(done.batch.statuses, done.batch.count, std::uint8_t{0});
      done.done.call(done.done.context, {});
    }
    while (next_arrival() <= clock.now) {
      if (free.empty()) {
        free.push_back(slots.size());
        slots.emplace_back();
      }
      const std::size_t i = free.back();
      free.pop_back();
      Slot& slot = slots[i];
      const double at = std::uniform_real_distribution<>(0, up_to.back())(random);
      slot.prepare(kinds[static_cast<std::size_t>(std::ranges::upper_bound(up_to, at) - up_to.begin()) % kinds.size()],
                   i);
      slot.intended_ns = is_open ? static_cast<std::uint64_t>(arrival) : clock.now;
      slot.in_flight = true;
      ++report.offered;
      warpkem_batch batch{};
      slot.describe(batch, i, false);
      const warpkem_status status = warpkem_submit(&handle, &batch, 1, &submit_options, nullptr, nullptr);
      if (status == WARPKEM_WOULD_BLOCK) {
        ++report.refused;
        slot.in_flight = false;
        free.push_back(i);
        full = !is_open;
      } else {
        check(status);
        ++report.accepted;
        if (!is_open) --in_hand;
      }
      if (is_open) arrival += gap(random);
    }
    std::size_t n = 0;
    do {
      check(warpkem_queue_poll(queue, completions.data(), completions.size(), &n));
      for (std::size_t k = 0; k < n; ++k) {
        const auto i = reinterpret_cast<std::size_t>(completions[k].user_data);
        Slot& slot = slots[i];
        if (!slot.in_flight) {
          ++report.duplicated;
          continue;
        }
        slot.in_flight = false;
        free.push_back(i);
        ++report.completed;
        if (completions[k].status != WARPKEM_OK) ++report.failed;
        report.latency_ns.add(clock.now - slot.intended_ns);
        if (!is_open) ++in_hand, full = false;
      }
    } while (n != 0);
  }
  report.lost = report.accepted - report.completed;
  report.elapsed_seconds = static_cast<double>(clock.now - begin) * 1e-9;
  report.bound_us = static_cast<double>(options.max_delay_us);
  for (const auto& [kind, longest] : device.longest_ns) report.bound_us += 2e-3 * static_cast<double>(longest);
  report.batch_items = device.sizes;
  report.items_by_backend["simulated"] = report.completed;
  if (report.lost == 0) {
    check(warpkem_queue_free(queue));
    check(warpkem_shutdown(&handle, WARPKEM_ABORT));
  } else {
    static_cast<void>(new std::shared_ptr(handle.engine));
  }
  return report;
}

}  // namespace warpkem::tool
