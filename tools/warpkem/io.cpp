#include "tools/warpkem/io.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>

#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

[[noreturn]] void fail(const std::string& label, const std::string& what) {
  throw Error(fmt::format("{}: {}: {}", label, what, std::strerror(errno)));
}

// Temporaries that exist now. A thread that waits for signals removes them; whoever makes, renames or removes one holds
// the lock, so that a signal finds either the temporary or the finished file.
struct Temporaries {
  std::mutex lock;
  std::vector<std::pair<int, std::string>> files;  // folder, name

  void remove_all() noexcept {
    for (const auto& [folder, name] : files) unlinkat(folder, name.c_str(), 0);
    files.clear();
  }
  void forget(int folder, const std::string& name) noexcept {
    std::erase_if(files, [&](const auto& file) { return file.first == folder && file.second == name; });
  }
};

// Never destroyed: the thread of signals may use it until the very end.
Temporaries& temporaries() {
  static auto* const all = new Temporaries;
  return *all;
}

[[noreturn]] void signal_loop(sigset_t signals) {
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  const std::scoped_lock hold(temporaries().lock);
  temporaries().remove_all();
  std::signal(number, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  std::raise(number);
  std::_Exit(128 + number);
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::optional<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr), &std::free);
  if (real == nullptr) return std::nullopt;
  return std::string(real.get());
}

// Where a path leads: every symbolic link is followed, the last file need not exist. Or, for /dev/stdin, /dev/fd/3 and
// their like, the descriptor of this process that it names: opening that anew would forget its position, and may not be
// allowed.
struct Target {
  std::string path;
  int inherited = -1;
};

Target resolve(const std::string& label, std::string path) {
  const std::string own_descriptors = fmt::format("/proc/{}/fd", getpid());
  for (int links = 0; links < 40; ++links) {
    const auto folder = real_path(folder_of(path));
    if (!folder) fail(label, "folder " + folder_of(path));
    const std::string name = name_of(path);
    if (*folder == own_descriptors && !name.empty() && name.find_first_not_of("0123456789") == std::string::npos) {
      return {path, std::atoi(name.c_str())};
    }
    const std::string whole = (*folder == "/" ? "" : *folder) + "/" + name;
    std::array<char, PATH_MAX> link;
    const ssize_t length = readlink(whole.c_str(), link.data(), link.size());
    if (length < 0) return {whole};
    const std::string next(link.data(), static_cast<std::size_t>(length));
    path = next.starts_with('/') ? next : (*folder == "/" ? "" : *folder) + "/" + next;
  }
  errno = ELOOP;
  fail(label, path);
}

FileDescriptor duplicate(const std::string& label, int fd) {
  FileDescriptor copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (copy.get() < 0) fail(label, "cannot be used");
  return copy;
}

std::optional<FileId> regular_id(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return FileId{info.st_dev, info.st_ino, {}};
}

// Waits until a descriptor that somebody made non-blocking is ready.
void wait_ready(int fd, short events) {
  pollfd entry{fd, events, 0};
  poll(&entry, 1, -1);
}

void write_all(const std::string& label, int fd, const std::uint8_t* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t written = ::write(fd, data, std::min<std::size_t>(bytes, std::size_t{1} << 30));
    if (written >= 0) {
      data += written;
      bytes -= static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      wait_ready(fd, POLLOUT);
    } else if (errno != EINTR) {
      fail(label, "write");
    }
  }
}

}  // namespace

// ---- memory ----

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw Error(fmt::format("out of memory: {} bytes for a batch; choose a smaller --batch", bytes));
  madvise(memory, bytes, MADV_DONTDUMP);
  data_ = static_cast<std::uint8_t*>(memory);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  explicit_bzero(data_, bytes_);
  munmap(data_, bytes_);
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

// ---- input ----

Input::Input(std::string argument, std::string path, const Content& content, const Lenience& lenience)
    : label_(argument + " " + path), content_(content), lenience_(lenience), record_bytes_(content.record_bytes()) {
  if (path.empty()) throw Error(argument + ": the name of a file is empty");
  const int inherited = path == "-" ? STDIN_FILENO : resolve(label_, path).inherited;
  is_stdin_ = inherited == STDIN_FILENO;
  fd_ = inherited >= 0 ? duplicate(label_, inherited)
                       : FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (fd_.get() < 0) fail(label_, "open");
  struct stat info {};
  if (fstat(fd_.get(), &info) != 0) fail(label_, "stat");
  if (S_ISDIR(info.st_mode))
    throw Error(fmt::format("{}: is a folder; accepted: a file, a pipe, - for standard input", label_));
  if (!S_ISREG(info.st_mode)) return;
  id_ = FileId{info.st_dev, info.st_ino, {}};
  const off_t position = lseek(fd_.get(), 0, SEEK_CUR);
  start_ = position > 0 ? static_cast<std::uint64_t>(position) : 0;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const std::uint64_t bytes = size > start_ ? size - start_ : 0;
  const Buffer beginning(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, sample_bytes)));
  const ssize_t got = pread(fd_.get(), beginning.data(), beginning.size(), static_cast<off_t>(start_));
  if (got < 0) fail(label_, "read");
  look({beginning.data(), static_cast<std::size_t>(got), bytes});
  records_ = bytes / record_bytes_;
}

