// A stream of items through the library: batch by batch from the input files through warpkem_run() to the output files,
// in memory that does not depend on their length.
#pragma once

#include <warpkem/warpkem.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"

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
};
void add_job_options(Arguments& arguments, JobOptions& options);
// All of these but --param.
void add_common_options(Arguments& arguments, JobOptions& options);
void add_force(Arguments& arguments, JobOptions& options);
void add_key_reuse(Arguments& arguments, std::uint64_t& key_reuse);

// Which member of the batch gets the records of a file.
struct InputColumn {
  Input* file = nullptr;
  warpkem_source warpkem_batch::*array = nullptr;
};
struct OutputColumn {
  Output* file = nullptr;
  std::size_t record_bytes = 0;
  warpkem_target warpkem_batch::*array = nullptr;
};

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
  Output& add_output(const std::string& argument, const std::string& path, Secrecy secrecy, std::uint32_t what,
                     warpkem_target warpkem_batch::*array);

  // Runs until the inputs end, lets the outputs appear, and reports. Returns the exit status.
  int run();

  std::string name;
  JobOptions options;
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
