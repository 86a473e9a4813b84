#include "tests/ct/stepper/taint.hpp"

#include <cstdio>
#include <cstring>

namespace stepper {

namespace {

constexpr u64 low_bits(u32 number) { return number >= 64 ? ~u64{0} : (u64{1} << number) - 1; }

// Each group of `size` bytes that has a mark is all marks.
u64 by_elements(u64 marks, u32 size) {
  if (size <= 1 || marks == 0) return marks;
  if (size >= 64) return ~u64{0};
  u64 out = 0;
  for (u32 at = 0; at < 64; at += size) {
    const u64 element = low_bits(size) << at;
    if (marks & element) out |= element;
  }
  return out;
}

// 0xff for a marked byte, 0 for another.
void to_bytes(u64 marks, u8 out[64]) {
  for (int i = 0; i < 64; ++i) out[i] = static_cast<u8>(0 - (marks >> i & 1));
}
u64 to_bytes(u8 marks) {
  u64 out = 0;
  for (int i = 0; i < 8; ++i) out |= u64{static_cast<u8>(0 - (marks >> i & 1))} << (8 * i);
  return out;
}
u64 to_marks(const u8 bytes[64]) {
  u64 out = 0;
  for (int i = 0; i < 64; ++i) out |= u64{bytes[i] != 0} << i;
  return out;
}
u8 to_marks(u64 bytes) {
  u8 out = 0;
  for (int i = 0; i < 8; ++i) out = static_cast<u8>(out | (((bytes >> (8 * i)) & 0xff) != 0) << i);
  return out;
}

// The marks of memory: a table of pages, each a bit for a byte.
struct Page {
  u64 number;  // plus one; 0: free
  u64* marks;
};
constexpr std::size_t num_pages = std::size_t{1} << 16;

Page* page_table() {
  static Page* table = static_cast<Page*>(pages(num_pages * sizeof(Page)));
  return table;
}

u64* find_page(u64 address, bool make) {
  static Page last{0, nullptr};
  static u64* store = static_cast<u64*>(pages(num_pages / 2 * 512));
  static std::size_t used = 0;
  const u64 number = (address >> 12) + 1;
  if (last.number == number) return last.marks;
  Page* table = page_table();
  std::size_t at = (number * 0x9e3779b97f4a7c15u) >> 48;
  while (table[at].number != 0 && table[at].number != number) at = (at + 1) % num_pages;
  if (table[at].number == 0) {
    if (!make) return nullptr;
    if (used == num_pages / 2) give_up("too much memory with secrets", address);
    table[at] = {number, store + 64 * used++};
  }
  last = table[at];
  return last.marks;
}

u64 word_of(u64 address) {  // of the 64 bytes from an address that is a multiple of 64
  const u64* page = find_page(address, false);
  return page == nullptr ? 0 : page[(address >> 6) & 63];
}

void set_word(u64 address, u64 which, u64 marks) {
  u64* page = find_page(address, (which & marks) != 0);
  if (page == nullptr) return;
  u64& word = page[(address >> 6) & 63];
  word = (word & ~which) | (marks & which);
}

u64 random_bits() {
  static u64 x = 0x2545f4914f6cdd1d;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x * 0x9e3779b97f4a7c15u;
}

// The value of an operand, up to 64 bytes; one element that is broadcast, in each place.
void value_of(const Operand& operand, const State& state, u64 address, u8 out[64]) {
  std::memset(out, 0, 64);
  switch (operand.kind) {
    case Kind::general: {
      const u64 value = state.gpr[operand.number] >> (8 * operand.first_byte);
      std::memcpy(out, &value, operand.bytes);
      return;
    }
    case Kind::vector:
      return state.vector(operand.number, out);
    case Kind::mask: {
      const u64 value = state.mask(operand.number);
      std::memcpy(out, &value, 8);
      return;
    }
    case Kind::memory:
      if (!operand.access) return;
      std::memcpy(out, reinterpret_cast<const void*>(address), operand.bytes);
      if (operand.broadcast) {
        for (u32 at = operand.bytes; at < 64; at += operand.bytes) std::memcpy(out + at, out, operand.bytes);
      }
      return;
    case Kind::immediate:
      return;
  }
}

// Whether a shift by cl leaves value and flags alone.
bool shifts_by_nothing(const Instruction& instruction, const State& state) {
  const u64 most = instruction.operand[0].bytes == 8 ? 63 : 31;
  return instruction.count_in_cl && (state.gpr[reg_rcx] & most) == 0;
}

}  // namespace

u64 Taint::memory(u64 address, u32 bytes) const noexcept {
  const u32 shift = address & 63;
  u64 marks = word_of(address & ~u64{63}) >> shift;
  if (shift + bytes > 64) marks |= word_of((address & ~u64{63}) + 64) << (64 - shift);
  return marks & low_bits(bytes);
}

void Taint::set_memory(u64 address, u32 bytes, u64 marks) noexcept {
  const u32 shift = address & 63;
  const u64 which = low_bits(bytes);
  set_word(address & ~u64{63}, which << shift, marks << shift);
  if (shift + bytes > 64) set_word((address & ~u64{63}) + 64, which >> (64 - shift), marks >> (64 - shift));
}

bool Taint::any_memory(u64 address, u64 bytes) const noexcept {
  for (; bytes > 64; address += 64, bytes -= 64) {
    if (memory(address, 64) != 0) return true;
  }
  return bytes != 0 && memory(address, static_cast<u32>(bytes)) != 0;
}

void Taint::fill_memory(u64 address, u64 bytes, bool secret) noexcept {
  const u64 marks = secret ? ~u64{0} : 0;
  for (; bytes > 64; address += 64, bytes -= 64) set_memory(address, 64, marks);
  if (bytes != 0) set_memory(address, static_cast<u32>(bytes), marks);
}

void Taint::copy_memory(u64 to, u64 from, u64 bytes) noexcept {
  for (; bytes != 0; ++to, ++from, --bytes) set_memory(to, 1, memory(from, 1));
}

u64 Taint::input(const Operand& operand, u64 address) const noexcept {
  switch (operand.kind) {
    case Kind::general:
      return (general[operand.number] >> operand.first_byte) & low_bits(operand.bytes);
    case Kind::vector:
      return vector[operand.number] & low_bits(operand.bytes);
    case Kind::mask:
      return mask[operand.number];
    case Kind::memory: {
      if (!operand.access) {  // the address itself, as lea takes it
        return (operand.base >= 0 ? u64{general[operand.base]} : 0) |
               (operand.index >= 0 ? u64{general[operand.index]} : 0);
      }
      u64 marks = memory(address, operand.bytes);
      if (operand.broadcast) {
        for (u32 at = operand.bytes; at < 64; at *= 2) marks |= marks << at;
      }
      return marks;
    }
    case Kind::immediate:
      break;
  }
  return 0;
}

void Taint::output(const Instruction& instruction, const Operand& operand, u64 address, u64 marks) noexcept {
  marks &= operand.kind == Kind::mask ? ~u64{0} : low_bits(operand.bytes);
  switch (operand.kind) {
    case Kind::general: {
      u8& all = general[operand.number];
      const auto which = static_cast<u8>(operand.bytes >= 4 ? 0xff : low_bits(operand.bytes) << operand.first_byte);
      all = static_cast<u8>((all & ~which) | static_cast<u8>(marks << operand.first_byte));
      return;
    }
    case Kind::vector: {
      const u64 which = instruction.vex ? ~u64{0} : low_bits(operand.bytes);
      vector[operand.number] = (vector[operand.number] & ~which) | marks;
      return;
    }
    case Kind::mask:
      mask[operand.number] = marks;
      return;
    case Kind::memory:
      if (operand.access) set_memory(address, operand.bytes, marks);
      return;
    case Kind::immediate:
      return;
  }
}

// What a write mask makes of a result, element by element.
u64 Taint::masked(const Instruction& instruction, const State& before, u64 result, u64 old) const noexcept {
  if (instruction.mask == 0) return result;
  const u64 taken = before.mask(instruction.mask), secret = mask[instruction.mask];
  const u32 size = instruction.operand[0].element;
  u64 out = 0;
  for (u32 i = 0; i * size < 64; ++i) {
    const u64 element = low_bits(size) << (i * size);
    out |= element & ((taken >> i & 1) != 0 ? result : instruction.merging ? old : 0);
    if (secret >> i & 1) out |= element;
  }
  return out;
}

// The processor itself moves the marks.
void Taint::move(const Instruction& instruction, const State& before, const u64* addresses) noexcept {
  static State marks;
  marks = before;
  u8 bytes[64];
  u8* buffer = instruction.data_buffer;
  const Operand* in_memory = nullptr;
  u64 memory_address = 0;
  for (int i = 0; i < instruction.operands; ++i) {
    const Operand& operand = instruction.operand[i];
    if (operand.control) {
      if (operand.kind == Kind::memory) value_of(operand, before, addresses[i], buffer);
      continue;
    }
    switch (operand.kind) {
      case Kind::general:
        marks.gpr[operand.number] = to_bytes(general[operand.number]);
        break;
      case Kind::vector:
        to_bytes(vector[operand.number], bytes);
        marks.set_vector(operand.number, bytes);
        break;
      case Kind::mask:
        marks.set_mask(operand.number, mask[operand.number]);
        break;
      case Kind::memory:
        in_memory = &operand;
        memory_address = addresses[i];
        to_bytes(memory(addresses[i], operand.bytes), buffer);
        break;
      case Kind::immediate:
        break;
    }
  }
  // A register that is a control and data as well keeps its value.
  for (int i = 0; i < instruction.operands; ++i) {
    const Operand& operand = instruction.operand[i];
    if (!operand.control) continue;
    if (operand.kind == Kind::general) marks.gpr[operand.number] = before.gpr[operand.number];
    if (operand.kind == Kind::vector) {
      before.vector(operand.number, bytes);
      marks.set_vector(operand.number, bytes);
    }
  }
  if (instruction.mask != 0) marks.set_mask(instruction.mask, before.mask(instruction.mask));
  execute(marks, instruction.data_stub, instruction.general_only);
  for (int i = 0; i < instruction.operands; ++i) {
    const Operand& operand = instruction.operand[i];
    if (!operand.writes) continue;
    switch (operand.kind) {
      case Kind::general:
        general[operand.number] = to_marks(marks.gpr[operand.number]);
        break;
      case Kind::vector:
        marks.vector(operand.number, bytes);
        vector[operand.number] = to_marks(bytes);
        break;
      case Kind::mask:
        mask[operand.number] = marks.mask(operand.number);
        break;
      default:
        break;
    }
  }
  if (in_memory != nullptr && in_memory->writes) {
    set_memory(memory_address, in_memory->bytes, to_marks(buffer) & low_bits(in_memory->bytes));
  }
}

// And, or, and-not, and vpternlog: bit by bit, a public input may hide a secret one.
u64 Taint::logic(const Instruction& instruction, const State& before, const u64* addresses) const noexcept {
  alignas(64) u8 values[3][64] = {}, marks[3][64] = {};
  int sources = 0;
  for (int i = 0; i < instruction.operands && sources < 3; ++i) {
    const Operand& operand = instruction.operand[i];
    if (!operand.reads || operand.merged) continue;
    value_of(operand, before, addresses[i], values[sources]);
    to_bytes(input(operand, addresses[i]), marks[sources]);
    ++sources;
  }
  if (sources == 1) {
    if (instruction.has_immediate) {
      std::memcpy(values[1], &instruction.immediate, 8);
    } else {
      std::memcpy(values[1], values[0], 64);
      std::memcpy(marks[1], marks[0], 64);
    }
  }
  u64 out = 0;
  for (int byte = 0; byte < 64; ++byte) {
    const u8 va = values[0][byte], vb = values[1][byte], vc = values[2][byte];
    const u8 ta = marks[0][byte], tb = marks[1][byte], tc = marks[2][byte];
    int secret = 0;
    switch (instruction.rule) {
      case Rule::bit_and:
        secret = (ta | va) & (tb | vb) & (ta | tb);
        break;
      case Rule::bit_or:
        secret = (ta | ~va) & (tb | ~vb) & (ta | tb);
        break;
      case Rule::bit_andn:
        secret = (ta | ~va) & (tb | vb) & (ta | tb);
        break;
      case Rule::ternary: {
        int zero = 0, one = 0;  // bits that can come out as that
        for (int row = 0; row < 8; ++row) {
          const int a = row & 4 ? va : ~va, b = row & 2 ? vb : ~vb, c = row & 1 ? vc : ~vc;
          const int reached = (ta | a) & (tb | b) & (tc | c);
          (instruction.immediate >> row & 1 ? one : zero) |= reached;
        }
        secret = zero & one;
        break;
      }
      default:
        secret = ta | tb;
    }
    if ((secret & 0xff) != 0) out |= u64{1} << byte;
  }
  return out;
}

// All outputs are public. An 8- or 16-bit destination, or one of SSE, keeps the marks of its other bytes: output() sees
// to that.
void Taint::clear(const Instruction& instruction, const State& before, const u64* addresses) noexcept {
  for (int i = 0; i < instruction.operands; ++i) {
    if (instruction.operand[i].writes) output(instruction, instruction.operand[i], addresses[i], 0);
  }
  flags &= ~((shifts_by_nothing(instruction, before) ? 0 : instruction.flags_written) | instruction.flags_cleared);
}

void Taint::propagate(const Instruction& instruction, const State& before, const u64* addresses) noexcept {
  const bool keeps_flags = shifts_by_nothing(instruction, before);
  const u32 written = keeps_flags ? 0 : instruction.flags_written, cleared = instruction.flags_cleared;
  const u32 flags_in = flags & instruction.flags_read;
  u64 inputs[most_operands] = {}, together = 0;
  bool secret_control = false;
  for (int i = 0; i < instruction.operands; ++i) {
    const Operand& operand = instruction.operand[i];
    if (!operand.reads && (operand.kind != Kind::memory || operand.access)) continue;
    if (instruction.same_source || instruction.carry_only) continue;
    inputs[i] = input(operand, addresses[i]);
    if (!operand.merged) together |= inputs[i];
    secret_control = secret_control || (operand.control && inputs[i] != 0);
  }
  const u64 secret_mask = instruction.mask != 0 ? mask[instruction.mask] : 0;
  const bool old = instruction.operands > 0 && instruction.operand[0].merged && inputs[0] != 0;
  if (together == 0 && secret_mask == 0 && flags_in == 0 && !old) return clear(instruction, before, addresses);

  bool flags_secret = together != 0 || flags_in != 0;
  u64 result = 0;
  switch (instruction.rule) {
    case Rule::move: {
      const bool by_place =
          instruction.mnemonic[1] == 'p' && (std::strncmp(instruction.mnemonic, "vpexpand", 8) == 0 ||
                                             std::strncmp(instruction.mnemonic, "vpcompress", 10) == 0);
      if (flags_in != 0 || (by_place && secret_mask != 0)) {
        result = ~u64{0};
      } else if (secret_control) {
        result = masked(instruction, before, by_elements(together, instruction.size), inputs[0]);
      } else if (instruction.data_stub == nullptr) {
        give_up("cannot be run on marks", instruction.pc);
      } else {
        const u64 mask_marks = secret_mask;
        move(instruction, before, addresses);
        if (mask_marks != 0) {
          const Operand& to = instruction.operand[0];
          u64 more = 0;
          for (u32 i = 0; i * to.element < 64; ++i) {
            if (mask_marks >> i & 1) more |= low_bits(to.element) << (i * to.element);
          }
          output(instruction, to, addresses[0], input(to, addresses[0]) | more);
        }
        flags = (flags & ~(written | cleared)) | (flags_secret ? written : 0);
        return;
      }
      break;
    }
    case Rule::bit_and:
    case Rule::bit_or:
    case Rule::bit_andn:
    case Rule::bit_xor:
    case Rule::ternary: {
      u32 bytes = 64;
      if (instruction.operands > 0 && instruction.operand[0].kind != Kind::vector) bytes = instruction.operand[0].bytes;
      result = logic(instruction, before, addresses) & low_bits(bytes);
      flags_secret = result != 0;
      result = masked(instruction, before, result, inputs[0]);
      break;
    }
    case Rule::elements:
      result = masked(instruction, before, by_elements(together, instruction.size), inputs[0]);
      break;
    case Rule::pack: {
      u64 sources[2] = {0, 0};
      int number = 0;
      for (int i = 0; i < instruction.operands && number < 2; ++i) {
        const Operand& operand = instruction.operand[i];
        if (operand.reads && !operand.merged) sources[number++] = inputs[i];
      }
      const u32 size = instruction.size, narrow = size / 2;
      for (u32 to = 0; to < 64; to += narrow) {
        const u32 lane = to & ~15u, place = to & 15u;
        const u32 from = lane + (place & 7u) * 2;
        if (sources[place >= 8 ? 1 : 0] >> from & low_bits(size)) result |= low_bits(narrow) << to;
      }
      result = masked(instruction, before, result, inputs[0]);
      break;
    }
    case Rule::compare: {
      const u64 differing = by_elements(together, instruction.size);
      if (instruction.operand[0].kind != Kind::mask) {
        result = differing;
        break;
      }
      for (u32 i = 0; i * instruction.size < 64; ++i) result |= (differing >> (i * instruction.size) & 1) << i;
      if (instruction.mask != 0) result = (result & before.mask(instruction.mask)) | secret_mask;
      break;
    }
    case Rule::upward: {
      int written_operands = 0;
      for (int i = 0; i < instruction.operands; ++i) written_operands += instruction.operand[i].writes;
      const u64 marks = together | (flags_in != 0 ? 1 : 0);
      result = written_operands > 1 ? ~u64{0} : ~((marks & (0 - marks)) - 1);
      break;
    }
    case Rule::mask_bits:
      result = together;
      break;
    case Rule::all:
    case Rule::system:
    case Rule::variable:
      result = ~u64{0};
      break;
    default:
      give_up("no rule", instruction.pc);
  }
  for (int i = 0; i < instruction.operands; ++i) {
    if (instruction.operand[i].writes) output(instruction, instruction.operand[i], addresses[i], result);
  }
  flags = (flags & ~(written | cleared)) | (flags_secret ? written : 0);
}

// A trial of the rule on this very instruction: it is run alone twice, the second time with other values wherever there
// is a mark. A byte that comes out otherwise must have a mark afterwards.
struct Taint::Trial {
  State one, two;
  u8 memory_one[64], memory_two[64];
};

void Taint::begin_trial(const Instruction& instruction, const State& before, const u64* addresses,
                        Trial& trial) noexcept {
  trial.one = before;
  trial.two = before;
  for (int i = 0; i < 16; ++i) trial.two.gpr[i] ^= random_bits() & to_bytes(general[i]);
  for (int i = 0; i < 32; ++i) {
    if (vector[i] == 0) continue;
    u8 value[64];
    before.vector(i, value);
    for (int byte = 0; byte < 64; ++byte) {
      if (vector[i] >> byte & 1) value[byte] = static_cast<u8>(random_bits() >> 32);
    }
    trial.two.set_vector(i, value);
  }
  for (int i = 0; i < 8; ++i) trial.two.set_mask(i, before.mask(i) ^ (random_bits() & mask[i]));
  trial.two.flags ^= random_bits() & flags;
  u8 value[64] = {};
  u64 marks = 0;
  for (int i = 0; i < instruction.operands; ++i) {
    const Operand& operand = instruction.operand[i];
    if (operand.kind != Kind::memory || !operand.access) continue;
    std::memcpy(value, reinterpret_cast<const void*>(addresses[i]), operand.bytes);
    marks = memory(addresses[i], operand.bytes);
  }
  u8* buffer = instruction.data_buffer;
  std::memcpy(buffer, value, 64);
  execute(trial.one, instruction.data_stub, instruction.general_only);
  std::memcpy(trial.memory_one, buffer, 64);
  for (int byte = 0; byte < 64; ++byte) {
    buffer[byte] = marks >> byte & 1 ? static_cast<u8>(random_bits() >> 32) : value[byte];
  }
  execute(trial.two, instruction.data_stub, instruction.general_only);
  std::memcpy(trial.memory_two, buffer, 64);
}

void Taint::end_trial(const Instruction& instruction, const u64* addresses, const Trial& trial) const noexcept {
  bool lost = false;
  for (int i = 0; i < 16; ++i) lost = lost || (to_marks(trial.one.gpr[i] ^ trial.two.gpr[i]) & ~general[i]) != 0;
  for (int i = 0; i < 32; ++i) {
    u8 one[64], two[64];
    trial.one.vector(i, one);
    trial.two.vector(i, two);
    if (std::memcmp(one, two, 64) == 0) continue;
    for (int byte = 0; byte < 64; ++byte) one[byte] ^= two[byte];
    lost = lost || (to_marks(one) & ~vector[i]) != 0;
  }
  for (int i = 0; i < 8; ++i) lost = lost || ((trial.one.mask(i) ^ trial.two.mask(i)) & ~mask[i]) != 0;
  constexpr u64 arithmetic = 0x8d5;
  lost = lost || ((trial.one.flags ^ trial.two.flags) & arithmetic & ~u64{flags}) != 0;
  for (int i = 0; i < instruction.operands; ++i) {
    const Operand& operand = instruction.operand[i];
    if (operand.kind != Kind::memory || !operand.access) continue;
    const u64 marks = memory(addresses[i], operand.bytes);
    for (u32 byte = 0; byte < operand.bytes; ++byte) {
      lost = lost || (trial.memory_one[byte] != trial.memory_two[byte] && (marks >> byte & 1) == 0);
    }
  }
  if (!lost) return;
  char text[96];
  std::snprintf(text, sizeof text, "the rule of %s loses a mark", instruction.mnemonic);
  give_up(text, instruction.pc);
}

void Taint::apply(Instruction& instruction, const State& before, const u64* addresses, bool secret) noexcept {
  if (!secret) return clear(instruction, before, addresses);
  constexpr u8 trials = 8;
  static Trial trial;
  const bool tries = instruction.tried < trials && instruction.data_stub != nullptr &&
                     instruction.rule != Rule::system && instruction.rule != Rule::variable;
  if (tries) {
    ++instruction.tried;
    begin_trial(instruction, before, addresses, trial);
  }
  propagate(instruction, before, addresses);
  if (tries) end_trial(instruction, addresses, trial);
}

}  // namespace stepper
