// The seam to the module: where it is taken from and where not, versions, devices by name, and a device that never
// answers.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>

#include "host/backends/cuda/cuda_module.hpp"
#include "host/backends/cuda/loader.hpp"
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

// Last in this file: the device stays out for the rest of the process.
TEST_F(CudaDevices, StuckOneGivesItsWorkBackOnceAndStaysOut) {
  if (!test::runtime_calls_pass) GTEST_SKIP() << "the module has its runtime inside: no call of it can be made to hang";
  constexpr std::size_t count = 3;
  std::array<std::uint8_t, 64 * count> seeds{}, dk{};
  std::array<std::uint8_t, 800 * count> ek{};
  std::array<std::uint8_t, count> statuses{};
  Batch batch;
  batch.operation = Operation::keygen;
  batch.algorithm = 1;
  batch.dk_format = DkFormat::seed;
  batch.count = count;
  batch.seeds = {seeds.data(), 64, nullptr};
  batch.ek_out = {ek.data(), 800, nullptr};
  batch.dk_out = {dk.data(), 64, nullptr};
  batch.statuses = statuses.data();
  statuses.fill(static_cast<std::uint8_t>(ItemStatus::pending));

  const cuda::Options options{"0", 0, 1, 50};
  const std::unique_ptr<Backend> backend = cuda_module::make_backend(options, true, why_not_);
  ASSERT_NE(backend, nullptr) << why_not_;
  test::device_hangs = true;
  Waiter first, second;
  backend->submit(batch, first.completion());
  EXPECT_EQ(first.wait(), Status::backend_failed);
  EXPECT_NE(first.text().find("stuck"), std::string::npos) << first.text();
  test::device_hangs = false;
  for (const std::uint8_t status : statuses) EXPECT_EQ(status, static_cast<std::uint8_t>(ItemStatus::pending));
  for (const std::uint8_t byte : ek) EXPECT_EQ(byte, 0);
  backend->submit(batch, second.completion());
  EXPECT_EQ(second.wait(), Status::backend_failed);
  EXPECT_EQ(first.calls() + second.calls(), 2);
  EXPECT_EQ(make("0"), nullptr);
  EXPECT_NE(why_not_.find("lost to this process"), std::string::npos) << why_not_;
}

}  // namespace
}  // namespace warpkem::host
