#include "tools/warpkem/keys/pem.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "tools/warpkem/keys/base64.hpp"

#ifdef WARPKEM_TOOL_HAS_OPENSSL
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <memory>
#endif

namespace warpkem::tool {
namespace {

constexpr std::size_t line_chars = 64;

// A body in the form that RFC 7468 says generators write (Section 2): lines of 64 characters, the last one shorter, LF
// alone. Returns the number of bytes; npos: it has another form.
std::size_t decode_usual(std::string_view body, std::uint8_t* out) {
  constexpr std::size_t whole = line_chars + 1;
  const std::size_t lines = body.size() / whole, rest = body.size() % whole;
  if (body.empty() || body.back() != '\n' || (rest != 0 && rest % 4 != 1) || rest == 1) return npos;
  for (std::size_t i = 0; i < lines; ++i) {
    if (body[i * whole + line_chars] != '\n') return npos;
  }
  // The last four characters may have padding: as many bytes less.
  const std::size_t chars = rest != 0 ? rest - 1 : line_chars, full_lines = rest != 0 ? lines : lines - 1;
  const char* text = body.data();
  std::uint8_t* const begin = out;
  for (std::size_t i = 0; i < full_lines; ++i, text += whole, out += line_chars / 4 * 3) {
    if (!decode_base64(text, line_chars, out)) return npos;
  }
  if (!decode_base64(text, chars - 4, out)) return npos;
  out += (chars - 4) / 4 * 3;
  char last[4];
  std::copy_n(text + chars - 4, 4, last);
  const std::size_t padding = last[3] != '=' ? 0 : last[2] != '=' ? 1 : 2;
  std::fill_n(last + 4 - padding, padding, 'A');
  std::uint8_t decoded[3];
  if (!decode_base64(last, 4, decoded) || (padding != 0 && decoded[3 - padding] != 0)) return npos;
  std::copy_n(decoded, 3 - padding, out);
  return static_cast<std::size_t>(out - begin) + 3 - padding;
}

#ifdef WARPKEM_TOOL_HAS_OPENSSL
// Any other form that OpenSSL takes: CR LF, lines of other lengths, spaces at the ends of lines.
std::size_t decode_other(std::string_view block, std::uint8_t* out, std::string& error) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new_mem_buf(block.data(), static_cast<int>(block.size())),
                                                         &BIO_free);
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long bytes = 0;
  ERR_set_mark();
  const bool good = memory != nullptr && PEM_read_bio(memory.get(), &name, &header, &data, &bytes) == 1;
  if (!good) {
    const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
    error = fmt::format("not PEM that OpenSSL can read: {}", reason != nullptr ? reason : "no reason given");
  } else if (header[0] != '\0') {
    error = "has header lines, which keys do not have (RFC 7468, Section 2)";
  } else {
    std::copy_n(data, bytes, out);
  }
  ERR_pop_to_mark();
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_clear_free(data, static_cast<std::size_t>(bytes));
  return error.empty() ? static_cast<std::size_t>(bytes) : 0;
}
#else
std::size_t decode_other(std::string_view, std::uint8_t*, std::string& error) {
  error = "not in the form of RFC 7468, Section 2 (lines of 64 characters); this build has no OpenSSL for other forms";
  return 0;
}
#endif

}  // namespace

std::size_t next_pem_block(std::string_view text, std::size_t from) { return text.find(pem_begin, from); }

PemBlock read_pem_block(std::string_view text, std::size_t at, std::uint8_t* out) {
  PemBlock block;
  const auto refuse = [&](std::size_t where, std::string rule) {
    block.error_at = where;
    block.error = std::move(rule);
    if (block.end == 0) block.end = std::min(next_pem_block(text, at + 1), text.size());
    return block;
  };
  const std::size_t label_at = at + pem_begin.size(), line_end = std::min(text.find('\n', at), text.size());
  const std::size_t label_end = text.substr(0, line_end).find(pem_dashes, label_at);
  if (label_end == npos) return refuse(at, "the BEGIN line has no end");
  block.label = text.substr(label_at, label_end - label_at);
  if (block.label.empty()) return refuse(at, "the BEGIN line has no label");
  // Base64 has no dash, so the next one begins the END line, or should.
  const std::size_t body_at = std::min(line_end + 1, text.size());
  const std::size_t dash = text.find('-', body_at);
  const std::string end_line = fmt::format("{}{}{}", pem_end, block.label, pem_dashes);
  const bool ends_here = dash != npos && text.substr(dash).starts_with(end_line);
  if (ends_here) {
    block.end = dash + end_line.size();
    if (dash == body_at) return refuse(at, "holds nothing");
    const std::size_t after_label = label_end + pem_dashes.size();
    const std::size_t bytes = after_label == line_end ? decode_usual(text.substr(body_at, dash - body_at), out) : npos;
    if (bytes != npos) {
      block.bytes = bytes;
      return block;
    }
  } else {
    const std::size_t next = std::min(next_pem_block(text, at + 1), text.size()), end = text.find(end_line, at);
    if (end == npos || end >= next) return refuse(at, fmt::format("no line {}", end_line));
    block.end = end + end_line.size();
  }
  if (const std::size_t nul = text.substr(0, block.end).find('\0', at); nul != npos) return refuse(nul, "has a NUL");
  std::string error;
  block.bytes = decode_other(text.substr(at, block.end - at), out, error);
  return error.empty() ? block : refuse(at, std::move(error));
}

std::size_t pem_block_chars(std::string_view label, std::size_t bytes) {
  const std::size_t chars = (bytes + 2) / 3 * 4;
  return pem_begin.size() + pem_end.size() + 2 * (label.size() + pem_dashes.size() + 1) + chars +
         (chars + line_chars - 1) / line_chars;
}

void write_pem_block(std::string_view label, const std::uint8_t* data, std::size_t bytes, char* out) {
  const auto put = [&out](std::string_view text) { out += text.copy(out, text.size()); };
  put(pem_begin), put(label), put(pem_dashes), put("\n");
  while (bytes > 0) {
    const std::size_t here = std::min<std::size_t>(bytes, line_chars / 4 * 3);
    out += encode_base64(data, here, out);
    put("\n");
    data += here, bytes -= here;
  }
  put(pem_end), put(label), put(pem_dashes), put("\n");
}

}  // namespace warpkem::tool
