#include "tools/warpkem/keys/key_stream.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "tools/warpkem/keys/pem.hpp"
#include "tools/warpkem/threads.hpp"

namespace warpkem::tool {
namespace {

// A chunk is some thousand keys: enough for every thread and for the batches of the engine.
constexpr std::size_t chunk_bytes = std::size_t{8} << 20;
// No key comes near; certificates with composite signatures have some 20 KiB.
constexpr std::size_t longest_object = std::size_t{1} << 20;

// What the label of a PEM block promises.
bool is_kept(std::string_view label, std::uint32_t encoding) {
  switch (encoding) {
    case WARPKEM_ENCODING_PUBLIC:
    case WARPKEM_ENCODING_PUBLIC_XWING:
      return label == "PUBLIC KEY";
    case WARPKEM_ENCODING_CERTIFICATE:
      return label == "CERTIFICATE" || label == "X509 CERTIFICATE";
    case WARPKEM_ENCODING_ENCRYPTED:
      return label == "ENCRYPTED PRIVATE KEY";
    default:
      return label == "PRIVATE KEY";
  }
}

// The length of the SEQUENCE that begins here, header included, as far as its header tells; 0: it is none of definite
// length; npos: the header is not there whole.
std::size_t sequence_bytes(const std::uint8_t* der, std::size_t available) {
  if (available == 0) return npos;
  if (der[0] != 0x30) return 0;
  if (available < 2) return npos;
  if (der[1] < 0x80) return std::size_t{2} + der[1];
  const std::size_t octets = der[1] & 0x7fu;
  if (octets == 0 || octets > 7) return 0;
  if (available < 2 + octets) return npos;
  std::size_t length = 0;
  for (std::size_t i = 0; i < octets; ++i) length = length << 8 | der[2 + i];
  return 2 + octets + length;
}

// What the library says of an object, without the place, which it names first.
std::string rule_of_last_error() {
  const std::string text = warpkem_last_error();
  const std::size_t colon = text.starts_with("byte offset ") ? text.find(": ") : npos;
  return colon == npos ? text : text.substr(colon + 2);
}

}  // namespace

KeyStream::KeyStream(Input& input, KeyFormat format, unsigned threads, Passphrase& passphrase)
    : input_(input),
      format_(format),
      threads_(threads != WARPKEM_THREADS_AUTO ? threads : std::max(1u, std::thread::hardware_concurrency())),
      passphrase_(passphrase),
      base_(input.offset(0)) {}

void KeyStream::begin_with(const std::uint8_t* data, std::size_t bytes) {
  chunk_.grow(chunk_bytes);
  std::copy_n(data, bytes, chunk_.data());
  have_ = bytes;
}

KeyStream::Piece& KeyStream::piece(std::size_t i) {
  while (pieces_.size() <= i) pieces_.emplace_back();
  return pieces_[i];
}

KeyObject& KeyStream::at(std::size_t i) {
  std::size_t p = 0;
  for (; i >= pieces_[p].objects.size(); ++p) i -= pieces_[p].objects.size();
  return pieces_[p].objects[i];
}

KeyObject& KeyStream::add_failure(Piece& piece, std::uint64_t offset, std::string error) {
  KeyObject& object = piece.objects.emplace_back();
  object.offset = offset;
  object.status = WARPKEM_INVALID_ENCODING;
  object.error = std::move(error);
  return object;
}

// What no piece has covered moves to the front, and the rest of the chunk is filled.
bool KeyStream::fill() {
  if (done_ > 0) std::memmove(chunk_.data(), chunk_.data() + done_, have_ - done_);
  base_ += done_;
  have_ -= done_;
  done_ = 0;
  if (!at_end_) {
    have_ = input_.read_bytes(chunk_, have_, chunk_bytes);
    at_end_ = have_ < chunk_bytes;
  }
  return have_ > 0;
}

bool KeyStream::next() {
  num_pieces_ = count_ = 0;
  while (count_ == 0 && !is_over_ && fill()) {
    if (skip_ > 0) {
      done_ = static_cast<std::size_t>(std::min<std::uint64_t>(skip_, have_));
      skip_ -= done_;
      continue;
    }
    if (format_ == KeyFormat::automatic) {
      // A PEM file may begin with any text, but DER begins with a SEQUENCE.
      format_ = chunk_.data()[0] == 0x30 ? KeyFormat::der : KeyFormat::pem;
    }
    num_pieces_ = 0;
    format_ == KeyFormat::der ? cut_der() : cut_pem();
    for (std::size_t i = 0; i < num_pieces_; ++i) count_ += pieces_[i].objects.size();
  }
  return count_ > 0;
}

void KeyStream::work(void (KeyStream::*read)(Piece&)) {
  for (std::size_t i = 0; i < num_pieces_; ++i) {
    pieces_[i].objects.clear();
    // Room for what is decoded, and for what is decrypted of it.
    pieces_[i].decoded.grow(2 * pieces_[i].text.size());
  }
  Threads helpers([] {});
  for (std::size_t i = 1; i < num_pieces_; ++i) {
    helpers.start("reading keys", [&, i] { return std::thread([&, i] { (this->*read)(pieces_[i]); }); });
  }
  (this->*read)(pieces_[0]);
}

// ---- PEM ----

// Whole blocks, in as many pieces as there are threads. A piece begins with a BEGIN line, where a block that has no end
// ends too.
void KeyStream::cut_pem() {
  const std::string_view text(reinterpret_cast<const char*>(chunk_.data()), have_);
  std::size_t end = text.size();
  if (!at_end_) {
    // The last block may go on.
    end = text.rfind(pem_begin);
    if (end == npos) {  // text that is no block: its end may be the beginning of one
      done_ = text.size() - std::min(text.size(), pem_begin.size());
      return;
    }
    if (end == 0) {
      // One block, and perhaps text behind it. Without an END line it is longer than a chunk: it is refused, and its
      // rest is text.
      const std::size_t end_line = text.find(pem_end, 1);
      end = std::min(end_line == npos ? npos : text.find('\n', end_line), text.size());
    }
  }
  done_ = end;
  const std::size_t num = std::min<std::size_t>(threads_, end / longest_object + 1);
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= num && begin < end; ++i) {
    const std::size_t cut = i == num ? end : std::min(next_pem_block(text, std::max(begin + 1, end / num * i)), end);
    Piece& p = piece(num_pieces_++);
    p.text = text.substr(begin, cut - begin);
    p.offset = base_ + begin;
    begin = cut;
  }
  work(&KeyStream::read_pem);
}

