#include "tools/warpkem/job.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <span>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/keys/options.hpp"
#include "tools/warpkem/progress.hpp"

namespace warpkem::tool {
namespace {

constexpr std::size_t listed_failures = 10;

struct Failure {
  std::uint64_t item;
  std::uint8_t status;
  bool pair;           // both keys are good, but not of one pair
  std::string rule{};  // of a key that could not be read

  std::string reason() const { return pair ? "dk does not belong to ek" : rule.empty() ? meaning_of(status) : rule; }
};

struct KeysRelease {
  void operator()(warpkem_keys* keys) const noexcept { warpkem_keys_release(keys); }
};

// The loop over the batches of a job, and what it counts.
class Runner {
 public:
  explicit Runner(Job& job)
      : job_(job),
        engine_(job.options.backend, job.options.threads, 0, "", job.options.pairwise_every),
        keys_per_batch_(std::max<std::uint64_t>(1, job.options.batch / job.key_reuse)),
        item_records_(job.items.size()),
        item_statuses_(job.items.size()),
        output_records_(job.outputs.size()) {
    for (const OutputColumn& column : job.outputs) {
      writers_.push_back(column.encoding == 0
                             ? nullptr
                             : std::make_unique<KeyWriter>(engine_.get(), job.options.param, column.encoding,
                                                           job.dk_format, job.options.format, job.options.threads));
    }
  }

  const Engine& engine() const { return engine_; }
  std::uint64_t done() const { return done_; }
  std::uint64_t failed() const { return failed_; }
  const std::vector<Failure>& failures() const { return failures_; }
  const std::array<std::uint64_t, WARPKEM_MAX_BACKENDS>& items_by_backend() const { return items_by_backend_; }

  void run(Output* status_file, Progress& progress) {
    while (next_batch()) {
      job_.together ? check_together() : compute();
      for (std::size_t i = 0; i < job_.outputs.size(); ++i) {
        std::span<const std::uint8_t> text(output_records_[i].data(), batch_count_ * job_.outputs[i].record_bytes);
        if (writers_[i]) text = writers_[i]->encode(output_records_[i], batch_count_, statuses_.data());
        job_.outputs[i].file->write(text.data(), text.size());
      }
      if (status_file != nullptr) status_file->write(statuses_.data(), batch_count_);
      done_ += batch_count_;
      if (job_.keys.decoder) progress.expect(job_.keys.decoder->expected());
      progress.update(done_);
    }
    for (const auto& column : job_.items) expect_end(column);
  }

 private:
  // Reads the next records of a file. `statuses` are of keys that are decoded; else it is empty.
  std::size_t read(const InputColumn& column, Buffer& records, std::vector<std::uint8_t>& statuses, std::size_t count) {
    if (!column.decoder) return column.file->read(records, count);
    return column.decoder->read(engine_.get(), records, statuses, count, [&](const KeyFailure& failure) {
      if (unreadable_.size() < listed_failures) unreadable_.push_back(failure);
    });
  }

  // Reads the next keys when those at hand are used up, then what belongs to each item. False at the end.
  bool next_batch() {
    first_of_key_ += batch_count_;
    new_keys_ = 0;
    if (job_.keys.file == nullptr) {
      batch_count_ = static_cast<std::size_t>(std::min<std::uint64_t>(job_.options.batch, job_.count - done_));
      return batch_count_ > 0;
    }
    if (first_of_key_ == served_by_keys_) {
      unreadable_.clear();
      new_keys_ = read(job_.keys, key_records_, key_statuses_, keys_per_batch_);
      if (new_keys_ == 0) return false;
      served_by_keys_ = new_keys_ * job_.key_reuse;
      first_of_key_ = 0;
    }
    batch_count_ =
        static_cast<std::size_t>(std::min<std::uint64_t>(job_.options.batch, served_by_keys_ - first_of_key_));
    for (std::size_t i = 0; i < job_.items.size(); ++i) {
      const Input& file = *job_.items[i].file;
      const std::size_t got = read(job_.items[i], item_records_[i], item_statuses_[i], batch_count_);
      if (got != batch_count_ && job_.items[i].decoder) {
        throw Error(
            fmt::format("{}: ends after {} keys; {} has more", file.label(), done_ + got, job_.keys.file->label()));
      }
      if (got != batch_count_) {
        throw Error(fmt::format("{}: ends at byte offset {}, after {} records of {} bytes; {} needs {} for each record",
                                file.label(), file.offset(file.records_read()), file.records_read(),
                                file.record_bytes(), job_.keys.file->label(), job_.key_reuse));
      }
    }
    return true;
  }

