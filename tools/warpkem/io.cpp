#include "tools/warpkem/io.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "tools/warpkem/temporaries.hpp"

namespace warpkem::tool {
namespace {

[[noreturn]] void fail(const std::string& label, const std::string& what) {
  throw Error(fmt::format("{}: {}: {}", label, what, std::strerror(errno)));
}

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string file_name_of(const std::string& path) {
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
    const std::string name = file_name_of(path);
    if (*folder == own_descriptors && !name.empty() && name.find_first_not_of("0123456789") == std::string::npos) {
      return {path, static_cast<int>(std::strtol(name.c_str(), nullptr, 10))};
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

// What two paths must not have in common if both are written, or both read from where the other one stopped. Nothing:
// /dev/null, /dev/full and their like keep nothing that could be mixed.
std::optional<FileId> identity(const struct stat& info) {
  const mode_t kind = info.st_mode & S_IFMT;
  constexpr unsigned memory_devices = 1;
  if (kind == S_IFCHR && major(info.st_rdev) == memory_devices) return std::nullopt;
  if (kind == S_IFCHR || kind == S_IFBLK) return FileId{kind, info.st_rdev, 0, {}};
  return FileId{kind, info.st_dev, info.st_ino, {}};
}

std::optional<FileId> identity(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 ? identity(info) : std::nullopt;
}

// What is written can be read back: not so of a terminal or a socket, where each way is one of its own.
bool leads_back(const FileId& id) { return id.kind == S_IFREG || id.kind == S_IFIFO; }

std::string own_descriptor(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

// An exclusive lock of an open file, until it is closed. Not all file systems have such locks; where there are none,
// the rules of Files::commit() hold for jobs that do not end in the same moment.
void lock_whole(int fd, int command) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  while (fcntl(fd, command, &whole) != 0 && errno == EINTR) {
  }
}

// Not in all C libraries.
int rename_with(int folder, const std::string& from, const std::string& to, unsigned flags) noexcept {
  return static_cast<int>(syscall(SYS_renameat2, folder, from.c_str(), folder, to.c_str(), flags));
}

// The kernel or the file system does not know the flags.
bool no_such_rename(int error) { return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP; }

// Fails with EEXIST where there is something, if need be by way of a second name.
int rename_to_nothing(int folder, const std::string& from, const std::string& to) noexcept {
  if (rename_with(folder, from, to, RENAME_NOREPLACE) == 0) return 0;
  if (!no_such_rename(errno)) return -1;
  if (linkat(folder, from.c_str(), folder, to.c_str(), 0) == 0) {
    unlinkat(folder, from.c_str(), 0);
    return 0;
  }
  if (errno != EPERM && !no_such_rename(errno)) return -1;
  struct stat info {};  // there are no second names either: two jobs that end in the same moment may collide
  if (fstatat(folder, to.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return -1;
  }
  return renameat(folder, from.c_str(), folder, to.c_str());
}

// Why a file may hold dk or K, in words; "" if it holds neither. What nobody but its owner may read counts as secret,
// for K and seeds look like nothing in particular, unless it shows that it is not.
std::string secret_in(const FileDescriptor& file, const struct stat& info) {
  const Buffer beginning(static_cast<std::size_t>(std::min<off_t>(info.st_size, sample_bytes)));
  const ssize_t got = pread(file.get(), beginning.data(), beginning.size(), 0);
  const Sample sample{beginning.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)),
                      static_cast<std::uint64_t>(info.st_size)};
  if (const std::string secret = proven_secret(sample); !secret.empty()) return "is there already and holds " + secret;
  if (got >= 0 && is_proven_public(sample)) return "";
  if ((info.st_mode & 077) != 0) {
    const std::uint64_t records = got >= 0 ? likely_shared_secrets(sample) : 0;
    return records == 0 ? "" : fmt::format("is there already, and its length is that of {} shared secrets", records);
  }
  return fmt::format("is there already, for its owner alone (mode {:04o}) as secrets are", info.st_mode & 0777);
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

void Buffer::grow(std::size_t bytes) {
  if (bytes <= bytes_) return;
  // Pages are moved, not copied. What is wiped at the end are these bytes alone, and each of them was asked for.
  void* const memory = data_ == nullptr
                           ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                           : mremap(data_, bytes_, bytes, MREMAP_MAYMOVE);
  if (memory == MAP_FAILED)
    throw Error(fmt::format("out of memory: {} bytes for a batch; choose a smaller --batch", bytes));
  madvise(memory, bytes, MADV_DONTDUMP);
  data_ = static_cast<std::uint8_t*>(memory);
  bytes_ = bytes;
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

Input::Input(const std::string& argument, const std::string& path, const Content& content, const Lenience& lenience)
    : label_(argument + " " + path), content_(content), lenience_(lenience), record_bytes_(content.record_bytes()) {
  if (path.empty()) throw Error(argument + ": the name of a file is empty");
  inherited_ = path == "-" ? STDIN_FILENO : resolve(label_, path).inherited;
  fd_ = inherited_ >= 0 ? duplicate(label_, inherited_)
                        : FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (fd_.get() < 0) fail(label_, "open");
  struct stat info {};
  if (fstat(fd_.get(), &info) != 0) fail(label_, "stat");
  if (S_ISDIR(info.st_mode))
    throw Error(fmt::format("{}: is a folder; accepted: a file, a pipe, - for standard input", label_));
  id_ = identity(info);
  if (!S_ISREG(info.st_mode)) return;
  const off_t position = lseek(fd_.get(), 0, SEEK_CUR);
  start_ = position > 0 ? static_cast<std::uint64_t>(position) : 0;
  const auto size = static_cast<std::uint64_t>(info.st_size);
  bytes_ = size > start_ ? size - start_ : 0;
  take_as(content);
}

void Input::take_as(const Content& content) {
  content_ = content;
  record_bytes_ = content.record_bytes();
  if (!bytes_) return;
  look(peek(nullptr));
  records_ = *bytes_ / record_bytes_;
}

Sample Input::peek(bool (*is_enough)(const Sample&)) {
  beginning_.grow(static_cast<std::size_t>(std::min<std::uint64_t>(bytes_.value_or(sample_bytes), sample_bytes)));
  if (bytes_) {
    const ssize_t got = pread(fd_.get(), beginning_.data(), beginning_.size(), static_cast<off_t>(start_));
    if (got < 0) fail(label_, "read");
    return {beginning_.data(), beginning_bytes_ = static_cast<std::size_t>(got), bytes_};
  }
  for (;;) {
    const Sample sample{beginning_.data(), beginning_bytes_, std::nullopt};
    if (beginning_bytes_ == beginning_.size() || is_enough(sample)) return sample;
    const std::size_t got = read_some(beginning_.data() + beginning_bytes_, beginning_.size() - beginning_bytes_);
    if (got == 0) return {beginning_.data(), beginning_bytes_, beginning_bytes_};
    ahead_bytes_ = beginning_bytes_ += got;
  }
}

void Input::refuse_partial(std::uint64_t record, std::uint64_t left, const Sample& sample) const {
  const std::string likely = likely_other(sample, content_);
  throw Error(fmt::format("{}: truncated or oversized: {} bytes at byte offset {}, where a record has {} bytes{}{}",
                          label_, left, offset(record), record_bytes_, likely.empty() ? "" : "; ", likely));
}

void Input::look(const Sample& sample) {
  looked_ = true;
  if (content_.kind == RecordKind::bytes) return;  // who reads them says what is wrong with them
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

std::size_t Input::read_bytes(Buffer& out, std::size_t have, std::size_t wanted) {
  constexpr std::size_t first_step = std::size_t{1} << 20;
  while (have < wanted) {
    // To twice of what has come, so that the bytes that nobody filled are at most as many as those that somebody did.
    if (have == out.size()) out.grow(std::min(wanted, std::max(first_step, 2 * have)));
    const std::size_t room = std::min(wanted, out.size()) - have, ahead = std::min(room, ahead_bytes_ - ahead_used_);
    if (ahead > 0) std::memcpy(out.data() + have, beginning_.data() + ahead_used_, ahead);
    ahead_used_ += ahead;
    const std::size_t got = ahead > 0 ? ahead : read_some(out.data() + have, room);
    if (got == 0) break;
    have += got;
  }
  return have;
}

// At least one byte; 0 at the end of the file.
std::size_t Input::read_some(std::uint8_t* out, std::size_t room) {
  constexpr std::size_t longest_read = std::size_t{1} << 30;
  for (;;) {
    const ssize_t got = ::read(fd_.get(), out, std::min(room, longest_read));
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EAGAIN) {
      wait_ready(fd_.get(), POLLIN);
    } else if (errno != EINTR) {
      fail(label_, "read");
    }
  }
}

std::size_t Input::read(Buffer& out, std::size_t count) {
  const std::size_t wanted = count * record_bytes_, have = read_bytes(out, 0, wanted);
  if (!looked_ && wanted > 0) {
    look({out.data(), std::min(have, sample_bytes), have < wanted ? std::optional<std::uint64_t>(have) : std::nullopt});
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

Output::Output(const std::string& argument, const std::string& path, Secrecy secrecy, Replace replace)
    : label_(argument + " " + path), secrecy_(secrecy), replace_(replace) {
  if (path.empty()) throw Error(argument + ": the name of a file is empty");
  const Target target = path == "-" ? Target{path, STDOUT_FILENO} : resolve(label_, path);
  target_ = target.path;
  if (target.inherited >= 0) {
    in_place_ = true;
    is_stdout_ = target.inherited == STDOUT_FILENO;
    fd_ = duplicate(label_, target.inherited);
    id_ = identity(fd_.get());
    return;
  }
  struct stat info {};
  if (stat(target_.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      throw Error(fmt::format("{}: is a folder; accepted: a file, a pipe, - for standard output", label_));
    in_place_ = !S_ISREG(info.st_mode);
    id_ = identity(info);
    if (in_place_) return;
    if (access(target_.c_str(), W_OK) != 0) fail(label_, "write");
    mode_ = info.st_mode & 0777;
  } else if (errno != ENOENT) {
    fail(label_, "stat");
  }
  name_ = file_name_of(target_);
  folder_ = FileDescriptor(::open(folder_of(target_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_.get() < 0) fail(label_, "folder " + folder_of(target_));
  if (!id_) {
    if (fstat(folder_.get(), &info) != 0) fail(label_, "stat");
    id_ = FileId{S_IFREG, info.st_dev, info.st_ino, name_};
  }
}

Output::~Output() {
  if (temporary_.empty()) return;
  const std::scoped_lock hold(names_lock());
  remove_temporary();
}

void Output::open() {
  if (in_place_) {
    if (fd_.get() < 0) fd_ = FileDescriptor(::open(target_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (fd_.get() < 0) fail(label_, "open");
    refuse_loss(fd_.get());
    return;
  }
  refuse_loss();
  // A file without a name goes with the process, whatever ends it. It gets its name through /proc.
  fd_ = FileDescriptor(openat(folder_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (fd_.get() >= 0 && access(own_descriptor(fd_.get()).c_str(), F_OK) != 0) fd_ = FileDescriptor();
  for (int tries = 0; fd_.get() < 0; ++tries) {  // not all file systems have such files
    const std::string name = new_temporary_name();
    const std::scoped_lock hold(names_lock());
    remember_temporary(folder_.get(), name);
    fd_ =
        FileDescriptor(openat(folder_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (fd_.get() >= 0) {
      temporary_ = name;
    } else {
      const int error = errno;
      forget_temporary(folder_.get(), name);
      errno = error;
      if (errno != EEXIST || tries == 100) fail(label_, "temporary file in " + folder_of(target_));
    }
  }
  lock_whole(fd_.get(), F_OFD_SETLK);  // before anybody else can see it, see claim()
}

void Output::write(const std::uint8_t* data, std::size_t bytes) {
  write_all(label_, fd_.get(), data, bytes);
  written_ += bytes;
  // The disk starts while there is more to come, so that sync() need not wait for all of it. What this fails to do
  // sync() does.
  constexpr std::uint64_t step = std::uint64_t{16} << 20;
  if (in_place_ || written_ - started_ < step) return;
  sync_file_range(fd_.get(), static_cast<off_t>(started_), static_cast<off_t>(written_ - started_),
                  SYNC_FILE_RANGE_WRITE);
  started_ = written_;
}

void Output::sync() {
  if (in_place_) return;
  if (secrecy_ == Secrecy::open) {
    const mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd_.get(), mode_.value_or(0666 & ~mask)) != 0) fail(label_, "chmod");
  }
  if (fsync(fd_.get()) != 0) fail(label_, "fsync");
}

// Secrets that are overwritten are lost. An empty file, as mktemp makes it, holds none.
void Output::refuse_loss(int in_place) const {
  struct stat info {};
  if (in_place >= 0) {
    if (fstat(in_place, &info) != 0 || !S_ISREG(info.st_mode)) return;
    if ((fcntl(in_place, F_GETFL) & O_APPEND) != 0 || lseek(in_place, 0, SEEK_CUR) >= info.st_size) return;
  } else {
    if (fstatat(folder_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return;
    if (!S_ISREG(info.st_mode)) throw Error(fmt::format("{}: is no longer a regular file", label_));
  }
  if (replace_ == Replace::everything || info.st_size == 0) return;
  std::string why = "is there already";
  if (secrecy_ == Secrecy::open) {
    constexpr int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    why = secret_in(FileDescriptor(in_place >= 0 ? ::open(own_descriptor(in_place).c_str(), flags)
                                                 : openat(folder_.get(), name_.c_str(), flags | O_NOFOLLOW)),
                    info);
  }
  if (why.empty()) return;
  throw Error(
      fmt::format("{}: {}, and secrets that are replaced are lost; accepted: another name, or --force", label_, why));
}

Output::Claim Output::claim() const {
  for (;;) {
    FileDescriptor fd(openat(folder_.get(), name_.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd.get() < 0) return {errno != ENOENT, FileDescriptor()};
    lock_whole(fd.get(), F_OFD_SETLKW);
    struct stat locked {
    }, there{};
    if (fstat(fd.get(), &locked) == 0 && fstatat(folder_.get(), name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        locked.st_dev == there.st_dev && locked.st_ino == there.st_ino) {
      return {true, std::move(fd)};
    }
  }
}

void Output::set_aside() {
  const std::string name = new_temporary_name();
  if (renameat(folder_.get(), name_.c_str(), folder_.get(), name.c_str()) == 0) {
    aside_ = name;
  } else if (errno != ENOENT) {
    fail(label_, "rename of what is there");
  }
}

bool Output::place(bool there) {
  if (!there) {
    const int result = temporary_.empty() ? link_nameless(name_) : rename_to_nothing(folder_.get(), temporary_, name_);
    if (result == 0) {
      placed_ = Placed::where_nothing_was;
      forget_temporary(folder_.get(), temporary_);
      temporary_.clear();
      return true;
    }
    if (errno != EEXIST) fail(label_, "link");
    return false;
  }
  if (temporary_.empty()) {
    const std::string name = new_temporary_name();
    remember_temporary(folder_.get(), name);
    temporary_ = name;
    if (link_nameless(name) != 0) fail(label_, "link");
  }
  if (rename_with(folder_.get(), temporary_, name_, RENAME_EXCHANGE) == 0) {
    placed_ = Placed::by_exchange;
    return true;
  }
  if (errno == ENOENT) return false;
  if (!no_such_rename(errno) || renameat(folder_.get(), temporary_.c_str(), folder_.get(), name_.c_str()) != 0) {
    fail(label_, "rename");
  }
  placed_ = Placed::for_good;
  forget_temporary(folder_.get(), temporary_);
  temporary_.clear();
  return true;
}

void Output::take_back(bool restore) noexcept {
  if (placed_ == Placed::by_exchange) {
    rename_with(folder_.get(), temporary_, name_, RENAME_EXCHANGE);
  } else if (placed_ == Placed::where_nothing_was) {
    unlinkat(folder_.get(), name_.c_str(), 0);
  }
  placed_ = Placed::no;
  if (aside_.empty()) return;
  // Who has the name by now, if anybody, has newer content.
  if (!restore || rename_to_nothing(folder_.get(), aside_, name_) != 0) unlinkat(folder_.get(), aside_.c_str(), 0);
  aside_.clear();
}

void Output::settle() noexcept {
  if (!temporary_.empty()) remove_temporary();
  if (!aside_.empty()) unlinkat(folder_.get(), aside_.c_str(), 0);
  aside_.clear();
  fd_ = FileDescriptor();  // and with it the lock
}

void Output::sync_folder() const {
  // A folder that cannot be synced (some network file systems) does not make the file less whole.
  if (fsync(folder_.get()) != 0 && errno != EINVAL && errno != EROFS) fail(label_, "fsync of its folder");
}

void Output::remove_temporary() noexcept {
  unlinkat(folder_.get(), temporary_.c_str(), 0);
  forget_temporary(folder_.get(), temporary_);
  temporary_.clear();
}

int Output::link_nameless(const std::string& name) const {
  return linkat(AT_FDCWD, own_descriptor(fd_.get()).c_str(), folder_.get(), name.c_str(), AT_SYMLINK_FOLLOW);
}

// ---- the files of a job ----

Input& Files::input(const std::string& argument, const std::string& path, const Content& content) {
  inputs_.push_back(std::make_unique<Input>(argument, path, content, lenience_));
  return *inputs_.back();
}

Output& Files::output(const std::string& argument, const std::string& path, Secrecy secrecy) {
  outputs_.push_back(std::make_unique<Output>(argument, path, secrecy, replace_));
  return *outputs_.back();
}

void Files::refuse_conflicts() const {
  const auto refuse = [](const std::string& a, const std::string& b, const char* why) {
    throw Error(fmt::format("{} and {}: {}", a, b, why));
  };
  const std::optional<FileId> stdout_id = stdout_taken_by_.empty() ? std::nullopt : identity(STDOUT_FILENO);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Input& input = *inputs_[i];
    for (std::size_t j = 0; j < i; ++j) {
      const Input& other = *inputs_[j];
      if (input.inherited_ >= 0 && input.inherited_ == other.inherited_) {
        refuse(other.label_, input.label_,
               input.inherited_ == STDIN_FILENO ? "standard input can be read only once"
                                                : "one descriptor can be read only once");
      }
      if (input.id_ && input.id_ == other.id_ && input.id_->kind != S_IFREG) {
        refuse(other.label_, input.label_, "two inputs from one pipe or device; each needs its own");
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
        refuse(outputs_[j]->label_, output.label_,
               output.id_->kind == S_IFREG ? "two outputs to one file; each needs its own"
                                           : "two outputs to one pipe or device; each needs its own");
      }
    }
    for (const auto& input : inputs_) {
      if (output.id_ && output.id_ == input->id_ && leads_back(*output.id_)) {
        refuse(output.label_, input->label_, "the output is the input; it needs a file of its own");
      }
    }
    if (!stdout_taken_by_.empty() && (output.is_stdout_ || (output.id_ && output.id_ == stdout_id))) {
      refuse(output.label_, stdout_taken_by_, "both write to standard output; choose another file for one");
    }
  }
}

void Files::open() {
  refuse_conflicts();
  for (const auto& output : outputs_) {
    output->open();
    if (output->in_place_ && !lenience_.any_content && isatty(output->fd_.get()) == 1)
      throw Error(fmt::format("{}: is a terminal, and records are binary; accepted: a file, a pipe, or --force",
                              output->label_));
  }
}

// The regular outputs of a job belong together: ek and dk, K and c. Somebody else may be about to replace the same
// files, and the process may be killed between any two steps. Whatever happens, no file of this job stands beside one
// of another job, or beside an older one.
// - Among jobs with the same first output the name of that output decides. Who finds it free takes it, which the kernel
//   lets one of them do. Who finds it taken, and may replace it, claims it first: it locks the file that bears the
//   name. A new file is locked from before it gets the name until its companions have theirs, so a claim waits for
//   them. The locks are gone when a process is: nothing is left that could be stale. They are not those of flock(),
//   which shell scripts hold around whole commands.
// - What the companions replace is set aside before the first output gets its name. A single output replaces its
//   predecessor in one step, so that there always is one.
// - If a step fails, those before it are undone.
void Files::commit() {
  std::vector<Output*> regular;
  for (const auto& output : outputs_) {
    output->sync();
    if (!output->in_place_) regular.push_back(output.get());
  }
  if (regular.empty()) return;
  while (!place(regular)) {
  }
  for (const Output* output : regular) output->sync_folder();
}

bool Files::place(const std::vector<Output*>& outputs) {
  Output& first = *outputs.front();
  const Output::Claim claim = first.claim();  // signals still end the process while it waits
  const std::scoped_lock hold(names_lock());
  try {
    for (const Output* output : outputs) output->refuse_loss();
    for (Output* output : outputs) {
      if (output != &first) output->set_aside();
    }
    bool placed = first.place(claim.there);
    for (Output* output : outputs) {
      if (!placed) break;
      if (output == &first) continue;
      while (!output->place(false) && !output->place(true)) {
      }
    }
    if (!placed) {
      for (Output* output : outputs) output->take_back(true);
      return false;
    }
  } catch (...) {
    // Where nothing can be exchanged, what the first one replaced is gone, and its companions are of no use.
    const bool restore = first.placed_ != Output::Placed::for_good;
    for (auto output = outputs.rbegin(); output != outputs.rend(); ++output) (*output)->take_back(restore);
    throw;
  }
  for (Output* output : outputs) output->settle();
  return true;
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
  remove_temporaries_on_signals();
}

void write_stdout(const std::string& text) {
  write_all("standard output", STDOUT_FILENO, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

void write_stderr(std::initializer_list<std::string_view> parts) noexcept {
  static constinit std::atomic<bool> patient{true};
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
        // Who made it non-blocking does not want to be waited for: once, in case somebody is about to read.
        pollfd entry{STDERR_FILENO, POLLOUT, 0};
        heard = poll(&entry, 1, patient.exchange(false) ? 1000 : 0) > 0;
        if (heard) patient = true;
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
