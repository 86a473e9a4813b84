#include "tests/ct/stepper/stepper.hpp"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/memcheck.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>

#include "tests/ct/stepper/taint.hpp"

namespace stepper {

namespace {

constexpr u64 return_address = 1;  // the address that the function returns to
constexpr std::size_t most_stack_bytes = std::size_t{8} << 20;
constexpr u64 address_word = u64{1} << 63;
constexpr u64 flag_carry = 1, flag_parity = 4, flag_zero = 0x40, flag_sign = 0x80, flag_direction = 0x400,
              flag_overflow = 0x800;

void print(const char* text, int length) noexcept {
  if (write(STDOUT_FILENO, text, static_cast<std::size_t>(length)) != length) _exit(4);
}

u64 thread_pointer() noexcept {
  u64 value = 0;
  asm("mov %%fs:0, %0" : "=r"(value));
  return value;
}

// System calls that may be made: how many arguments decide what they do, and which one they write through, if any.
struct SystemCall {
  long number;
  int arguments;
  int written;        // argument that points to what is written; -1: none
  int written_bytes;  // argument with its size; -1: 16 bytes
};
constexpr SystemCall system_calls[] = {
    {SYS_mmap, 6, -1, -1},         {SYS_munmap, 2, -1, -1},      {SYS_mprotect, 3, -1, -1},   {SYS_madvise, 3, -1, -1},
    {SYS_brk, 1, -1, -1},          {SYS_futex, 3, -1, -1},       {SYS_getpid, 0, -1, -1},     {SYS_gettid, 0, -1, -1},
    {SYS_write, 3, -1, -1},        {SYS_getrandom, 3, 0, 1},     {SYS_mlock, 2, -1, -1},      {SYS_munlock, 2, -1, -1},
    {SYS_clock_gettime, 2, 1, -1}, {SYS_sched_yield, 0, -1, -1}, {SYS_exit_group, 1, -1, -1},
};

class Run {
 public:
  Run(void (*function)(void*), void* context, Trace* trace) noexcept
      : trace_(trace), thread_pointer_(thread_pointer()) {
    capture(state_);
    u8* stack = static_cast<u8*>(pages(most_stack_bytes));
    state_.gpr[reg_rsp] = reinterpret_cast<u64>(stack + most_stack_bytes - 8);
    std::memcpy(stack + most_stack_bytes - 8, &return_address, 8);
    state_.gpr[reg_rdi] = reinterpret_cast<u64>(context);
    pc_ = reinterpret_cast<u64>(function);
  }

  Result whole() noexcept {
    while (pc_ != return_address) step();
    if (trace_ != nullptr) {
      if (!trace_->comparing) trace_->length = trace_->at;
      if (trace_->comparing && !trace_->differs && trace_->at != trace_->length) differ();
    }
    return {steps_, leaks_};
  }

 private:
  u64& reg(int number) noexcept { return state_.gpr[number]; }

  void word(u64 value) noexcept {
    if (trace_ == nullptr || !trace_->recording || trace_->differs) return;
    if (trace_->at == trace_->capacity) give_up("the trace is too long", pc_);
    if (!trace_->comparing) {
      trace_->words[trace_->at] = value;
    } else if (trace_->at >= trace_->length || trace_->words[trace_->at] != value) {
      return differ();
    }
    ++trace_->at;
  }
  void differ() noexcept {
    trace_->differs = true;
    ++leaks_;
    print_place("leak: traces differ", "");
  }

  void print_place(const char* what, const char* mnemonic) noexcept {
    Dl_info info = {};
    const bool known = dladdr(reinterpret_cast<void*>(pc_), &info) != 0;
    char text[512];
    print(text,
          std::min(
              std::snprintf(text, sizeof text, "%s: %s at %s+0x%llx\n", what, mnemonic, known ? info.dli_fname : "?",
                            static_cast<unsigned long long>(pc_ - (known ? reinterpret_cast<u64>(info.dli_fbase) : 0))),
              static_cast<int>(sizeof text) - 1));
  }

  void leak(Instruction& instruction, const char* what) noexcept {
    ++leaks_;
    if (instruction.reported) return;
    instruction.reported = true;
    char text[64];
    std::snprintf(text, sizeof text, "leak: %s", what);
    print_place(text, instruction.mnemonic);
  }

