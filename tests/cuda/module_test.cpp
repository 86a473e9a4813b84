// The seam to the module: where it is taken from and where not, versions, devices by name, and a device that never
// answers.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "host/backends/cuda/cuda_module.hpp"
#include "host/backends/cuda/loader.hpp"
#include "host/backends/cuda/module/architectures.hpp"
#include "host/backends/cuda/module/nearness.hpp"
#include "tests/cuda/runtime_calls.hpp"

namespace warpkem::host {
namespace {

namespace fs = std::filesystem;

class CudaLoader : public testing::Test {
 protected:
  CudaLoader() {
    std::string pattern = (fs::temp_directory_path() / "warpkem-loader-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    for (const std::string& path : cuda::module_paths()) {
      if (module_.empty() && fs::exists(path)) module_ = path;
    }
  }
  ~CudaLoader() override { fs::remove_all(folder_); }

  // The module's bytes elsewhere.
  std::string copy() const {
    const std::string path = folder_ + "/" + cuda::module_file;
    fs::copy_file(module_, path, fs::copy_options::overwrite_existing);
    chmod(path.c_str(), 0755);
    return path;
  }

  std::string folder_, module_, why_not_;
};

TEST_F(CudaLoader, FindsTheModuleOfThisBuild) {
  ASSERT_FALSE(module_.empty());
  EXPECT_NE(cuda::load_module(why_not_), nullptr) << why_not_;
  EXPECT_EQ(cuda::loaded_module(), cuda::load_module(why_not_));
}

TEST_F(CudaLoader, TakesAModuleThatOnlyItsUserCanWrite) {
  EXPECT_NE(cuda::open_module(copy(), why_not_), nullptr) << why_not_;
}

TEST_F(CudaLoader, RefusesAModuleThatOthersCanWrite) {
  const std::string path = copy();
  chmod(path.c_str(), 0757);
  EXPECT_EQ(cuda::open_module(path, why_not_), nullptr);
  EXPECT_NE(why_not_.find("can be written by"), std::string::npos) << why_not_;
}

TEST_F(CudaLoader, RefusesAModuleInAFolderThatOthersCanWrite) {
  const std::string path = copy();
  chmod(folder_.c_str(), 0777);
  EXPECT_EQ(cuda::open_module(path, why_not_), nullptr);
  EXPECT_NE(why_not_.find(folder_), std::string::npos) << why_not_;
}

TEST_F(CudaLoader, RefusesAModuleOfSomebodyElse) {
  const std::string path = copy();
  if (chown(path.c_str(), 12345, 12345) != 0) GTEST_SKIP() << "only root can give a file away";
  EXPECT_EQ(cuda::open_module(path, why_not_), nullptr);
}

TEST_F(CudaLoader, SaysWhyAFileIsNotAModule) {
  const std::string path = folder_ + "/" + cuda::module_file;
  std::ofstream(path) << "not a library";
  EXPECT_EQ(cuda::open_module(path, why_not_), nullptr);
  EXPECT_FALSE(why_not_.empty());
  EXPECT_EQ(cuda::open_module(folder_ + "/absent.so", why_not_), nullptr);
  EXPECT_NE(why_not_.find("absent.so"), std::string::npos) << why_not_;
}

TEST_F(CudaLoader, TheModuleRefusesEveryOtherVersion) {
  void* const handle = dlopen(module_.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(handle, nullptr) << dlerror();
  const auto entry = reinterpret_cast<cuda::ModuleEntry>(dlsym(handle, cuda::module_entry));
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry(0), nullptr);
  EXPECT_EQ(entry(cuda::interface_version + 1), nullptr);
  EXPECT_NE(entry(cuda::interface_version), nullptr);
}

class CudaDevices : public testing::Test {
 protected:
  void SetUp() override {
    module_ = cuda::load_module(why_not_);
    if (module_ == nullptr) GTEST_SKIP() << why_not_;
    cuda::Text text;
    if (module_->devices(infos_.data(), infos_.size(), &count_, &text) != Status::ok) GTEST_SKIP() << text.data;
  }

  std::unique_ptr<Backend> make(const std::string& devices, bool verify = true) {
    why_not_.clear();
    const cuda::Options options{devices.c_str(), 0, 0, 0};
    return cuda_module::make_backend(options, verify, why_not_);
  }

