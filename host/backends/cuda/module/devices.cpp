#include "host/backends/cuda/module/devices.hpp"

#include <strings.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>

#include "host/backends/cuda/module/architectures.hpp"
#include "host/backends/cuda/module/cuda_call.hpp"
#include "host/backends/cuda/module/signals.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

namespace {

struct Quarantine {
  std::mutex mutex;  // guards `why`
  std::array<std::atomic<bool>, max_devices> lost{};
  std::array<std::string, max_devices> why;
};

// Never destroyed: lanes of an engine that nobody frees are at work while the process ends.
Quarantine& quarantine_table() {
  static Quarantine& table = *new Quarantine;
  return table;
}

void copy_text(const std::string& text, char* out, std::size_t bytes) { std::snprintf(out, bytes, "%s", text.c_str()); }

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// Why a device that has only PTX here cannot use it; empty: it can. A driver runs machine code of newer toolkits of the
// same major version, but compiles no PTX of theirs.
std::string why_no_ptx(const DeviceInfo& info) {
  int driver = 0, toolkit = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || cudaRuntimeGetVersion(&toolkit) != cudaSuccess ||
      driver >= toolkit) {
    return "";
  }
  return "for compute capability " + std::to_string(info.compute_major) + "." + std::to_string(info.compute_minor) +
         " there is only PTX of CUDA " + version(toolkit) + ", too new for the driver, which is for CUDA " +
         version(driver);
}

DeviceInfo describe_device(int ordinal) {
  DeviceInfo info{};
  info.ordinal = ordinal;
  cudaDeviceProp properties{};
  const cudaError_t code = cudaGetDeviceProperties(&properties, ordinal);
  if (code != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    copy_text(describe(code, "cudaGetDeviceProperties"), info.why_not, sizeof info.why_not);
    return info;
  }
  info.compute_major = properties.major;
  info.compute_minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.memory_bytes = properties.totalGlobalMem;
  copy_text(properties.name, info.name, sizeof info.name);
  std::array<unsigned, 16> b{};
  std::ranges::transform(properties.uuid.bytes, b.begin(), [](char byte) { return static_cast<unsigned char>(byte); });
  // A slice of a GPU is a device like any other; only its name tells, and nvidia-smi calls it differently.
  const char* const kind = std::strstr(properties.name, " MIG ") != nullptr ? "MIG" : "GPU";
  std::snprintf(info.uuid, sizeof info.uuid, "%s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                kind, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
                b[15]);
  if (cudaDeviceGetPCIBusId(info.pci_id, sizeof info.pci_id, ordinal) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    info.pci_id[0] = '\0';
  }
  const Code kernels = code_for(info.compute_major, info.compute_minor, WARPKEM_CUDA_ARCHITECTURES);
  info.compiles = kernels == Code::ptx;
  if (kernels == Code::none) {
    std::snprintf(info.why_not, sizeof info.why_not, "compute capability %d.%d, but this module is built for %s",
                  info.compute_major, info.compute_minor, WARPKEM_CUDA_ARCHITECTURES);
  } else if (const std::string why = kernels == Code::ptx ? why_no_ptx(info) : ""; !why.empty()) {
    copy_text(why, info.why_not, sizeof info.why_not);
  } else if (quarantined(ordinal)) {
    Quarantine& table = quarantine_table();
    const std::scoped_lock lock(table.mutex);
    copy_text("lost to this process: " + table.why[static_cast<std::size_t>(ordinal)], info.why_not,
              sizeof info.why_not);
  }
  return info;
}

// PCI ids are written with and without the domain, and with domains of 4 or 8 digits.
bool same_pci_id(std::string_view a, std::string_view b) {
  const auto shortened = [](std::string_view id) {
    while (std::count(id.begin(), id.end(), ':') > 1 && id.size() > 12) id.remove_prefix(1);
    if (std::count(id.begin(), id.end(), ':') == 1) return std::string("0000:") + std::string(id);
    return std::string(id);
  };
  return strcasecmp(shortened(a).c_str(), shortened(b).c_str()) == 0;
}

bool names_device(std::string_view entry, const DeviceInfo& device) {
  if (entry.find(':') != std::string_view::npos) return same_pci_id(entry, device.pci_id);
  if (entry.size() > 4 && (strncasecmp(entry.data(), "GPU-", 4) == 0 || strncasecmp(entry.data(), "MIG-", 4) == 0)) {
    return entry.size() <= std::strlen(device.uuid) && strncasecmp(entry.data(), device.uuid, entry.size()) == 0;
  }
  int ordinal = -1;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), ordinal);
  return error == std::errc{} && end == entry.data() + entry.size() && ordinal == device.ordinal;
}

}  // namespace

