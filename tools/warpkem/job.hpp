// A stream of items through the library: batch by batch from the input files through warpkem_run() to the output files,
// in memory that does not depend on their length.
#pragma once

#include <warpkem/warpkem.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/keys/key_records.hpp"
#include "tools/warpkem/keys/key_writer.hpp"

namespace warpkem::tool {

// What keygen, encaps, decaps and check have in common.
struct JobOptions {
  warpkem_algorithm param = 0;
  std::string backend;
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  std::size_t batch = 8192;
  std::string status;
  bool json = false;
  bool force = false;
  bool allow_empty = false;
  std::size_t pairwise_every = 0;     // of keygen
  KeyFormat format = KeyFormat::raw;  // of keys
  PassphraseOptions passphrase;
};
void add_job_options(Arguments& arguments, JobOptions& options);
// The same of commands that read keys, which tell --param where they are not raw.
void add_key_job_options(Arguments& arguments, JobOptions& options);
// All of these but --param.
void add_common_options(Arguments& arguments, JobOptions& options);
void add_force(Arguments& arguments, JobOptions& options);
void add_key_reuse(Arguments& arguments, std::uint64_t& key_reuse);

// Which member of the batch gets the records of a file.
struct InputColumn {
  Input* file = nullptr;
  warpkem_source warpkem_batch::*array = nullptr;
  std::shared_ptr<KeyRecords> decoder{};  // of keys in PEM or DER, whose records these are
};
struct OutputColumn {
  Output* file = nullptr;
  std::uint32_t what = 0;  // WARPKEM_SIZE_*
  warpkem_target warpkem_batch::*array = nullptr;
  std::uint32_t encoding = 0;    // of keys that are written in PEM or DER
  std::size_t record_bytes = 0;  // once param and dk_format are known
};

// The algorithm that the beginning of a file of records proves. Throws Error where it tells none, or several.
warpkem_algorithm algorithm_told_by(Input& input, bool is_public);

struct Job {
  Job(std::string name, std::uint32_t operation, const JobOptions& options);

  std::size_t size(std::uint32_t what) const { return warpkem_size(options.param, what); }
  Content records_of(RecordKind kind) const { return {kind, options.param}; }
  Content dk_records() const {
    return records_of(dk_format == WARPKEM_DK_SEED        ? RecordKind::seed
                      : dk_format == WARPKEM_DK_COMPOSITE ? RecordKind::composite_dk
                                                          : RecordKind::dk);
  }
  // What keygen makes such a dk from.
  Content seed_records() const {
    return records_of(dk_format == WARPKEM_DK_COMPOSITE ? RecordKind::composite_seed : RecordKind::seed);
  }
  // A file of keys, raw or not. What it holds tells param and, where keys are not raw, dk_format, if they are left
  // open: the first key in PEM or DER, or what the bytes of records prove. All files are opened before, so that those
  // that stand in each other's way are found before a pipe is waited for.
  InputColumn keys_of(Input& file, bool is_public);
  Input& open_input(const std::string& argument, const std::string& path);
  void add_output(const std::string& argument, const std::string& path, Secrecy secrecy, std::uint32_t what,
                  warpkem_target warpkem_batch::*array);

  // Runs until the inputs end, lets the outputs appear, and reports. Returns the exit status.
  int run();

  std::string name;
  JobOptions options;
  std::shared_ptr<Passphrase> passphrase;
  Files files;
  std::uint32_t operation;
  std::uint32_t dk_format = WARPKEM_DK_EXPANDED;
  std::uint32_t flags = 0;
  std::size_t ikm_bytes = 0;  // of keygen: `keys` is key material of HPKE, from which seeds are derived
  bool together = false;      // of check: seeds, or an ek with its dk
  InputColumn keys;           // of this file each record serves `key_reuse` items; without it there are `count` items
  std::uint64_t key_reuse = 1;
  std::uint64_t count = 0;
  std::vector<InputColumn> items;  // one record per item
  std::vector<OutputColumn> outputs;
};

}  // namespace warpkem::tool
