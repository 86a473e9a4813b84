// Quotas of control groups, in folders that are made up here.
#include "host/core/cpu_quota.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "host/engine/engine.hpp"

namespace {

namespace fs = std::filesystem;
using warpkem::host::cores_by_quota;

class CpuQuota : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "warpkem-quota-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root = name;
  }
  void TearDown() override { fs::remove_all(root); }
  void put(const std::string& path, const std::string& text) {
    const fs::path file = root + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  unsigned cores() const { return cores_by_quota(root); }
  std::string root;
};

TEST_F(CpuQuota, NoneWhereNothingSaysSo) {
  EXPECT_EQ(cores(), 0u) << "no /proc";
  put("/proc/self/cgroup", "0::/\n");
  EXPECT_EQ(cores(), 0u) << "no cpu.max, as in the root";
  put("/sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(cores(), 0u);
}

TEST_F(CpuQuota, OfTheSecondVersionIsRoundedUp) {
  put("/proc/self/cgroup", "0::/\n");
  const std::pair<const char*, unsigned> cases[] = {{"100000 100000\n", 1},
                                                    {"150000 100000\n", 2},
                                                    {"1000 100000\n", 1},
                                                    {"400000 100000\n", 4},
                                                    {"400001 100000\n", 5},
                                                    {"25000 50000\n", 1},
                                                    {"6400000 100000", 64},
                                                    {"max 100000\n", 0},
                                                    {"", 0},
                                                    {"\n", 0},
                                                    {"100000\n", 0},
                                                    {"-1 100000\n", 0},
                                                    {"100000 0\n", 0},
                                                    {"0 100000\n", 0},
                                                    {"99999999999999999999 1\n", 0},
                                                    {"12x 100000\n", 0}};
  for (const auto& [text, expected] : cases) {
    put("/sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(cores(), expected) << text;
  }
}

TEST_F(CpuQuota, IsTheTightestOnTheWayUp) {
  put("/proc/self/cgroup", "0::/a/b/c\n");
  put("/sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
  EXPECT_EQ(cores(), 8u);
  put("/sys/fs/cgroup/a/cpu.max", "300000 100000\n");
  EXPECT_EQ(cores(), 3u);
  put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(cores(), 3u);
  put("/sys/fs/cgroup/elsewhere/cpu.max", "100000 100000\n");
  EXPECT_EQ(cores(), 3u);
  put("/sys/fs/cgroup/cpu.max", "200000 100000\n");  // as a container's own root has it
  EXPECT_EQ(cores(), 2u);
}

TEST_F(CpuQuota, OfTheFirstVersion) {
  for (const std::string folder : {"cpu,cpuacct", "cpu"}) {
    const std::string base = "/sys/fs/cgroup/" + folder;
    put("/proc/self/cgroup", "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n3:cpuset:/\n1:name=systemd:/docker/x\n");
    put(base + "/cpu.cfs_quota_us", "250000\n");  // seen from inside the container
    put(base + "/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(cores(), 3u) << folder;
    put(base + "/docker/x/cpu.cfs_quota_us", "100000\n");
    put(base + "/docker/x/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(cores(), 1u) << folder;
    put(base + "/docker/x/cpu.cfs_quota_us", "-1\n");
    put(base + "/cpu.cfs_quota_us", "-1\n");
    EXPECT_EQ(cores(), 0u) << folder;
    fs::remove_all(root + "/sys");
  }
}

TEST_F(CpuQuota, OfBothVersionsTogether) {
  put("/proc/self/cgroup", "4:cpu,cpuacct:/x\n0::/y\n");
  put("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "500000\n");
  put("/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cores(), 5u);
  put("/sys/fs/cgroup/y/cpu.max", "200000 100000\n");
  EXPECT_EQ(cores(), 2u);
}

TEST(DefaultThreads, AreAtLeastOneAndAtMostTheCoresOfTheAffinity) {
  EXPECT_GE(warpkem::host::default_threads(), 1u);
  EXPECT_LE(warpkem::host::default_threads(), warpkem::host::Cores().count());
  EXPECT_EQ(warpkem::host::EngineOptions().threads, warpkem::host::default_threads());
}

}  // namespace