  void expect_end(const InputColumn& column) {
    const Input& file = *column.file;
    const std::uint64_t records = file.records_read();
    Buffer one;
    std::vector<std::uint8_t> statuses;
    if (read(column, one, statuses, 1) == 0) return;
    if (column.decoder) {
      throw Error(
          fmt::format("{}: goes on after the {} keys that {} has", file.label(), done_, job_.keys.file->label()));
    }
    throw Error(fmt::format("{}: goes on at byte offset {}, after the {} records of {} bytes that {} needs",
                            file.label(), file.offset(records), records, file.record_bytes(), job_.keys.file->label()));
  }

  void compute() {
    warpkem_batch batch{};
    batch.struct_size = sizeof batch;
    batch.operation = job_.operation;
    batch.algorithm = job_.options.param;
    batch.dk_format = job_.dk_format;
    batch.flags = job_.flags;
    batch.count = batch_count_;
    if (job_.key_reuse > 1) {
      if (new_keys_ > 0) prepare();
      if (index_.size() < batch_count_) index_.resize(batch_count_);
      for (std::size_t i = 0; i < batch_count_; ++i) {
        index_[i] = static_cast<std::uint32_t>((first_of_key_ + i) / job_.key_reuse);
      }
      batch.dk_format = 0;
      batch.keys = prepared_.get();
      batch.index = index_.data();
    } else if (job_.ikm_bytes > 0) {
      seeds_.grow(batch_count_ * job_.size(WARPKEM_SIZE_SEED));
      check(warpkem_hpke_derive_seeds(engine_.get(), job_.options.param, batch_count_,
                                      {key_records_.data(), key_records_.size(), 0}, job_.ikm_bytes,
                                      {seeds_.data(), seeds_.size(), 0}));
      batch.seeds = {seeds_.data(), seeds_.size(), 0, nullptr};
    } else if (job_.keys.file != nullptr) {
      batch.*job_.keys.array = {key_records_.data(), key_records_.size(), 0, nullptr};
    }
    for (std::size_t i = 0; i < job_.items.size(); ++i) {
      batch.*job_.items[i].array = {item_records_[i].data(), item_records_[i].size(), 0, nullptr};
    }
    for (std::size_t i = 0; i < job_.outputs.size(); ++i) {
      output_records_[i].grow(batch_count_ * job_.outputs[i].record_bytes);
      batch.*job_.outputs[i].array = {output_records_[i].data(), output_records_[i].size(), 0, nullptr};
    }
    std::size_t failed = 0;
    std::array<std::uint64_t, WARPKEM_MAX_BACKENDS> by_backend{};
    statuses_.grow(batch_count_);
    batch.statuses = statuses_.data();
    batch.failed = &failed;
    batch.items_by_backend = by_backend.data();
    check(warpkem_run(engine_.get(), &batch));
    account(failed + refuse_unreadable(), by_backend, {});
  }

  // An item whose key could not be read fails with the key's status, whatever came of the record in its place. Returns
  // how many there are that had not failed already.
  std::size_t refuse_unreadable() {
    std::size_t more = 0;
    const auto refuse = [&](std::size_t item, std::uint8_t status) {
      if (status == WARPKEM_OK) return;
      more += statuses_.data()[item] == WARPKEM_OK;
      statuses_.data()[item] = status;
      for (std::size_t k = 0; k < job_.outputs.size(); ++k) {
        const std::size_t bytes = job_.outputs[k].record_bytes;
        std::memset(output_records_[k].data() + item * bytes, 0, bytes);
      }
    };
    for (std::size_t i = 0; i < batch_count_; ++i) {
      if (job_.keys.decoder) refuse(i, key_statuses_[(first_of_key_ + i) / job_.key_reuse]);
      for (const auto& statuses : item_statuses_) {
        if (!statuses.empty()) refuse(i, statuses[i]);
      }
    }
    return more;
  }

  // What was wrong with the key of an item, if it could not be read.
  std::string rule_of(std::uint64_t item) const {
    const auto found = std::ranges::find(unreadable_, item / job_.key_reuse, &KeyFailure::number);
    return found == unreadable_.end() ? "" : fmt::format("key at byte offset {}: {}", found->offset, found->rule);
  }

