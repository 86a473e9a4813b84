#include "kat/acvp.hpp"

#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace warpkem::kat {
namespace {

struct CloseFile {
  void operator()(gzFile file) const { gzclose(file); }
};

// Of a gzipped file, or of any other.
std::string read_gz(const std::string& path) {
  const std::unique_ptr<gzFile_s, CloseFile> file(gzopen(path.c_str(), "rb"));
  if (!file) throw std::runtime_error(path + ": cannot be opened");
  std::string text;
  char buffer[1 << 16];
  int bytes;
  while ((bytes = gzread(file.get(), buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<std::size_t>(bytes));
  if (bytes < 0) throw std::runtime_error(path + ": damaged");
  return text;
}

std::map<std::string, Bytes> byte_strings(const nlohmann::json& object) {
  std::map<std::string, Bytes> result;
  for (const auto& [name, value] : object.items()) {
    if (value.is_string()) result[name] = from_hex(value.get<std::string>());
  }
  return result;
}

// One test of NIST's form, which joins inputs and outputs; which are which depends on the function.
AcvpCase from_projection(const nlohmann::json& group, const nlohmann::json& test) {
  AcvpCase one;
  one.algorithm = warpkem_algorithm_by_name(group.at("parameterSet").get<std::string>().c_str());
  one.id = "tg" + group.at("tgId").dump() + "-tc" + test.at("tcId").dump();
  one.reject = false;
  const auto bytes = [&test](const char* name) { return from_hex(test.at(name).get<std::string>()); };
  const std::string function = group.value("function", "keyGen");
  if (function == "keyGen") {
    one.op = "keygen";
    one.in = {{"d", bytes("d")}, {"z", bytes("z")}};
    one.out = {{"ek", bytes("ek")}, {"dk", bytes("dk")}};
  } else if (function == "encapsulation") {
    one.op = "encaps";
    one.in = {{"ek", bytes("ek")}, {"m", bytes("m")}};
    one.out = {{"c", bytes("c")}, {"K", bytes("k")}};
  } else if (function == "decapsulation") {
    one.op = "decaps";
    one.in = {{"c", bytes("c")}};
    if (group.value("keyFormat", "expanded") == "seed") {
      one.in["d"] = bytes("d");
      one.in["z"] = bytes("z");
    } else {
      one.in["dk"] = bytes("dk");
    }
    one.out = {{"K", bytes("k")}};
  } else if (function == "encapsulationKeyCheck" || function == "decapsulationKeyCheck") {
    const bool is_ek = function == "encapsulationKeyCheck";
    one.op = is_ek ? "ek_check" : "dk_check";
    one.in = {{is_ek ? "ek" : "dk", bytes(is_ek ? "ek" : "dk")}};
    one.reject = !test.at("testPassed").get<bool>();
  } else {
    throw std::runtime_error("unknown function " + function);
  }
  return one;
}

}  // namespace

std::vector<AcvpCase> read_acvp(const std::string& folder) {
  const std::string lines = folder + "/cases.jsonl.gz";
  return std::filesystem::exists(lines) ? read_acvp_lines(lines) : read_acvp_projections(folder);
}

std::vector<AcvpCase> read_acvp_projections(const std::string& folder) {
  std::vector<AcvpCase> cases;
  if (!std::filesystem::is_directory(folder)) return cases;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().filename() == "internalProjection.json") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  for (const auto& path : paths) {
    try {
      const auto file = nlohmann::json::parse(read_gz(path.string()));
      if (file.at("algorithm") != "ML-KEM") continue;
      for (const auto& group : file.at("testGroups")) {
        for (const auto& test : group.at("tests")) {
          cases.push_back(from_projection(group, test));
          cases.back().id = path.parent_path().filename().string() + " " + cases.back().id;
        }
      }
    } catch (const std::exception& error) {
      throw std::runtime_error(path.string() + ": " + error.what());
    }
  }
  return cases;
}

std::vector<AcvpCase> read_acvp_lines(const std::string& path) {
  const std::string text = read_gz(path);
  std::vector<AcvpCase> cases;
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    ++line_number;
    try {
      const auto object = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                                text.begin() + static_cast<std::ptrdiff_t>(end));
      AcvpCase one;
      one.algorithm = warpkem_algorithm_by_name(object.at("set").get<std::string>().c_str());
      one.op = object.at("op");
      one.id = object.value("source", "") + " " + object.value("id", "");
      one.in = byte_strings(object.at("in"));
      one.reject = object.value("reject", false);
      if (!one.reject) one.out = byte_strings(object.at("out"));
      cases.push_back(std::move(one));
    } catch (const std::exception& error) {
      throw std::runtime_error(path + ", line " + std::to_string(line_number) + ": " + error.what());
    }
    begin = end + 1;
  }
  return cases;
}

}  // namespace warpkem::kat