std::vector<DeviceInfo> visible_devices() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    int driver = 0, runtime = 0;
    if (code == cudaErrorInsufficientDriver && cudaDriverGetVersion(&driver) == cudaSuccess &&
        cudaRuntimeGetVersion(&runtime) == cudaSuccess) {
      throw host::Error(host::Status::unsupported, driver == 0 ? "there is no NVIDIA driver"
                                                               : "the NVIDIA driver is for CUDA " + version(driver) +
                                                                     ", this module needs " + version(runtime));
    }
    throw host::Error(host::Status::unsupported, describe(code, "cudaGetDeviceCount"));
  }
  if (count == 0) throw host::Error(host::Status::unsupported, "there is no CUDA device");
  std::vector<DeviceInfo> devices;
  for (int i = 0; i < std::min(count, max_devices); ++i) devices.push_back(describe_device(i));
  return devices;
}

std::vector<DeviceInfo> select_devices(const std::vector<DeviceInfo>& visible, const char* list) {
  const std::string_view names = list == nullptr ? "" : list;
  std::vector<DeviceInfo> chosen;
  if (names.empty() || names == "all") {
    std::ranges::copy_if(visible, std::back_inserter(chosen), [](const DeviceInfo& d) { return d.why_not[0] == '\0'; });
    if (chosen.empty()) {
      throw host::Error(host::Status::unsupported, "no CUDA device is usable: " + std::string(visible.front().why_not));
    }
    return chosen;
  }
  std::string_view rest = names;
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view entry = rest.substr(0, comma);
    const auto matches = [entry](const DeviceInfo& d) { return names_device(entry, d); };
    const auto found = std::ranges::find_if(visible, matches);
    const std::string quoted = "CUDA device \"" + std::string(entry) + "\"";
    if (found == visible.end()) {
      throw host::Error(host::Status::unsupported, quoted + ": there is none; " + std::to_string(visible.size()) +
                                                       " visible, named by index, UUID or PCI id");
    }
    if (std::find_if(found + 1, visible.end(), matches) != visible.end()) {
      throw host::Error(host::Status::unsupported, quoted + " is the beginning of several UUIDs");
    }
    if (found->why_not[0] != '\0') throw host::Error(host::Status::unsupported, quoted + ": " + found->why_not);
    if (std::ranges::none_of(chosen, [&](const DeviceInfo& d) { return d.ordinal == found->ordinal; })) {
      chosen.push_back(*found);
    }
    if (comma == std::string_view::npos) return chosen;
    rest.remove_prefix(comma + 1);
  }
}

int current_device() noexcept {
  int ordinal = -1;
  if (cudaGetDevice(&ordinal) == cudaSuccess) return ordinal;
  static_cast<void>(cudaGetLastError());
  return -1;
}

void on_device(int ordinal, const std::function<void()>& work) {
  std::exception_ptr thrown;
  const auto body = [&] {
    try {
      check(cudaSetDevice(ordinal), "cudaSetDevice");
      const RelaxedCapture relaxed;
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  };
  {
    const SignalsBlocked signals_blocked;
    std::thread(body).join();
  }
  if (thrown) std::rethrow_exception(thrown);
}

void load_kernels(int ordinal) {
  struct Loading {
    std::mutex mutex;
    bool done = false;
  };
  static auto& table = *new std::array<Loading, max_devices>;
  Loading& loading = table[static_cast<std::size_t>(ordinal)];
  const std::scoped_lock lock(loading.mutex);
  if (loading.done) return;
  check(kernels::load_kernels(), "loading the kernels");
  loading.done = true;
}

void quarantine(int ordinal, const std::string& why) noexcept {
  Quarantine& table = quarantine_table();
  if (table.lost[static_cast<std::size_t>(ordinal)].exchange(true)) return;  // the first reason is the cause
  try {
    const std::scoped_lock lock(table.mutex);
    table.why[static_cast<std::size_t>(ordinal)] = why;
  } catch (const std::exception&) {  // then it goes without its text
  }
}

bool quarantined(int ordinal) noexcept {
  return quarantine_table().lost[static_cast<std::size_t>(ordinal)].load(std::memory_order_acquire);
}

}  // namespace warpkem::cuda