  // Notes an access at [base], by a register that must be public.
  u64 access(Instruction& instruction, int base, std::int64_t displacement) noexcept {
    if (taint_.general[base] != 0) leak(instruction, "address");
    const u64 address = reg(base) + static_cast<u64>(displacement);
    word(address | address_word);
    return address;
  }

  u64 address_of(Instruction& instruction, const Operand& operand, bool accessed) noexcept {
    u64 address = static_cast<u64>(operand.displacement);
    if (operand.relative) address += instruction.pc + instruction.length;
    u8 secret = 0;
    if (operand.base >= 0) {
      address += reg(operand.base);
      secret = taint_.general[operand.base];
    }
    if (operand.index >= 0 && !operand.vector_index) {
      const u64 index = reg(operand.index);
      address += (operand.byte_index ? index & 0xff : index) * operand.scale;
      secret |= static_cast<u8>(taint_.general[operand.index] & (operand.byte_index ? 1 : 0xff));
    }
    if (instruction.address_32) address &= 0xffffffff;
    if (operand.thread_local_) address += thread_pointer_;
    if (accessed) {
      if (secret != 0) leak(instruction, "address");
      if (!operand.vector_index) word(address | address_word);
    }
    return address;
  }

  // The value and the marks of the operand of a jump, a call or a push.
  u64 word_operand(const Operand& operand, u64 address) noexcept {
    if (operand.kind == Kind::general) return reg(operand.number);
    u64 value = 0;
    std::memcpy(&value, reinterpret_cast<const void*>(address), 8);
    return value;
  }

  bool holds(u8 condition) const noexcept {
    const u64 f = state_.flags;
    const bool less = ((f & flag_sign) != 0) != ((f & flag_overflow) != 0);
    bool yes = false;
    switch (condition >> 1) {
      case 0:
        yes = (f & flag_overflow) != 0;
        break;
      case 1:
        yes = (f & flag_carry) != 0;
        break;
      case 2:
        yes = (f & flag_zero) != 0;
        break;
      case 3:
        yes = (f & (flag_carry | flag_zero)) != 0;
        break;
      case 4:
        yes = (f & flag_sign) != 0;
        break;
      case 5:
        yes = (f & flag_parity) != 0;
        break;
      case 6:
        yes = less;
        break;
      default:
        yes = less || (f & flag_zero) != 0;
    }
    return yes != ((condition & 1) != 0);
  }

  void native(const Instruction& instruction) noexcept {
    execute(state_, instruction.stub, instruction.general_only);
    pc_ = instruction.pc + instruction.length;
  }

  void request() noexcept {
    u64 arguments[6];
    std::memcpy(arguments, reinterpret_cast<const void*>(reg(reg_rax)), sizeof arguments);
    const u64 address = arguments[1], bytes = arguments[2];
    u64 answer = 0;
    switch (arguments[0]) {
      case VG_USERREQ__RUNNING_ON_VALGRIND:
        answer = 1;
        break;
      case VG_USERREQ__MAKE_MEM_UNDEFINED:
        taint_.fill_memory(address, bytes, true);
        break;
      case VG_USERREQ__MAKE_MEM_DEFINED:
        taint_.fill_memory(address, bytes, false);
        break;
      case VG_USERREQ__CHECK_MEM_IS_DEFINED:
        for (u64 i = 0; i < bytes && answer == 0; ++i) {
          if (taint_.memory(address + i, 1) != 0) answer = address + i;
        }
        break;
      case VG_USERREQ__GET_VBITS: {
        auto* marks = reinterpret_cast<u8*>(arguments[2]);
        for (u64 i = 0; i < arguments[3]; ++i) marks[i] = taint_.memory(address + i, 1) != 0 ? 0xff : 0;
        taint_.fill_memory(arguments[2], arguments[3], false);
        answer = 1;
        break;
      }
      default:
        give_up("a request that is not known", pc_);
    }
    reg(reg_rdx) = answer;
    taint_.general[reg_rdx] = 0;
  }