  const cuda::Module* module_ = nullptr;
  std::string why_not_;
  std::array<cuda::DeviceInfo, 16> infos_{};
  std::size_t count_ = 0;
};

TEST_F(CudaDevices, AreNamedByIndexUuidAndPciId) {
  const cuda::DeviceInfo& last = infos_[count_ - 1];
  for (const std::string& name : {std::to_string(count_ - 1), std::string(last.uuid), std::string(last.pci_id),
                                  std::string("all"), std::string(last.pci_id).substr(5)}) {
    EXPECT_NE(make(name), nullptr) << name << ": " << why_not_;
  }
  const std::unique_ptr<Backend> twice = make("0," + std::string(infos_[0].uuid));
  ASSERT_NE(twice, nullptr) << why_not_;
  EXPECT_EQ(twice->info().detail.find(','), std::string::npos) << "one device, named twice: " << twice->info().detail;
}

TEST_F(CudaDevices, AnUnknownNameIsAnErrorThatSaysIt) {
  for (const std::string name : {"99", "GPU-ffffffff", "ffff:ff:00.0", "0,", "first", "-1"}) {
    EXPECT_EQ(make(name), nullptr) << name;
    EXPECT_NE(why_not_.find("there is none"), std::string::npos) << why_not_;
  }
}

TEST_F(CudaDevices, ASliceOfAGpuIsNamedAsNvidiaSmiNamesIt) {
  if (!test::runtime_calls_pass) GTEST_SKIP() << "the module has its runtime inside: no answer of it can be changed";
  const std::string whole = infos_[0].uuid;
  ASSERT_EQ(whole.substr(0, 4), "GPU-");
  test::device_name = "NVIDIA H100 80GB HBM3 MIG 1g.10gb";
  const Status asked = module_->devices(infos_.data(), infos_.size(), &count_, nullptr);
  EXPECT_EQ(infos_[0].uuid, "MIG-" + whole.substr(4));
  EXPECT_NE(make("MIG-" + whole.substr(4)), nullptr) << why_not_;
  EXPECT_EQ(make(whole), nullptr);
  EXPECT_NE(why_not_.find("there is none"), std::string::npos) << why_not_;
  test::device_name = nullptr;
  EXPECT_EQ(asked, Status::ok);
  EXPECT_EQ(make("MIG-" + whole.substr(4)), nullptr);
}

// Such a driver does not compile the module's PTX: told when the engine is made, not by the first batch.
TEST_F(CudaDevices, ADriverOlderThanThePtxIsToldInWords) {
  if (!test::runtime_calls_pass) GTEST_SKIP() << "the module has its runtime inside: no answer of it can be changed";
  if (!infos_[0].compiles) GTEST_SKIP() << "there is machine code for this device";
  const std::unique_ptr<Backend> before = make("0", false);
  ASSERT_NE(before, nullptr) << why_not_;
  EXPECT_NE(before->info().detail.find("the driver compiles the kernels"), std::string::npos) << before->info().detail;
  test::driver_version = 12080;
  EXPECT_EQ(make("0", false), nullptr);
  EXPECT_NE(why_not_.find("too new for the driver, which is for CUDA 12.8"), std::string::npos) << why_not_;
  EXPECT_EQ(make("", false), nullptr);
  test::driver_version = 0;
}

TEST(CudaArchitectures, TellWhatADeviceRuns) {
  using cuda::Code, cuda::code_for;
  EXPECT_EQ(code_for(8, 0, "80-real,90"), Code::machine);
  EXPECT_EQ(code_for(8, 9, "80-real,90"), Code::machine);
  EXPECT_EQ(code_for(9, 0, "80-real,90"), Code::machine);
  EXPECT_EQ(code_for(10, 0, "80-real,90"), Code::ptx);
  EXPECT_EQ(code_for(12, 1, "80-real,90,120-real"), Code::machine);
  EXPECT_EQ(code_for(7, 5, "80-real,90"), Code::none);
  EXPECT_EQ(code_for(10, 3, "100-real"), Code::machine);
  EXPECT_EQ(code_for(10, 3, "103-real,90-real"), Code::machine);
  EXPECT_EQ(code_for(10, 0, "103-real,90-real"), Code::none);
  EXPECT_EQ(code_for(9, 0, "90-virtual"), Code::ptx);
  EXPECT_EQ(code_for(9, 0, "native"), Code::machine);
  EXPECT_EQ(code_for(9, 0, ""), Code::none);
}

// The outcome of one submitted batch.
class Waiter {
 public:
  Completion completion() {
    return {[](void* context, const Outcome& outcome) noexcept {
              Waiter& self = *static_cast<Waiter*>(context);
              const std::scoped_lock lock(self.mutex_);
              self.status_ = outcome.status;
              self.text_ = outcome.text;
              ++self.calls_;
              self.changed_.notify_all();
            },
            this};
  }
  Status wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return calls_ != 0; });
    return status_;
  }
  int calls() const { return calls_; }
  const std::string& text() const { return text_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Status status_ = Status::ok;
  std::string text_;
  int calls_ = 0;
};