void Input::refuse_partial(std::uint64_t record, std::uint64_t left, const Sample& sample) const {
  const std::string likely = likely_other(sample, content_);
  throw Error(fmt::format("{}: truncated or oversized: {} bytes at byte offset {}, where a record has {} bytes{}{}",
                          label_, left, offset(record), record_bytes_, likely.empty() ? "" : "; ", likely));
}

void Input::look(const Sample& sample) {
  looked_ = true;
  if (sample.total == 0) {
    if (lenience_.empty_inputs) return;
    throw Error(
        fmt::format("{}: is empty: 0 bytes at byte offset {}, where a record has {} bytes; --allow-empty takes "
                    "an input without records",
                    label_, start_, record_bytes_));
  }
  if (sample.total && *sample.total % record_bytes_ != 0)
    refuse_partial(*sample.total / record_bytes_, *sample.total % record_bytes_, sample);
  if (lenience_.any_content) return;
  if (const std::string other = proven_other(sample, content_); !other.empty()) {
    throw Error(fmt::format("{}: is {}, where {} is wanted; --force takes it as such", label_, other, content_.name()));
  }
}

std::size_t Input::read(std::uint8_t* out, std::size_t count) {
  const std::size_t wanted = count * record_bytes_;
  std::size_t have = 0;
  while (have < wanted) {
    const ssize_t got = ::read(fd_.get(), out + have, std::min<std::size_t>(wanted - have, std::size_t{1} << 30));
    if (got == 0) break;
    if (got > 0) {
      have += static_cast<std::size_t>(got);
    } else if (errno == EAGAIN) {
      wait_ready(fd_.get(), POLLIN);
    } else if (errno != EINTR) {
      fail(label_, "read");
    }
  }
  if (!looked_ && wanted > 0) {
    look({out, std::min(have, sample_bytes), have < wanted ? std::optional<std::uint64_t>(have) : std::nullopt});
  }
  const std::size_t records = have / record_bytes_;
  if (have % record_bytes_ != 0) {
    const std::uint64_t record = records_read_ + records, left = have % record_bytes_;
    refuse_partial(record, left, {nullptr, 0, record * record_bytes_ + left});
  }
  records_read_ += records;
  return records;
}

// ---- output ----