  void system_call(Instruction& instruction) noexcept {
    const SystemCall* call = nullptr;
    for (const SystemCall& known : system_calls) {
      if (static_cast<u64>(known.number) == reg(reg_rax)) call = &known;
    }
    if (call == nullptr) {
      char text[64];
      std::snprintf(text, sizeof text, "system call %llu is not known", static_cast<unsigned long long>(reg(reg_rax)));
      give_up(text, pc_);
    }
    constexpr int order[6] = {reg_rdi, reg_rsi, reg_rdx, 10, 8, 9};
    u8 secret = taint_.general[reg_rax];
    u64 arguments[6];
    for (int i = 0; i < 6; ++i) {
      arguments[i] = reg(order[i]);
      if (i < call->arguments) secret |= taint_.general[order[i]];
    }
    if (secret != 0) leak(instruction, "system call");
    native(instruction);
    taint_.general[reg_rax] = taint_.general[reg_rcx] = taint_.general[11] = 0;
    if (call->number == SYS_mmap && static_cast<std::int64_t>(reg(reg_rax)) > 0) {
      taint_.fill_memory(reg(reg_rax), arguments[1], false);
    }
    if (call->number == SYS_munmap) taint_.fill_memory(arguments[0], arguments[1], false);
    if (call->written >= 0) {
      taint_.fill_memory(arguments[call->written], call->written_bytes < 0 ? 16 : arguments[call->written_bytes],
                         false);
    }
  }

  void string(Instruction& instruction) noexcept {
    u32 size = 1;
    for (int i = 0; i < instruction.operands; ++i) {
      if (instruction.operand[i].kind == Kind::memory) size = instruction.operand[i].bytes;
    }
    if ((state_.flags & flag_direction) != 0 || instruction.address_32) give_up("a string operation backwards", pc_);
    if (instruction.repeat && taint_.general[reg_rcx] != 0) leak(instruction, "repeat count");
    const u64 count = instruction.repeat ? reg(reg_rcx) : 1, bytes = count * size;
    const bool scans = instruction.mnemonic[0] == 's';
    const bool reads_rsi = instruction.rule == Rule::move_string || instruction.rule == Rule::load_string ||
                           (instruction.rule == Rule::compare_string && !scans);
    const u64 from = reg(reg_rsi), to = reg(reg_rdi);
    if (reads_rsi) access(instruction, reg_rsi, 0);
    if (instruction.rule != Rule::load_string) access(instruction, reg_rdi, 0);
    word(count);
    const u64 accumulator = taint_.general[reg_rax] & ((u64{1} << size) - 1);
    switch (instruction.rule) {
      case Rule::move_string:
        taint_.copy_memory(to, from, bytes);
        break;
      case Rule::store_string:
        if (accumulator == 0) {
          taint_.fill_memory(to, bytes, false);
        } else {
          for (u64 i = 0; i < count; ++i) taint_.set_memory(to + i * size, size, accumulator);
        }
        break;
      case Rule::load_string: {
        Operand rax;
        rax.kind = Kind::general;
        rax.bytes = size;
        if (count != 0) taint_.output(instruction, rax, 0, taint_.memory(from + bytes - size, size));
        break;
      }
      default: {
        const bool secret = taint_.any_memory(to, bytes) || (scans ? accumulator != 0 : taint_.any_memory(from, bytes));
        if (secret && instruction.repeat) leak(instruction, "early exit");
        if (count != 0) taint_.flags = secret ? instruction.flags_written : 0;
      }
    }
    native(instruction);
  }

