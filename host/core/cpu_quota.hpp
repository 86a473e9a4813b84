// How much of the CPUs the process's control groups let it use.
#pragma once

#include <string>

namespace warpkem::host {

// The cores that the tightest quota of the process's cgroup and of those above it is worth, rounded up; 0: there is
// none. Of version 2 cpu.max is read, of version 1 cpu.cfs_quota_us and cpu.cfs_period_us. Tests give a root of their
// own.
unsigned cores_by_quota(const std::string& root = "");

}  // namespace warpkem::host
