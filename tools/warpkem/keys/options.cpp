#include "tools/warpkem/keys/options.hpp"

#include <nlohmann/json.hpp>

namespace warpkem::tool {

void add_key_format(Arguments& arguments, const std::string& name, KeyFormat& format, bool raw,
                    const std::string& description, Need need) {
  const auto parse = [&format, raw](const std::string& text) {
    if (text == "pem" || text == "der" || (raw && text == "raw")) {
      format = text == "pem" ? KeyFormat::pem : text == "der" ? KeyFormat::der : KeyFormat::raw;
      return std::string();
    }
    return std::string(raw ? "raw, pem or der" : "pem or der");
  };
  arguments.text(name, "FORMAT", description, parse, need);
}

void add_passphrase(Arguments& arguments, PassphraseOptions& options) {
  arguments.file("--passphrase-file", options.file,
                 "The passphrase of encrypted keys is the first line of this file (default: it is asked for on the "
                 "terminal)");
  arguments.number("--passphrase-fd", options.descriptor, 0, 65535,
                   "The passphrase is the first line that this descriptor gives");
}

void KeyFailures::add(const KeyFailure& failure) {
  ++count_;
  if (first_.size() < listed) first_.push_back(failure);
  if (list_ == nullptr) return;
  const std::string line = failure.text() + "\n";
  list_->write(reinterpret_cast<const std::uint8_t*>(line.data()), line.size());
}

void KeyFailures::report(std::uint64_t all, const std::string& what) const {
  for (const KeyFailure& failure : first_) write_stderr({"warpkem: ", failure.text(), "\n"});
  if (count_ > 0) write_stderr(fmt::format("warpkem: {} of {} {} failed\n", count_, all, what));
}

nlohmann::ordered_json KeyFailures::json() const {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const KeyFailure& failure : first_) {
    all.push_back({{"item", failure.number},
                   {"offset", failure.offset},
                   {"status", failure.status},
                   {"name", warpkem_status_name(failure.status)},
                   {"reason", failure.rule}});
  }
  return all;
}

int end_of_key_job(Progress& progress, const KeyFailures& failures, std::uint64_t done, const std::string& what,
                   bool as_json, nlohmann::ordered_json summary) {
  const double seconds = progress.seconds();
  progress.finish(done);
  failures.report(done, what);
  if (as_json) {
    summary["items"] = done;
    summary["failed"] = failures.count();
    summary["first_failures"] = failures.json();
    summary["seconds"] = seconds;
    summary["items_per_second"] = seconds > 0 ? static_cast<double>(done) / seconds : 0.0;
    write_stdout(summary.dump(2) + "\n");
  }
  return failures.count() > 0 ? exit_items_failed : exit_ok;
}

}  // namespace warpkem::tool
