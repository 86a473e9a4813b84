#include "kat/acvp.hpp"

#include <zlib.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace warpkem::kat {
namespace {

struct CloseFile {
  void operator()(gzFile file) const { gzclose(file); }
};

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

}  // namespace

std::vector<AcvpCase> read_acvp(const std::string& path) {
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