void KeyStream::read_pem(Piece& piece) {
  std::size_t used = 0;
  for (std::size_t at = next_pem_block(piece.text, 0); at != npos; at = next_pem_block(piece.text, at)) {
    std::uint8_t* const out = piece.decoded.data() + used;
    const PemBlock block = read_pem_block(piece.text, at, out);
    if (!block.error.empty()) {
      add_failure(piece, piece.offset + at,
                  block.error_at == at
                      ? block.error
                      : fmt::format("{} at byte offset {}", block.error, piece.offset + block.error_at));
    } else if (block.bytes > longest_object) {
      add_failure(piece, piece.offset + at,
                  fmt::format("has {} bytes; no key has more than {}", block.bytes, longest_object));
    } else {
      KeyObject& object = piece.objects.emplace_back();
      object.offset = piece.offset + at;
      decode(object, out, block.bytes, out + block.bytes, block.label);
      used += object.was_encrypted ? 2 * block.bytes : block.bytes;
    }
    at = block.end;
  }
}

// ---- DER ----

// Whole objects. Where one has no length there is no next one.
void KeyStream::cut_der() {
  Piece& p = piece(num_pieces_++);
  const std::uint8_t* const der = chunk_.data();
  std::size_t end = 0;
  while (end < have_) {
    const std::size_t bytes = sequence_bytes(der + end, have_ - end);
    if (bytes == 0 || bytes == npos || bytes > longest_object) break;
    if (bytes > have_ - end && !at_end_) break;
    end = std::min(end + bytes, have_);
  }
  p.text = std::string_view(reinterpret_cast<const char*>(der), end);
  p.offset = base_;
  done_ = end;
  work(&KeyStream::read_der);
  if (end == have_) return;
  const std::size_t bytes = sequence_bytes(der + end, have_ - end);
  const bool may_go_on = !at_end_ && bytes != 0 && (bytes == npos || bytes <= longest_object);
  if (may_go_on) return;
  done_ = have_;
  if (bytes != 0 && bytes != npos) {
    add_failure(p, base_ + end, fmt::format("has {} bytes; no key has more than {}", bytes, longest_object));
    // Of what is longer than any file nothing follows.
    if (bytes > have_ - end) skip_ = bytes - (have_ - end);
    if (bytes <= have_ - end) done_ = end + bytes;
    return;
  }
  KeyObject& object = add_failure(p, base_ + end, "");
  decode(object, der + end, std::min(have_ - end, std::size_t{16}), nullptr, "");
  object.error += "; where the next object begins cannot be told, so nothing behind it is read";
  is_over_ = true;
}