  // `pairs`: of each item, whether its keys are good but not of one pair.
  void account(std::size_t failed, const std::array<std::uint64_t, WARPKEM_MAX_BACKENDS>& by_backend,
               const std::vector<bool>& pairs) {
    std::transform(by_backend.begin(), by_backend.end(), items_by_backend_.begin(), items_by_backend_.begin(),
                   std::plus<>());
    failed_ += failed;
    for (std::size_t i = 0; i < batch_count_ && failed > 0 && failures_.size() < listed_failures; ++i) {
      if (statuses_.data()[i] != WARPKEM_OK)
        failures_.push_back({done_ + i, statuses_.data()[i], i < pairs.size() && pairs[i], rule_of(done_ + i)});
    }
  }

  // The checks of one operation. Returns how many items failed.
  std::size_t check_alone(std::uint32_t operation, warpkem_source warpkem_batch::*array, const Buffer& records,
                          std::uint8_t* statuses, std::uint64_t* by_backend) {
    warpkem_batch batch{};
    batch.struct_size = sizeof batch;
    batch.operation = operation;
    batch.algorithm = job_.options.param;
    batch.count = batch_count_;
    if (operation == WARPKEM_OP_CHECK_DK) batch.dk_format = job_.dk_format;
    batch.*array = {records.data(), records.size(), 0, nullptr};
    std::size_t failed = 0;
    batch.statuses = statuses;
    batch.failed = &failed;
    batch.items_by_backend = by_backend;
    check(warpkem_run(engine_.get(), &batch));
    return failed;
  }

  // Of each ek and dk, whether what is encapsulated to the one is decapsulated by the other.
  std::vector<bool> agreements(const Buffer& dks) {
    const std::size_t K_bytes = job_.size(WARPKEM_SIZE_K);
    const Buffer c(batch_count_ * job_.size(WARPKEM_SIZE_C)), sent(batch_count_ * K_bytes),
        received(batch_count_ * K_bytes);
    check(warpkem_encaps(engine_.get(), job_.options.param, batch_count_, {key_records_.data(), key_records_.size(), 0},
                         {c.data(), c.size(), 0}, {sent.data(), sent.size(), 0}, nullptr, nullptr));
    check(warpkem_decaps(engine_.get(), job_.options.param, job_.dk_format, batch_count_, {dks.data(), dks.size(), 0},
                         {c.data(), c.size(), 0}, {received.data(), received.size(), 0}, nullptr, nullptr));
    std::vector<bool> agree(batch_count_);
    for (std::size_t i = 0; i < batch_count_; ++i) {
      agree[i] = std::memcmp(sent.data() + i * K_bytes, received.data() + i * K_bytes, K_bytes) == 0;
    }
    return agree;
  }

  // Checks each ek and each expanded dk as if alone, and whether the ek that is in dk, or that comes of the seed, is
  // ek. Without ek: whether each seed makes a key pair.
  void check_together() {
    const bool with_ek = !job_.items.empty();
    const std::size_t ek_bytes = job_.size(WARPKEM_SIZE_EK), dk_record = dk_bytes(job_.options.param, job_.dk_format);
    const Buffer& dks = with_ek ? item_records_[0] : key_records_;
    std::array<std::uint64_t, WARPKEM_MAX_BACKENDS> by_backend{};
    const bool seeds = job_.dk_format == WARPKEM_DK_SEED;
    const std::size_t seed_record = job_.size(WARPKEM_SIZE_SEED);
    const Buffer dk_statuses(batch_count_), made_ek(seeds ? batch_count_ * ek_bytes : 0),
        made_dk(seeds ? batch_count_ * seed_record : 0);
    const std::uint8_t* ek_of_dk = dks.data() + (ek_bytes - 32);
    std::size_t stride = dk_record;
    if (seeds) {
      check(warpkem_keygen_derand(engine_.get(), job_.options.param, WARPKEM_DK_SEED, batch_count_,
                                  {dks.data(), batch_count_ * seed_record, 0}, {made_ek.data(), made_ek.size(), 0},
                                  {made_dk.data(), made_dk.size(), 0}, dk_statuses.data(), nullptr));
      ek_of_dk = made_ek.data();
      stride = ek_bytes;
    } else {
      check_alone(WARPKEM_OP_CHECK_DK, &warpkem_batch::dk, dks, dk_statuses.data(), by_backend.data());
    }
    const bool has_ek_inside = seeds || !is_hybrid(job_.options.param);
    const std::vector<bool> agrees = with_ek && !has_ek_inside ? agreements(dks) : std::vector<bool>();
    statuses_.grow(batch_count_);
    std::fill_n(statuses_.data(), batch_count_, std::uint8_t{WARPKEM_OK});
    by_backend = {};
    if (with_ek)
      check_alone(WARPKEM_OP_CHECK_EK, &warpkem_batch::ek, key_records_, statuses_.data(), by_backend.data());
    std::vector<bool> pairs(batch_count_);
    for (std::size_t i = 0; i < batch_count_; ++i) {
      std::uint8_t& status = statuses_.data()[i];
      if (status == WARPKEM_OK) status = dk_statuses.data()[i];
      if (status != WARPKEM_OK || !with_ek) continue;
      const bool is_pair = has_ek_inside
                               ? std::memcmp(key_records_.data() + i * ek_bytes, ek_of_dk + i * stride, ek_bytes) == 0
                               : agrees[i];
      if (!is_pair) {
        status = WARPKEM_INVALID_DK;
        pairs[i] = true;
      }
    }
    refuse_unreadable();
    for (std::size_t i = 0; i < batch_count_; ++i) pairs[i] = pairs[i] && statuses_.data()[i] == WARPKEM_INVALID_DK;
    const auto failed = static_cast<std::size_t>(std::count_if(statuses_.data(), statuses_.data() + batch_count_,
                                                               [](std::uint8_t s) { return s != WARPKEM_OK; }));
    account(failed, by_backend, pairs);
  }