// A batch of a few items, and what becomes of it.
struct SmallBatch {
  static constexpr std::size_t count = 3;
  std::array<std::uint8_t, 64 * count> seeds{}, dk{};
  std::array<std::uint8_t, 800 * count> ek{};
  std::array<std::uint8_t, count> statuses{};
  Batch batch;

  SmallBatch() {
    batch.operation = Operation::keygen;
    batch.algorithm = 1;
    batch.dk_format = DkFormat::seed;
    batch.count = count;
    batch.seeds = {seeds.data(), 64, nullptr};
    batch.ek_out = {ek.data(), 800, nullptr};
    batch.dk_out = {dk.data(), 64, nullptr};
    batch.statuses = statuses.data();
    statuses.fill(static_cast<std::uint8_t>(ItemStatus::pending));
  }
  Status run(Backend& backend, std::string* text = nullptr) {
    statuses.fill(static_cast<std::uint8_t>(ItemStatus::pending));
    Waiter waiter;
    backend.submit(batch, waiter.completion());
    const Status status = waiter.wait();
    if (text != nullptr) *text = waiter.text();
    return status;
  }
};

// Every try to open a device costs a tenth of a second on a chip: not every batch may pay that.
TEST_F(CudaDevices, OneThatCannotBeOpenedIsLeftAloneForAWhile) {
  if (!test::runtime_calls_pass) GTEST_SKIP() << "the module has its runtime inside: no call of it can be made to fail";
  constexpr int devices_unavailable = 46, system_not_ready = 802;
  const auto is_set_device = [](const test::CallCounter& c) { return std::string(c.name) == "cudaSetDevice"; };
  const auto set_device = std::ranges::find_if(test::runtime_calls(), is_set_device);
  for (const int error : {devices_unavailable, system_not_ready}) {
    const std::unique_ptr<Backend> backend = make("0", false);
    ASSERT_NE(backend, nullptr) << why_not_;
    SmallBatch small;
    std::string text;
    test::refuse_set_device.error = error;
    test::refuse_set_device.calls = 1'000'000;
    const long tries_before = set_device->calls;
    EXPECT_EQ(small.run(*backend, &text), Status::backend_failed);
    EXPECT_NE(text.find("cudaSetDevice"), std::string::npos) << text;
    for (int i = 0; i < 300; ++i) EXPECT_EQ(small.run(*backend, &text), Status::backend_failed);
    // The pauses double: in a quarter of an hour there are ten of them.
    EXPECT_LE(set_device->calls - tries_before, 60) << "for 301 batches";
    for (const std::uint8_t status : small.statuses) EXPECT_EQ(status, static_cast<std::uint8_t>(ItemStatus::pending));
    // What is in the way goes.
    test::refuse_set_device.calls = 0;
    bool works = false;
    bool told = text.find("not tried again yet") != std::string::npos;
    for (int i = 0; i < 60'000 && !works; ++i) {
      works = small.run(*backend, &text) == Status::ok;
      told = told || text.find("not tried again yet") != std::string::npos;
      if (!works) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(works) << text;
    EXPECT_TRUE(told);
  }
}

// Errors after which a process gets nothing more of a device.
TEST_F(CudaDevices, OneWhoseContextIsGoneForGoodStaysOut) {
  if (!test::runtime_calls_pass) GTEST_SKIP() << "the module has its runtime inside: no call of it can be made to fail";
  constexpr int contained = 226, context_is_destroyed = 709, tensor_memory_leak = 721, mps_client_terminated = 810;
  constexpr std::array errors{contained, context_is_destroyed, tensor_memory_leak, mps_client_terminated};
  if (count_ < 2 + errors.size()) GTEST_SKIP() << "needs " << 2 + errors.size() << " devices";
  for (std::size_t i = 0; i < errors.size(); ++i) {
    const std::string device = std::to_string(2 + i);
    const std::unique_ptr<Backend> backend = make(device, false);
    ASSERT_NE(backend, nullptr) << why_not_;
    SmallBatch small;
    test::refuse_set_device.error = errors[i];
    test::refuse_set_device.calls = 1;
    EXPECT_EQ(small.run(*backend), Status::backend_failed) << errors[i];
    test::refuse_set_device.calls = 0;
    EXPECT_EQ(make(device), nullptr) << errors[i];
    EXPECT_NE(why_not_.find("lost to this process"), std::string::npos) << why_not_;
  }
}

TEST(CudaNearness, ReadsTheKernelsLists) {
  const auto parsed = [](std::string_view list) {
    const cpu_set_t set = cuda::parse_cpu_list(list);
    std::string cpus;
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus += std::to_string(cpu) + " ";
    }
    return cpus;
  };
  EXPECT_EQ(parsed("0-3,8-9\n"), "0 1 2 3 8 9 ");
  EXPECT_EQ(parsed("5"), "5 ");
  EXPECT_EQ(parsed("1,3,5"), "1 3 5 ");
  EXPECT_EQ(parsed("1022-1030"), "1022 1023 ");
  EXPECT_EQ(parsed(""), "");
  EXPECT_EQ(parsed("\n"), "");
  for (const char* list : {"x", "1-", "1-x", "-3", "1;2", "0-3 "}) EXPECT_EQ(parsed(list), "") << list;
}