void KeyStream::read_der(Piece& piece) {
  const auto* const text = reinterpret_cast<const std::uint8_t*>(piece.text.data());
  for (std::size_t at = 0; at < piece.text.size();) {
    const std::size_t bytes = std::min(sequence_bytes(text + at, piece.text.size() - at), piece.text.size() - at);
    KeyObject& object = piece.objects.emplace_back();
    object.offset = piece.offset + at;
    decode(object, text + at, bytes, piece.decoded.data() + at, "");
    at += bytes;
  }
}

// ---- both ----

// `room` is for as many bytes, if it is encrypted. Without a label, places are those of the file.
void KeyStream::decode(KeyObject& object, const std::uint8_t* der, std::size_t bytes, std::uint8_t* room,
                       std::string_view label) {
  object.key.struct_size = sizeof object.key;
  const auto refuse = [&](warpkem_status status, std::string rule) {
    object.status = static_cast<std::uint8_t>(status);
    object.error = std::move(rule);
  };
  warpkem_status status = warpkem_decode_key(der, bytes, &object.key);
  if (!label.empty() && status == WARPKEM_OK && !is_kept(label, object.key.encoding)) {
    return refuse(WARPKEM_INVALID_ENCODING, fmt::format("a block with BEGIN {} that holds something else", label));
  }
  const bool decrypts = status == WARPKEM_OK && object.key.encoding == WARPKEM_ENCODING_ENCRYPTED && room != nullptr;
  if (decrypts) {
    object.was_encrypted = true;
    std::string error;
    const std::size_t plain_bytes = passphrase_.decrypt({der, bytes}, room, error);
    if (plain_bytes == 0) return refuse(WARPKEM_UNSUPPORTED, std::move(error));
    status = warpkem_decode_key(room, plain_bytes, &object.key);
  }
  if (status == WARPKEM_OK) return;
  if (status != WARPKEM_INVALID_ENCODING && status != WARPKEM_UNSUPPORTED) {
    return refuse(status, warpkem_last_error());
  }
  std::string rule = rule_of_last_error();
  if (decrypts) {
    rule = fmt::format("byte offset {} of what was encrypted: {}", object.key.error_at, rule);
  } else if (!label.empty()) {
    rule = fmt::format("byte offset {} of its DER: {}", object.key.error_at, rule);
  } else if (object.key.error_at != 0) {
    rule = fmt::format("byte offset {}: {}", object.offset + object.key.error_at, rule);
  }
  refuse(status, std::move(rule));
}

}  // namespace warpkem::tool