Output::Output(std::string argument, const std::string& path, Secrecy secrecy)
    : label_(argument + " " + path), secrecy_(secrecy) {
  if (path.empty()) throw Error(argument + ": the name of a file is empty");
  const Target target = path == "-" ? Target{path, STDOUT_FILENO} : resolve(label_, path);
  target_ = target.path;
  if (target.inherited >= 0) {
    in_place_ = true;
    is_stdout_ = target.inherited == STDOUT_FILENO;
    fd_ = duplicate(label_, target.inherited);
    id_ = regular_id(fd_.get());
    return;
  }
  struct stat info {};
  if (stat(target_.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      throw Error(fmt::format("{}: is a folder; accepted: a file, a pipe, - for standard output", label_));
    in_place_ = !S_ISREG(info.st_mode);
    if (in_place_) return;
    if (access(target_.c_str(), W_OK) != 0) fail(label_, "write");
    id_ = FileId{info.st_dev, info.st_ino, {}};
    mode_ = info.st_mode & 0777;
  } else if (errno != ENOENT) {
    fail(label_, "stat");
  }
  folder_ = FileDescriptor(::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_.get() < 0) fail(label_, "folder " + folder_of(target_));
  if (!id_) {
    if (fstat(folder_.get(), &info) != 0) fail(label_, "stat");
    id_ = FileId{info.st_dev, info.st_ino, name_of(target_)};
  }
}

Output::~Output() {
  if (temporary_.empty()) return;
  const std::scoped_lock hold(temporaries().lock);
  unlinkat(folder_.get(), temporary_.c_str(), 0);
  temporaries().forget(folder_.get(), temporary_);
}

void Output::open() {
  if (in_place_) {
    if (fd_.get() < 0) fd_ = FileDescriptor(::open(target_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (fd_.get() < 0) fail(label_, "open");
    return;
  }
  for (int tries = 0; tries < 100; ++tries) {
    std::uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random) fail(label_, "getrandom");
    const std::string name = fmt::format(".warpkem-{:016x}", random);
    const std::scoped_lock hold(temporaries().lock);
    temporaries().files.reserve(temporaries().files.size() + 1);
    fd_ =
        FileDescriptor(openat(folder_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (fd_.get() >= 0) {
      temporary_ = name;
      temporaries().files.emplace_back(folder_.get(), name);
      return;
    }
    if (errno != EEXIST) break;
  }
  fail(label_, "temporary file in " + folder_of(target_));
}

void Output::write(const std::uint8_t* data, std::size_t bytes) { write_all(label_, fd_.get(), data, bytes); }

void Output::sync() {
  if (in_place_) return;
  if (secrecy_ == Secrecy::open) {
    const mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd_.get(), mode_.value_or(0666 & ~mask)) != 0) fail(label_, "chmod");
  }
  if (fsync(fd_.get()) != 0) fail(label_, "fsync");
}

void Output::rename() {
  if (in_place_) return;
  if (renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_of(target_).c_str()) != 0) fail(label_, "rename");
  temporaries().forget(folder_.get(), temporary_);
  temporary_.clear();
  // A folder that cannot be synced (some network file systems) does not make the file less whole.
  if (fsync(folder_.get()) != 0 && errno != EINVAL && errno != EROFS) fail(label_, "fsync of its folder");
}

// ---- the files of a job ----

Input& Files::input(std::string argument, const std::string& path, const Content& content) {
  inputs_.push_back(std::make_unique<Input>(std::move(argument), path, content, lenience_));
  return *inputs_.back();
}

Output& Files::output(std::string argument, const std::string& path, Secrecy secrecy) {
  outputs_.push_back(std::make_unique<Output>(std::move(argument), path, secrecy));
  return *outputs_.back();
}

void Files::open() {
  const auto refuse = [](const std::string& a, const std::string& b, const char* why) {
    throw Error(fmt::format("{} and {}: {}", a, b, why));
  };
  const std::optional<FileId> stdout_id = stdout_taken_by_.empty() ? std::nullopt : regular_id(STDOUT_FILENO);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (inputs_[i]->is_stdin_ && inputs_[j]->is_stdin_) {
        refuse(inputs_[j]->label_, inputs_[i]->label_, "standard input can be read only once");
      }
    }
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const Output& output = *outputs_[i];
    for (std::size_t j = 0; j < i; ++j) {
      if (output.is_stdout_ && outputs_[j]->is_stdout_) {
        refuse(outputs_[j]->label_, output.label_, "standard output can be written only once");
      }
      if (output.id_ && output.id_ == outputs_[j]->id_) {
        refuse(outputs_[j]->label_, output.label_, "two outputs to one file; each needs its own");
      }
    }
    for (const auto& input : inputs_) {
      if (output.id_ && output.id_ == input->id_) {
        refuse(output.label_, input->label_, "the output is the input; it needs a file of its own");
      }
    }
    if (!stdout_taken_by_.empty() && (output.is_stdout_ || (output.id_ && output.id_ == stdout_id))) {
      refuse(output.label_, stdout_taken_by_, "both write to standard output; choose another file for one");
    }
  }
  for (const auto& output : outputs_) {
    output->open();
    if (output->in_place_ && !lenience_.any_content && isatty(output->fd_.get()) == 1)
      throw Error(fmt::format("{}: is a terminal, and records are binary; accepted: a file, a pipe, or --force",
                              output->label_));
  }
}

void Files::commit() {
  for (const auto& output : outputs_) output->sync();
  const std::scoped_lock hold(temporaries().lock);
  for (const auto& output : outputs_) output->rename();
}

// ---- the process ----

void prepare_process() {
  // A file must never get the number of a closed standard descriptor. What was closed stays unusable: it is opened the
  // wrong way round.
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number is this one, for those below it are taken by now.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) == fd) continue;
    if (::open("/", O_PATH) != fd) std::_Exit(1);  // where there is no /dev
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);

  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    struct sigaction action {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&signals, number);  // nohup and the like keep their meaning
  }
  temporaries();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // for all threads to come
  with_thread("signals", [&] { return std::thread(signal_loop, signals); }).detach();
}

void write_stdout(const std::string& text) {
  write_all("standard output", STDOUT_FILENO, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

void write_stderr(std::initializer_list<std::string_view> parts) noexcept {
  // Collected without memory of the heap, which may be what has run out.
  std::array<char, 1024> collected;
  std::size_t used = 0;
  bool heard = true;
  const auto flush = [&] {
    const char* data = collected.data();
    while (heard && used > 0) {
      const ssize_t written = ::write(STDERR_FILENO, data, used);
      if (written >= 0) {
        data += written;
        used -= static_cast<std::size_t>(written);
      } else if (errno == EAGAIN) {
        pollfd entry{STDERR_FILENO, POLLOUT, 0};
        heard = poll(&entry, 1, 1000) > 0;  // who made it non-blocking does not want to be waited for
      } else {
        heard = errno == EINTR;
      }
    }
    used = 0;
  };
  for (std::string_view part : parts) {
    while (!part.empty()) {
      if (used == collected.size()) flush();
      const std::size_t taken = part.copy(collected.data() + used, collected.size() - used);
      used += taken;
      part.remove_prefix(taken);
    }
  }
  flush();
}

}  // namespace warpkem::tool