// Where each thread of that name may run.
std::vector<std::string> processors_of(const std::string& name) {
  std::vector<std::string> all;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::string comm, line, list;
    std::getline(std::ifstream(task.path() / "comm"), comm);
    std::ifstream status(task.path() / "status");
    while (std::getline(status, line)) {
      if (line.starts_with("Cpus_allowed_list:")) list = line.substr(line.find('\t') + 1);
    }
    if (comm == name) all.push_back(list);
  }
  return all;
}

TEST_F(CudaDevices, LanesKeepToTheProcessorsNearTheirDevice) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  if (CPU_COUNT(&allowed) < 2) GTEST_SKIP() << "one processor is near everything";
  std::size_t cpu = CPU_SETSIZE;
  while (!CPU_ISSET(cpu - 1, &allowed)) --cpu;
  const std::string last = std::to_string(cpu - 1);

  std::string pattern = (fs::temp_directory_path() / "warpkem-sysfs-XXXXXX").string();
  const std::string sysfs = mkdtemp(pattern.data());
  std::string pci_id = infos_[0].pci_id;
  for (char& c : pci_id) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const fs::path device = fs::path(sysfs) / "bus/pci/devices" / pci_id;
  fs::create_directories(device);
  const std::string lane_name = "warpkem-cuda" + std::to_string(infos_[0].ordinal);
  for (const auto& [list, near] : {std::pair{last, true}, {std::string("1000-1001"), false}, {std::string(), false}}) {
    std::ofstream(device / "local_cpulist") << list << "\n";
    cuda::Options options{"0", 0, 2, 0};
    options.sysfs = sysfs.c_str();
    const std::unique_ptr<Backend> backend = cuda_module::make_backend(options, true, why_not_);
    ASSERT_NE(backend, nullptr) << why_not_;
    const std::vector<std::string> own = processors_of(lane_name);
    ASSERT_FALSE(own.empty());
    for (const std::string& processors : own) EXPECT_EQ(processors == last, near) << processors << " for " << list;
  }
  fs::remove_all(sysfs);
}

// Last in this file: the device stays out for the rest of the process.
TEST_F(CudaDevices, StuckOneGivesItsWorkBackOnceAndStaysOut) {
  if (!test::runtime_calls_pass) GTEST_SKIP() << "the module has its runtime inside: no call of it can be made to hang";
  SmallBatch small;
  const cuda::Options options{"0", 0, 1, 50};
  const std::unique_ptr<Backend> backend = cuda_module::make_backend(options, true, why_not_);
  ASSERT_NE(backend, nullptr) << why_not_;
  test::device_hangs = true;
  Waiter first, second;
  backend->submit(small.batch, first.completion());
  EXPECT_EQ(first.wait(), Status::backend_failed);
  EXPECT_NE(first.text().find("stuck"), std::string::npos) << first.text();
  test::device_hangs = false;
  for (const std::uint8_t status : small.statuses) EXPECT_EQ(status, static_cast<std::uint8_t>(ItemStatus::pending));
  for (const std::uint8_t byte : small.ek) EXPECT_EQ(byte, 0);
  backend->submit(small.batch, second.completion());
  EXPECT_EQ(second.wait(), Status::backend_failed);
  EXPECT_EQ(first.calls() + second.calls(), 2);
  EXPECT_EQ(make("0"), nullptr);
  EXPECT_NE(why_not_.find("lost to this process"), std::string::npos) << why_not_;
}

}  // namespace
}  // namespace warpkem::host