  void gather(Instruction& instruction) noexcept {
    // The name ends with the sizes of the indices and of the data: dd, dq, qd, qq, dps, dpd, qps, qpd.
    const bool scatters = std::strstr(instruction.mnemonic, "scatter") != nullptr;
    const char* sizes = std::strstr(instruction.mnemonic, scatters ? "scatter" : "gather") + (scatters ? 7 : 6);
    const u32 index_size = sizes[0] == 'q' ? 8 : 4;
    const bool wide = sizes[1] == 'q' || (sizes[1] == 'p' && sizes[2] == 'd');
    const u32 size = wide ? 8 : 4;
    const u32 number = instruction.vector_bytes / std::max(index_size, size);
    const Operand *place = nullptr, *data = nullptr, *mask = nullptr;
    for (int i = 0; i < instruction.operands; ++i) {
      const Operand& operand = instruction.operand[i];
      if (operand.kind == Kind::memory) {
        place = &operand;
      } else if (data == nullptr) {
        data = &operand;
      } else if (mask == nullptr) {
        mask = &operand;
      }
    }
    if (place == nullptr || data == nullptr) give_up("no rule", pc_);
    u8 indices[64], ones[64];
    state_.vector(place->index, indices);
    const bool by_vector = instruction.mask == 0 && mask != nullptr && mask->kind == Kind::vector;
    if (by_vector) state_.vector(mask->number, ones);
    const u64 bits = instruction.mask != 0 ? state_.mask(instruction.mask) : ~u64{0};
    const u64 used = number * index_size >= 64 ? ~u64{0} : (u64{1} << (number * index_size)) - 1;
    if ((taint_.vector[place->index] & used) != 0) leak(instruction, "address");
    if (by_vector ? taint_.vector[mask->number] != 0 : instruction.mask != 0 && taint_.mask[instruction.mask] != 0) {
      leak(instruction, "mask of an access");
    }
    const u64 base = address_of(instruction, *place, true);
    const u64 whole = (u64{1} << size) - 1;
    u64 result = by_vector || instruction.mask != 0 ? taint_.vector[data->number] : 0;
    for (u32 i = 0; i < number; ++i) {
      const bool active = by_vector ? (ones[i * size + size - 1] & 0x80) != 0 : (bits >> i & 1) != 0;
      if (!active) continue;
      std::int64_t index = 0;
      if (index_size == 8) {
        std::memcpy(&index, indices + 8 * i, 8);
      } else {
        std::int32_t narrow = 0;
        std::memcpy(&narrow, indices + 4 * i, 4);
        index = narrow;
      }
      const u64 address = base + static_cast<u64>(index) * place->scale;
      word(address | address_word);
      const u64 element = whole << (i * size);
      if (scatters) {
        taint_.set_memory(address, size, (taint_.vector[data->number] & element) != 0 ? whole : 0);
      } else {
        result = (result & ~element) | (taint_.memory(address, size) != 0 ? element : 0);
      }
    }
    if (!scatters) {
      taint_.vector[data->number] = number * size >= 64 ? result : result & ((u64{1} << (number * size)) - 1);
      if (by_vector) taint_.vector[mask->number] = 0;
    }
    if (instruction.mask != 0) taint_.mask[instruction.mask] = 0;
    native(instruction);
  }

