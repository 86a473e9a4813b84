// The tool's readers of PEM and DER files. The bytes are cut at random into what a pipe gives, read in chunks and by
// several threads: it must come out as from a reader of one thread.
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.hpp"
#include "tools/warpkem/keys/key_stream.hpp"
#include "tools/warpkem/keys/pem.hpp"

using namespace warpkem::fuzz;
namespace tool = warpkem::tool;

namespace {

struct Seen {
  std::uint64_t offset;
  std::uint8_t status;
  std::string error;
  Bytes ek;
  bool operator==(const Seen&) const = default;
};

std::vector<Seen> read(int fd, unsigned threads, tool::KeyFormat format) {
  if (lseek(fd, 0, SEEK_SET) != 0) die("lseek");
  tool::Passphrase passphrase({});
  tool::Input input("--in", "/dev/fd/" + std::to_string(fd), {tool::RecordKind::bytes, 0}, {});
  tool::KeyStream stream(input, format, threads, passphrase);
  std::vector<Seen> all;
  while (stream.next()) {
    stream.each(0, stream.count(), [&](const tool::KeyObject& object) {
      Seen seen{object.offset, object.status, object.error, {}};
      if (object.status == WARPKEM_OK && object.key.ek != nullptr) {
        seen.ek.assign(object.key.ek, object.key.ek + warpkem_size(object.key.algorithm, WARPKEM_SIZE_EK));
      }
      if ((object.status == WARPKEM_OK) != object.error.empty()) die("an object fails without a reason, or has one");
      all.push_back(std::move(seen));
    });
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  Input input(data, bytes);
  const std::uint8_t shape = input.byte();
  // Good blocks, with the fuzzer's text between them: so the fuzzer need not find the Base64 of a key.
  const Good& g = good(shape % 3);
  Bytes der(warpkem_encoded_bytes(g.algorithm, WARPKEM_ENCODING_PUBLIC)), file;
  if (warpkem_encode_keys(g.algorithm, WARPKEM_ENCODING_PUBLIC, 1, in(g.ek), {nullptr, 0, 0}, out(der)) != WARPKEM_OK) {
    die("encode");
  }
  Bytes block(tool::pem_block_chars("PUBLIC KEY", der.size()));
  tool::write_pem_block("PUBLIC KEY", der.data(), der.size(), reinterpret_cast<char*>(block.data()));
  const bool is_pem = (shape & 0x80) != 0;
  while (!input.empty()) {
    const std::uint8_t what = input.byte();
    Bytes piece = is_pem ? block : der;
    if (what < 64) {
      input.edit(piece);
    } else if (what < 128) {
      piece.resize(input.word() % (piece.size() + 1));
    } else if (what < 250) {
      piece.clear();
      for (std::size_t i = what % 16; i != 0 && !input.empty(); --i) piece.push_back(input.byte());
    }
    file.insert(file.end(), piece.begin(), piece.end());
  }
  const int fd = memfd_create("keys", MFD_CLOEXEC);
  if (fd < 0 || write(fd, file.data(), file.size()) != static_cast<ssize_t>(file.size())) die("memfd");
  const auto format = (shape & 0x40) != 0 ? tool::KeyFormat::automatic
                      : is_pem            ? tool::KeyFormat::pem
                                          : tool::KeyFormat::der;
  const auto one = read(fd, 1, format), three = read(fd, 3, format);
  if (one != three) die("threads read something else");
  close(fd);
  return 0;
}
