#include "host/backends/cuda/loader.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

namespace warpkem::cuda {

constinit host::Gate gate;

namespace {

std::atomic<const Module*> loaded{nullptr};

const int not_guarded = host::guard_at_fork<gate>();

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), &free);
  return resolved ? resolved.get() : "";
}

// The file that this code is in: libwarpkem, or the program that it is linked into. dladdr does not say the program's.
std::string own_file() {
  static const char own_symbol = 0;
  struct Search {
    std::uintptr_t address;
    bool is_first;
    const char* name;
  } search{reinterpret_cast<std::uintptr_t>(&own_symbol), true, ""};
  const auto holds_it = [](dl_phdr_info* object, std::size_t, void* data) {
    Search& s = *static_cast<Search*>(data);
    const bool is_program = std::exchange(s.is_first, false);
    for (std::size_t i = 0; i < object->dlpi_phnum; ++i) {
      const auto& segment = object->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD || s.address - (object->dlpi_addr + segment.p_vaddr) >= segment.p_memsz) continue;
      s.name = is_program ? "/proc/self/exe" : object->dlpi_name;
      return 1;
    }
    return 0;
  };
  return dl_iterate_phdr(holds_it, &search) != 0 ? real_path(search.name) : "";
}

bool only_ours(const struct stat& s) {
  if (s.st_uid != 0 && s.st_uid != geteuid()) return false;
  if ((s.st_mode & S_IWOTH) != 0 && (s.st_mode & S_ISVTX) == 0) return false;
  // A group that may write is trusted as far as its owner alone can be in it: the user's own.
  return (s.st_mode & S_IWGRP) == 0 || s.st_gid == 0 || (s.st_uid == geteuid() && s.st_gid == getegid());
}

}  // namespace

std::vector<std::string> module_paths() {
  std::vector<std::string> paths;
  const std::string own = own_file();
  if (!own.empty()) {
    const std::string folder = own.substr(0, own.rfind('/'));
    paths.push_back(folder + "/" + module_file);
    paths.push_back(folder + "/warpkem/" + module_file);
    // A program with libwarpkem inside is in bin, beside lib.
    const std::string prefix = folder.substr(0, folder.rfind('/'));
    paths.push_back(prefix + "/lib/" + module_file);
    paths.push_back(prefix + "/" WARPKEM_RELATIVE_LIBDIR "/warpkem/" + module_file);
  }
  paths.push_back(std::string(WARPKEM_INSTALLED_LIBDIR "/warpkem/") + module_file);
  return paths;
}

bool is_trusted(const std::string& path, std::string& why_not) {
  struct stat s {};
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  for (const std::string& checked : {path, folder}) {
    if (stat(checked.c_str(), &s) != 0) {
      why_not = checked + ": " + strerror(errno);
      return false;
    }
    // The sticky bit keeps others from replacing a file in a folder, but says nothing about the file itself.
    const bool writable_file = checked == path && (s.st_mode & S_IWOTH) != 0;
    if (writable_file || !only_ours(s)) {
      why_not = checked + " belongs to, or can be written by, somebody else than root and this process's user";
      return false;
    }
  }
  return true;
}

const Module* open_module(const std::string& path, std::string& why_not) {
  if (!is_trusted(path, why_not)) return nullptr;
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    why_not = dlerror();
    return nullptr;
  }
  const auto entry = reinterpret_cast<ModuleEntry>(dlsym(handle, module_entry));
  const Module* const module = entry != nullptr ? entry(interface_version) : nullptr;
  if (module == nullptr || module->version != interface_version) {
    why_not = path + " is the module of another version of this library";
    dlclose(handle);
    return nullptr;
  }
  return module;
}

const Module* loaded_module() noexcept { return loaded.load(std::memory_order_acquire); }

const Module* load_module(std::string& why_not) {
  const host::Gate::Pass pass(gate);
  if (not_guarded != 0) throw std::bad_alloc();
  static constinit std::mutex mutex;  // held inside the gate only: no fork leaves it locked
  const std::scoped_lock lock(mutex);
  if (const Module* const module = loaded_module()) return module;
  for (const std::string& candidate : module_paths()) {
    const std::string path = real_path(candidate);
    if (path.empty()) continue;
    const Module* const module = open_module(path, why_not);
    if (module != nullptr) loaded.store(module, std::memory_order_release);
    return module;  // a bad one is not passed over in silence
  }
  why_not =
      std::string(module_file) + " is neither beside " + own_file() + " nor in " WARPKEM_INSTALLED_LIBDIR "/warpkem";
  return nullptr;
}

}  // namespace warpkem::cuda
