// What the commands for key files have in common.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/warpkem/commands.hpp"
#include "tools/warpkem/io.hpp"
#include "tools/warpkem/keys/key_records.hpp"
#include "tools/warpkem/progress.hpp"

namespace warpkem::tool {

// automatic, pem, der; with raw where records are taken too.
void add_key_format(Arguments& arguments, const std::string& name, KeyFormat& format, bool raw,
                    const std::string& description, Need need = Need::optional);

void add_passphrase(Arguments& arguments, PassphraseOptions& options);

// Failures of a job, of which the first are listed.
class KeyFailures {
 public:
  // `list`, if given, gets a line for each.
  explicit KeyFailures(Output* list) : list_(list) {}

  void add(const KeyFailure& failure);
  std::uint64_t count() const noexcept { return count_; }
  // To standard error; `what` is "objects" or "records".
  void report(std::uint64_t all, const std::string& what) const;
  nlohmann::ordered_json json() const;

 private:
  static constexpr std::size_t listed = 10;

  Output* list_;
  std::uint64_t count_ = 0;
  std::vector<KeyFailure> first_;
};

// Ends a job that has done `done` of "objects" or "records": its progress, its failures, and with --json a summary that
// begins with `summary`. The exit status.
int end_of_key_job(Progress& progress, const KeyFailures& failures, std::uint64_t done, const std::string& what,
                   bool as_json, nlohmann::ordered_json summary);

}  // namespace warpkem::tool
