// The files of a job: raw records in, raw records out. Regular output files appear whole or not at all: they are
// written without a name, or to a temporary beside them, and synced; commit() lets them appear together. Everything
// else (pipes, devices, what is inherited as /dev/stdout or /dev/fd/N) is written in place and never replaced.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/warpkem/error.hpp"
#include "tools/warpkem/kinds.hpp"

namespace warpkem::tool {

// Memory for records: wiped before it is freed, and kept out of core dumps. It grows with what is put
// into it, so that a large batch of which little comes costs little.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes = 0) { grow(bytes); }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer();

  // Has at least `bytes` bytes from now on. Keeps the content; may move it, without a copy left behind.
  void grow(std::size_t bytes);

  std::uint8_t* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return bytes_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) noexcept : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// Which file a path leads to: an existing one by its number, one yet to be made by its folder and name.
struct FileId {
  mode_t kind;  // S_IFREG, S_IFIFO and so on
  dev_t device;
  ino_t number;
  std::string name;
  bool operator==(const FileId&) const = default;
};

// What is no mistake of whoever gave the files.
struct Lenience {
  bool empty_inputs = false;
  bool any_content = false;  // inputs that look like something else, outputs to a terminal
};

// A file of records of one size, read from front to back.
class Input {
 public:
  // `argument` ("--ek") and `path` are what messages call it. "-" is standard input. See take_as().
  Input(const std::string& argument, const std::string& path, const Content& content, const Lenience& lenience);

  // What it holds, of an input that was opened as bytes of which none is read yet. A regular file whose length is not a
  // whole number of records, or that is empty or shows to be something else, is refused here, before anything is
  // written; what is no regular file, when it is first read.
  void take_as(const Content& content);
  // The beginning of an input of which nothing is read yet; it stays there to be read. What is no regular file is
  // waited for until `is_enough`, or until there are sample_bytes. The sample lives as long as the input.
  Sample peek(bool (*is_enough)(const Sample&));

  // Reads up to `count` records; fewer only at the end of the file. The buffer grows with what is there.
  std::size_t read(Buffer& out, std::size_t count);
  // Of content that is bytes: reads on behind the `have` bytes that are in the buffer, until there are `wanted`; fewer
  // only at the end of the file. Returns how many there are.
  std::size_t read_bytes(Buffer& out, std::size_t have, std::size_t wanted);

  std::size_t record_bytes() const noexcept { return record_bytes_; }
  // How many records the file has in all; known of regular files only.
  std::optional<std::uint64_t> records() const noexcept { return records_; }
  std::uint64_t records_read() const noexcept { return records_read_; }
  // Where record number `record` begins.
  std::uint64_t offset(std::uint64_t record) const noexcept { return start_ + record * record_bytes_; }
  // "--ek keys.bin"
  const std::string& label() const noexcept { return label_; }

 private:
  friend class Files;
  std::size_t read_some(std::uint8_t* out, std::size_t room);
  [[noreturn]] void refuse_partial(std::uint64_t record, std::uint64_t left, const Sample& sample) const;
  // Refuses what the beginning shows to be wrong. Once.
  void look(const Sample& sample);

  std::string label_;
  Content content_;
  Lenience lenience_;
  std::size_t record_bytes_;
  bool looked_ = false;
  FileDescriptor fd_;
  int inherited_ = -1;  // the descriptor that the path names
  std::optional<FileId> id_;
  std::uint64_t start_ = 0;             // offset of the first record
  std::optional<std::uint64_t> bytes_;  // behind it, of a regular file
  std::optional<std::uint64_t> records_;
  Buffer beginning_;                                                    // for peek()
  std::size_t beginning_bytes_ = 0, ahead_bytes_ = 0, ahead_used_ = 0;  // of these, those that were read for peek()
  std::uint64_t records_read_ = 0;
};

enum class Secrecy { open, secret };  // a secret file has mode 0600
// What may stand where an output is to appear. Without `everything`, what may hold secrets must not: whatever is not
// empty where a secret is to appear, and what looks like secrets where anything else is.
enum class Replace { what_is_public, everything };

class Output {
 public:
  Output(const std::string& argument, const std::string& path, Secrecy secrecy, Replace replace);
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(const std::uint8_t* data, std::size_t bytes);

 private:
  friend class Files;
  enum class Placed { no, where_nothing_was, by_exchange, for_good };
  struct Claim {
    bool there;  // something bears the name
    FileDescriptor lock;
  };

  void open();  // makes the file that will appear, or opens what is written in place
  void sync();  // everything is on the disk
  // Throws if what is there must not be replaced: at the target, or behind a descriptor at its position.
  void refuse_loss(int in_place = -1) const;

  // The steps of Files::commit(); from set_aside() on, signals must be held.
  Claim claim() const;                    // waits until nobody else is replacing what bears the name
  void set_aside();                       // what bears the name gets another one
  bool place(bool there);                 // gives the file its name; false if the name is taken (there: free)
  void take_back(bool restore) noexcept;  // undoes place() and, to restore what was there, set_aside()
  void settle() noexcept;                 // nothing will be undone: what was replaced goes
  void sync_folder() const;

  void remove_temporary() noexcept;
  int link_nameless(const std::string& name) const;

  std::string label_;
  Secrecy secrecy_;
  Replace replace_;
  FileDescriptor fd_;
  bool is_stdout_ = false;
  bool in_place_ = false;
  std::uint64_t written_ = 0, started_ = 0;  // bytes; those that are on their way to the disk
  std::string target_;                       // resolved path
  std::optional<FileId> id_;
  FileDescriptor folder_;       // where the target lies
  std::string name_;            // its name there
  std::string temporary_;       // that of the file until then, and of what it was exchanged for; empty: it has none
  std::string aside_;           // that of what was set aside; empty: nothing was
  std::optional<mode_t> mode_;  // of the file that is replaced
  Placed placed_ = Placed::no;
};

// All files of one job, and the rules between them.
class Files {
 public:
  explicit Files(Replace replace) : replace_(replace) {}

  Input& input(const std::string& argument, const std::string& path, const Content& content);
  // Outputs are written and appear in the order in which they are added: secrets first.
  Output& output(const std::string& argument, const std::string& path, Secrecy secrecy);

  void allow(const Lenience& lenience) { lenience_ = lenience; }
  // Standard output will carry something else.
  void reserve_stdout(std::string argument) { stdout_taken_by_ = std::move(argument); }

  // Refuses files that stand in each other's way: before anything is waited for, and again by open().
  void refuse_conflicts() const;
  // Opens the outputs.
  void open();
  // Makes the regular outputs appear, each whole, and all or none.
  void commit();

 private:
  bool place(const std::vector<Output*>& outputs);

  Replace replace_;
  Lenience lenience_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::string stdout_taken_by_;
};

// Before anything else of the process: standard descriptors exist, broken pipes and size limits are errors of write(),
// and signals end the process as ever, but not before temporaries are gone.
void prepare_process();

// Writes to standard output, or throws.
void write_stdout(const std::string& text);

// Writes to standard error, the parts as one text. Nobody may listen there: it may be closed, full or a broken pipe.
// That changes nothing else, the exit status least of all.
void write_stderr(std::initializer_list<std::string_view> parts) noexcept;
inline void write_stderr(std::string_view text) noexcept { write_stderr({text}); }

}  // namespace warpkem::tool