  // Expanding a key costs less than the second use of it would.
  void prepare() {
    prepared_.reset();
    const warpkem_in records{key_records_.data(), key_records_.size(), 0};
    warpkem_keys* keys = nullptr;
    check(job_.operation == WARPKEM_OP_ENCAPS
              ? warpkem_prepare_ek(engine_.get(), job_.options.param, new_keys_, records, nullptr, nullptr, &keys)
              : warpkem_prepare_dk(engine_.get(), job_.options.param, job_.dk_format, new_keys_, records, nullptr,
                                   nullptr, &keys));
    prepared_.reset(keys);
  }

  Job& job_;
  Engine engine_;
  std::size_t keys_per_batch_;
  Buffer key_records_, seeds_;
  std::vector<Buffer> item_records_;
  std::vector<std::uint8_t> key_statuses_;                // of the keys at hand, if they are decoded
  std::vector<std::vector<std::uint8_t>> item_statuses_;  // the same of items
  std::vector<KeyFailure> unreadable_;                    // the first keys of the batch that could not be read
  std::vector<Buffer> output_records_;
  std::vector<std::unique_ptr<KeyWriter>> writers_;
  Buffer statuses_;
  std::vector<std::uint32_t> index_;
  std::unique_ptr<warpkem_keys, KeysRelease> prepared_;