  void step() noexcept {
    Instruction& instruction = instruction_at(pc_);
    ++steps_;
    word(pc_);
    const u64 next = instruction.pc + instruction.length;
    u64 addresses[most_operands] = {};
    const auto with_addresses = [&] {
      for (int i = 0; i < instruction.operands; ++i) {
        const Operand& operand = instruction.operand[i];
        if (operand.kind == Kind::memory && operand.access) addresses[i] = address_of(instruction, operand, true);
      }
    };
    const Operand& first = instruction.operand[0];
    const bool memory_first = instruction.operands > 0 && first.kind == Kind::memory;
    switch (instruction.rule) {
      case Rule::unknown: {
        print_place("leak: no rule", instruction.mnemonic);
        _exit(3);
      }
      case Rule::nothing:
        return native(instruction);
      case Rule::touch:
        with_addresses();
        return native(instruction);
      case Rule::jump:
      case Rule::call: {
        u64 target = instruction.target;
        if (instruction.indirect) {
          const u64 address = memory_first ? address_of(instruction, first, true) : 0;
          if (taint_.input(first, address) != 0) leak(instruction, "jump target");
          target = word_operand(first, address);
        }
        if (instruction.rule == Rule::call) {
          const u64 address = access(instruction, reg_rsp, -8);
          reg(reg_rsp) = address;
          std::memcpy(reinterpret_cast<void*>(address), &next, 8);
          taint_.set_memory(address, 8, 0);
        }
        pc_ = target;
        return;
      }
      case Rule::ret: {
        const u64 address = access(instruction, reg_rsp, 0);
        if (taint_.memory(address, 8) != 0) leak(instruction, "jump target");
        std::memcpy(&pc_, reinterpret_cast<const void*>(address), 8);
        reg(reg_rsp) += 8 + (instruction.has_immediate ? instruction.immediate : 0);
        return;
      }
      case Rule::jump_if:
        if ((taint_.flags & instruction.flags_read) != 0) leak(instruction, "branch");
        pc_ = holds(instruction.condition) ? instruction.target : next;
        return;
      case Rule::jump_if_rcx:
        if (taint_.general[reg_rcx] != 0) leak(instruction, "branch");
        pc_ = (instruction.mnemonic[1] == 'e' ? reg(reg_rcx) & 0xffffffff : reg(reg_rcx)) == 0 ? instruction.target
                                                                                               : next;
        return;
      case Rule::loop: {
        if (taint_.general[reg_rcx] != 0 || (taint_.flags & instruction.flags_read) != 0) leak(instruction, "branch");
        const bool zero = (state_.flags & flag_zero) != 0;
        bool again = --reg(reg_rcx) != 0;
        if (instruction.mnemonic[4] == 'e') again = again && zero;
        if (instruction.mnemonic[4] == 'n') again = again && !zero;
        pc_ = again ? instruction.target : next;
        return;
      }
      case Rule::push: {
        const bool immediate = instruction.has_immediate;
        const u64 source = !immediate && memory_first ? address_of(instruction, first, true) : 0;
        const u64 marks = immediate ? 0 : taint_.input(first, source);
        if (!immediate && first.bytes != 8) give_up("a push that is not of 8 bytes", pc_);
        taint_.set_memory(access(instruction, reg_rsp, -8), 8, marks);
        return native(instruction);
      }
      case Rule::pop: {
        if (first.bytes != 8 || memory_first) give_up("a pop that is not of 8 bytes", pc_);
        taint_.output(instruction, first, 0, taint_.memory(access(instruction, reg_rsp, 0), 8));
        return native(instruction);
      }
      case Rule::leave:
        taint_.general[reg_rsp] = taint_.general[reg_rbp];
        taint_.general[reg_rbp] = static_cast<u8>(taint_.memory(access(instruction, reg_rbp, 0), 8));
        return native(instruction);
      case Rule::move_string:
      case Rule::store_string:
      case Rule::load_string:
      case Rule::compare_string:
        return string(instruction);
      case Rule::system_call:
        return system_call(instruction);
      case Rule::gather:
        return gather(instruction);
      case Rule::request:
        request();
        pc_ = next;
        return;
      case Rule::zero_vectors:
        std::fill_n(taint_.vector, 16, 0);
        return native(instruction);
      case Rule::zero_upper:
        for (int i = 0; i < 16; ++i) taint_.vector[i] &= 0xffff;
        return native(instruction);
      default:
        break;
    }

    with_addresses();
    bool in_memory = false, secret = (taint_.flags & instruction.flags_read) != 0, secret_control = false;
    for (int i = 0; i < instruction.operands; ++i) {
      const Operand& operand = instruction.operand[i];
      in_memory = in_memory || (operand.kind == Kind::memory && operand.access);
      if (!operand.reads && (operand.kind != Kind::memory || operand.access)) continue;
      const u64 marks = taint_.input(operand, addresses[i]);
      secret = secret || marks != 0;
      secret_control = secret_control || (operand.control && marks != 0);
    }
    if ((instruction.rule == Rule::variable || instruction.rule == Rule::system) && secret) {
      leak(instruction, "variable time");
    }
    const bool secret_mask = instruction.mask != 0 && taint_.mask[instruction.mask] != 0;
    const auto by_vector = [&] { return secret_control && std::strstr(instruction.mnemonic, "maskmov") != nullptr; };
    if (in_memory && (secret_mask || by_vector())) leak(instruction, "mask of an access");
    taint_.apply(instruction, state_, addresses, secret || secret_mask);
    native(instruction);
  }

  State state_;
  Taint taint_;
  Trace* trace_;
  u64 thread_pointer_;
  u64 pc_ = 0, steps_ = 0, leaks_ = 0;
};

}  // namespace

Result run(void (*function)(void*), void* context, Trace* trace) noexcept {
  Run* run = new (pages(sizeof(Run))) Run(function, context, trace);
  return run->whole();
}

int print_unknown() noexcept {
  char line[256];
  int unknown = 0;
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    u8 bytes[16] = {};
    std::size_t length = 0;
    int used = 0;
    unsigned value = 0;
    for (const char* at = line; length < 15 && std::sscanf(at, "%2x%n", &value, &used) == 1; at += used) {
      bytes[length++] = static_cast<u8>(value);
    }
    Instruction instruction;
    if (length == 0) continue;
    if (decode(bytes, length, 0, instruction) && instruction.rule != Rule::unknown) continue;
    ++unknown;
    std::printf("no rule for %s: %s", instruction.mnemonic, line);
  }
  return unknown;
}

}  // namespace stepper