  std::size_t batch_count_ = 0;       // items of the current batch
  std::size_t new_keys_ = 0;          // keys read for it; 0: those at hand go on
  std::uint64_t served_by_keys_ = 0;  // items of the keys at hand
  std::uint64_t first_of_key_ = 0;    // the batch's first item, counted from the first item of the keys at hand
  std::uint64_t done_ = 0, failed_ = 0;
  std::vector<Failure> failures_;
  std::array<std::uint64_t, WARPKEM_MAX_BACKENDS> items_by_backend_{};
};

// How many items there will be, where all lengths are known; also finds lengths that do not fit before anything is
// written.
std::optional<std::uint64_t> expected_items(const Job& job) {
  if (job.keys.file == nullptr) return job.count;
  if (job.keys.decoder) return std::nullopt;
  const auto keys = job.keys.file->records();
  if (!keys) return std::nullopt;
  std::uint64_t total = 0;
  if (__builtin_mul_overflow(*keys, job.key_reuse, &total)) {
    throw Error(fmt::format("--key-reuse: {} times the {} records of {} is too much", job.key_reuse, *keys,
                            job.keys.file->label()));
  }
  for (const auto& column : job.items) {
    const auto records = column.decoder ? std::nullopt : column.file->records();
    if (!records || *records == total) continue;
    throw Error(fmt::format(
        "{}: {} at byte offset {}: {} records of {} bytes, where {} has {} records of {} bytes{}: {} are needed",
        column.file->label(), *records < total ? "ends" : "goes on", column.file->offset(std::min(*records, total)),
        *records, column.file->record_bytes(), job.keys.file->label(), *keys, job.keys.file->record_bytes(),
        job.key_reuse > 1 ? fmt::format(", each for {} items", job.key_reuse) : "", total));
  }
  return total;
}

void print_summary(const Job& job, const Runner& runner, double seconds) {
  nlohmann::ordered_json by_backend = nlohmann::ordered_json::object();
  const auto backends = runner.engine().backends();
  for (std::size_t i = 0; i < backends.size() && i < WARPKEM_MAX_BACKENDS; ++i) {
    if (runner.items_by_backend()[i] > 0) by_backend[backends[i].name] = runner.items_by_backend()[i];
  }
  nlohmann::ordered_json failures = nlohmann::ordered_json::array();
  for (const Failure& failure : runner.failures()) {
    nlohmann::ordered_json one = {
        {"item", failure.item}, {"status", failure.status}, {"name", warpkem_status_name(failure.status)}};
    if (failure.pair) one["reason"] = failure.reason();
    failures.push_back(std::move(one));
  }
  const nlohmann::ordered_json summary = {
      {"operation", job.name},
      {"param", warpkem_algorithm_name(job.options.param)},
      {"items", runner.done()},
      {"failed", runner.failed()},
      {"first_failures", failures},
      {"items_by_backend", by_backend},
      {"seconds", seconds},
      {"items_per_second", seconds > 0 ? static_cast<double>(runner.done()) / seconds : 0.0},
  };
  write_stdout(summary.dump(2) + "\n");
}

}  // namespace

void add_job_options(Arguments& arguments, JobOptions& options) {
  arguments.param(options.param, Need::required);
  add_common_options(arguments, options);
}

void add_key_job_options(Arguments& arguments, JobOptions& options) {
  arguments.param(options.param);
  add_common_options(arguments, options);
  add_key_format(
      arguments, "--format", options.format, true,
      "Form of the keys: raw records; or pem or der, as 'warpkem import' reads them (default: what they show to be)");
  options.format = KeyFormat::automatic;
  add_passphrase(arguments, options.passphrase);
  arguments.note(
      "--param may be left out where the keys tell it: in PEM and DER the first one does, and raw records where they "
      "prove to be ek or expanded dk of one set.");
}

void add_common_options(Arguments& arguments, JobOptions& options) {
  arguments.backend(options.backend);
  arguments.threads(options.threads);
  arguments.number("--batch", options.batch, 1, std::size_t{1} << 24, "Items per call and in memory (default 8192)");
  arguments.file("--status", options.status, "Out: one byte per item, 0 or the number of its status, see below");
  arguments.flag("--json", options.json, "Print a summary on standard output as JSON");
  arguments.flag("--allow-empty", options.allow_empty, "An input without records is no mistake");
  std::vector<std::pair<std::string, std::string>> rows;
  for (const warpkem_status status : {WARPKEM_OK, WARPKEM_INVALID_EK, WARPKEM_INVALID_DK, WARPKEM_RNG_FAILED,
                                      WARPKEM_BACKEND_FAILED, WARPKEM_INVALID_C, WARPKEM_INVALID_RANDOMNESS,
                                      WARPKEM_INVALID_ENCODING, WARPKEM_KEY_MISMATCH, WARPKEM_PAIRWISE_FAILED}) {
    rows.emplace_back(std::to_string(status), fmt::format("{}: {}", warpkem_status_name(status), meaning_of(status)));
  }
  arguments.note(
      "FILE is a file, a pipe or a device; '-' is standard input or output. Records follow each other "
      "without anything between them; 'warpkem info' lists their sizes.");
  arguments.note("Statuses of items, in --status and where items failed ('warpkem info' lists all):", rows);
}

void add_force(Arguments& arguments, JobOptions& options) {
  arguments.flag(
      "--force", options.force,
      "Replace secrets that are there already, take inputs that look like something else, and write records to "
      "a terminal");
}

void add_key_reuse(Arguments& arguments, std::uint64_t& key_reuse) {
  arguments.number("--key-reuse", key_reuse, 1, std::uint64_t{1} << 40,
                   "Each key serves N consecutive items (default 1)");
}

warpkem_algorithm algorithm_told_by(Input& input, bool is_public) {
  const Sample sample = input.peek([](const Sample&) { return false; });
  const RecordKind wanted = is_public ? RecordKind::ek : RecordKind::dk;
  const auto proven = proven_records(sample);
  std::vector<std::string> names;
  warpkem_algorithm told = 0;
  for (const Content& content : proven) {
    if (content.kind != wanted) continue;
    told = content.algorithm;
    names.emplace_back(warpkem_algorithm_name(told));
  }
  if (names.size() == 1) return told;
  if (names.size() > 1)
    throw Error(fmt::format("{}: may be of {}; --param says which", input.label(), fmt::join(names, " or ")));
  std::string other = proven_encoding(sample);
  if (other.empty() && !proven.empty()) other = proven.front().name();
  throw Error(fmt::format("{}: {}; --param is needed", input.label(),
                          !other.empty() ? "is " + other + ", which tells no parameter set here"
                                         : "nothing in it tells the parameter set"));
}

Job::Job(std::string job_name, std::uint32_t job_operation, const JobOptions& job_options)
    : name(std::move(job_name)),
      options(job_options),
      files(options.force ? Replace::everything : Replace::what_is_public),
      operation(job_operation) {
  files.allow({.empty_inputs = options.allow_empty, .any_content = options.force});
  if (options.json) files.reserve_stdout("--json");
}

Input& Job::open_input(const std::string& argument, const std::string& path) {
  return files.input(argument, path, {RecordKind::bytes, 0});
}

InputColumn Job::keys_of(Input& file, bool is_public) {
  files.refuse_conflicts();
  const auto array = is_public ? &warpkem_batch::ek : &warpkem_batch::dk;
  const bool is_told = options.format != KeyFormat::automatic;
  const KeyFormat format = is_told ? options.format : format_of_keys(file.peek(tells_format_of_keys));
  if (format == KeyFormat::raw) {
    if (options.param == 0) options.param = algorithm_told_by(file, is_public);
    if (!is_public) dk_format = dk_format_of(options.param, dk_format);
    file.take_as(is_public ? records_of(RecordKind::ek) : dk_records());
    return {&file, array};
  }
  const std::string encoding = is_told ? "" : encoding_of_keys(file.peek(tells_format_of_keys));
  if (!passphrase) passphrase = std::make_shared<Passphrase>(options.passphrase);
  InputColumn column{&file, array,
                     std::make_shared<KeyRecords>(file, format, options.threads, *passphrase,
                                                  KeyWish{options.param, is_public, dk_format})};
  options.param = column.decoder->wish().algorithm;
  if (!is_public) dk_format = column.decoder->wish().dk_format;
  if (column.decoder->is_empty() && !options.allow_empty) {
    throw Error(fmt::format("{}: holds no key in PEM or DER; --allow-empty takes it", file.label()));
  }
  if (!is_told && !column.decoder->begins_well()) {
    throw Error(fmt::format("{}: is {}, where {} is wanted; {}; --format takes it as such", file.label(), encoding,
                            (is_public ? records_of(RecordKind::ek) : dk_records()).name(),
                            column.decoder->fault_of_first()));
  }
  return column;
}

void Job::add_output(const std::string& argument, const std::string& path, Secrecy secrecy, std::uint32_t what,
                     warpkem_target warpkem_batch::*array) {
  outputs.push_back({&files.output(argument, path, secrecy), what, array});
}

int Job::run() {
  for (OutputColumn& output : outputs) {
    output.record_bytes = output.what == WARPKEM_SIZE_DK ? dk_bytes(options.param, dk_format) : size(output.what);
  }
  Output* const status_file =
      options.status.empty() ? nullptr : &files.output("--status", options.status, Secrecy::open);
  const auto total = expected_items(*this);
  if (total) options.batch = static_cast<std::size_t>(std::clamp<std::uint64_t>(*total, 1, options.batch));
  Runner runner(*this);
  files.open();
  Progress progress(fmt::format("{} {}", name, warpkem_algorithm_name(options.param)), total);
  runner.run(status_file, progress);
  files.commit();
  const double seconds = progress.seconds();
  progress.finish(runner.done());

  for (const Failure& failure : runner.failures()) {
    write_stderr(fmt::format("warpkem: item {}: {} ({}): {}\n", failure.item, warpkem_status_name(failure.status),
                             failure.status, failure.reason()));
  }
  if (runner.failed() > 0) {
    write_stderr(fmt::format("warpkem: {} of {} items failed\n", runner.failed(), runner.done()));
  }
  if (options.json) print_summary(*this, runner, seconds);
  return runner.failed() > 0 ? exit_items_failed : exit_ok;
}

}  // namespace warpkem::tool
